"""What happens when a delivery is given to its handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from polybus.app.executor import CallEnded, Executor, TooLate, Undecodable, describe
from polybus.app.handler import Handler
from polybus.app.logs import at_delivery
from polybus.app.row import Row
from polybus.app.watchdog import Running
from polybus.bus.delivery import Delivery, held_of
from polybus.errors import DeadLetter, exit_in, signal_in

__all__ = ["Invoker"]

_log = logging.getLogger("polybus.app")


class Invoker:
    """Calls a handler for each delivery, and logs what it raises, once, before the bus settles by it.

    `on_exit` is given the SystemExit or KeyboardInterrupt that a handler raised, and says whether it sees to the end;
    the delivery is then a failed attempt. Else it is raised on. `on_stop` is told why nothing more may be taken: too
    many in a row that couldn't be decoded. From then on whatever comes is given back.
    """

    def __init__(
        self,
        handler: Handler,
        executor: Executor,
        running: Running,
        on_exit: Callable[[BaseException], bool],
        on_stop: Callable[[str], None],
    ) -> None:
        self._handler = handler
        self.name = handler.name
        self._executor = executor
        self._running = running
        self._on_exit = on_exit
        self._row = Row(handler, on_stop)
        self._deliveries: set[Delivery] = set()
        self._interrupted = False

    async def __call__(self, delivery: Delivery) -> None:
        if self._interrupted:
            await held_of(delivery).give_back()
            return
        at_delivery(delivery.source, delivery.id)  # the consumer gives each call a context of its own
        task = asyncio.current_task()
        self._running[task] = self._handler.name
        self._deliveries.add(delivery)
        try:
            await self._executor.call(delivery)
            self._row.count = 0
        except BaseException as error:
            if _is_thrown_away(task):
                raise
            if isinstance(error, Undecodable) and self._stops(error, delivery):
                await held_of(delivery).give_back()
                return
            leaving = exit_in(error)
            if leaving is None:
                self._tell(error, delivery, task)
                raise
            _log.warning("handler %s ends the process: %r: %s", self._handler.name, leaving, describe(delivery))
            if not self._on_exit(leaving):
                raise
            await held_of(delivery).fail(leaving)
        finally:
            self._deliveries.discard(delivery)
            del self._running[task]

    def _tell(self, error: BaseException, delivery: Delivery, task: asyncio.Task[object] | None) -> None:
        name = self._handler.name
        signal = signal_in(error)
        if not isinstance(signal, Undecodable):
            self._row.count = 0
        if isinstance(error, asyncio.CancelledError) and (delivery.lost or (task is not None and task.cancelling())):
            why = "its lease was lost" if delivery.lost else "it was given back"
            how = "was cancelled" if self._handler.where != "thread" else "was left to its thread"
            _log.warning("handler %s %s, %s: %s", name, how, why, describe(delivery))
        elif isinstance(error, asyncio.CancelledError):
            _log.error(
                "handler %s failed: it was cancelled, and not by polybus: %s", name, describe(delivery), exc_info=error
            )
        elif isinstance(signal, Undecodable):
            _log.error("handler %s can't decode: %s: %s", name, describe(delivery), signal.description)
        elif isinstance(signal, DeadLetter):
            _log.warning("handler %s dead-letters: %s: %s", name, describe(delivery), signal.reason)
        elif signal is not None:
            _log.info("handler %s asks to retry: %s: %s", name, describe(delivery), signal)
        elif isinstance(error, TooLate):
            _log.warning("handler %s was not begun: %s", name, error)
        elif isinstance(error, CallEnded):
            _log.error("handler %s failed: %s: %s", name, describe(delivery), error)
        else:
            _log.error("handler %s failed: %s", name, describe(delivery), exc_info=error)

    def _stops(self, error: Undecodable, delivery: Delivery) -> bool:
        """Say whether what can't be decoded is to be given back, since nothing more is taken."""
        if not self._interrupted:
            self._interrupted = self._row.stops(error, describe(delivery))
        return self._interrupted

    def interrupt(self) -> None:
        """Cancel what is being handled, and handle nothing more: it is given back at once."""
        self._interrupted = True
        for delivery in list(self._deliveries):
            held_of(delivery).cancel()


def _is_thrown_away(task: asyncio.Task[object] | None) -> bool:
    """Say whether a coroutine is being closed together with its loop: then nothing is to be told any more."""
    try:
        return asyncio.current_task() is not task
    except RuntimeError:
        return True
