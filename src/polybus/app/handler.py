"""One handler: what it consumes, and what happens when a delivery is given to it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from polybus.app.signature import Signature
from polybus.app.watchdog import Running
from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions
from polybus.errors import DeadLetter, DecodeError, Retry

__all__ = ["Handler", "Invoker"]

_log = logging.getLogger("polybus.app")


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that handles what comes from one subscription or queue."""

    source: str
    function: Callable[..., Any]
    signature: Signature
    options: ConsumerOptions

    @property
    def name(self) -> str:
        """The function's module and qualified name."""
        return self.signature.name

    def __repr__(self) -> str:
        return f"Handler({self.name}, source={self.source!r}, concurrency={self.options.concurrency})"


class Invoker:
    """Calls a handler for each delivery, and logs what it raises, once, before the bus settles by it.

    Coroutine functions run on the event loop, others in threads of their own, as many as the handler's concurrency.
    """

    def __init__(self, handler: Handler, running: Running) -> None:
        self._handler = handler
        self._decode = handler.signature.decode
        self._running = running
        self._deliveries: set[Delivery] = set()
        self._interrupted = False
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._call: Callable[[Any, Delivery], Awaitable[Any]] = handler.signature.call
        if handler.signature.blocking:
            self._call = self._call_in_thread
            self._pool = concurrent.futures.ThreadPoolExecutor(
                handler.options.concurrency, thread_name_prefix=f"polybus {handler.source}"
            )

    async def __call__(self, delivery: Delivery) -> None:
        if self._interrupted:
            await delivery.give_back()
            return
        body = self._read(delivery)
        task = asyncio.current_task()
        self._running[task] = self._handler.name
        self._deliveries.add(delivery)
        try:
            await self._call(body, delivery)
        except asyncio.CancelledError:
            why = "its lease was lost" if delivery.lost else "it was given back"
            _log.warning("handler %s was cancelled, %s: %s", self._handler.name, why, _describe(delivery))
            raise
        except Retry as signal:
            _log.info("handler %s asks to retry: %s: %s", self._handler.name, _describe(delivery), signal)
            raise
        except DeadLetter as signal:
            _log.warning("handler %s dead-letters: %s: %s", self._handler.name, _describe(delivery), signal.reason)
            raise
        except Exception:
            _log.exception("handler %s failed: %s", self._handler.name, _describe(delivery))
            raise
        finally:
            self._deliveries.discard(delivery)
            del self._running[task]

    def _read(self, delivery: Delivery) -> Any:
        try:
            return self._decode(delivery.message)
        except DecodeError as error:
            _log.error("handler %s can't decode: %s: %s", self._handler.name, _describe(delivery), error)
            raise DeadLetter("DecodeError", str(error)) from None

    async def _call_in_thread(self, body: Any, delivery: Delivery) -> None:
        assert self._pool is not None  # noqa: S101 - made together with this method's use
        context = contextvars.copy_context()
        call = self._pool.submit(context.run, _without_stop_iteration, self._handler.signature.call, body, delivery)
        try:
            result = await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            # A thread can't be stopped: what has not begun never will, what has goes on with `delivery.lost` set, or
            # after the end of a drain's grace, and only its failure is still of interest.
            if not call.cancel():
                call.add_done_callback(lambda done: self._note_abandoned(done, delivery))
            raise
        if inspect.isawaitable(result):  # a plain function that returns a coroutine
            await result

    def _note_abandoned(self, done: concurrent.futures.Future[Any], delivery: Delivery) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            _log.error(
                "handler %s failed after its delivery was taken from it: %s",
                self._handler.name,
                _describe(delivery),
                exc_info=error,
            )

    def interrupt(self) -> None:
        """Cancel what is being handled, and handle nothing more: it is given back at once."""
        self._interrupted = True
        for delivery in list(self._deliveries):
            delivery.cancel()

    def close(self) -> None:
        """Start no more calls; does not wait for threads that still run."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _without_stop_iteration(call: Callable[[Any, Delivery], Any], body: Any, delivery: Delivery) -> Any:
    # A future can't carry StopIteration (CPython issue 112182: in 3.11 whoever awaits it waits for ever).
    try:
        return call(body, delivery)
    except StopIteration as error:
        raise RuntimeError("the handler raised StopIteration") from error


def _describe(delivery: Delivery) -> str:
    return f"source={delivery.source} message={delivery.id} attempt={delivery.attempt}"
