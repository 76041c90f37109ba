"""Running apps as a process does: until a signal, then a drain."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from polybus.app.ending import DRAIN
from polybus.app.handler import Handler
from polybus.app.health import HealthServer
from polybus.app.logs import at_service
from polybus.app.session import Session
from polybus.app.watchdog import Watchdog
from polybus.binding import Binding
from polybus.durations import Duration, seconds
from polybus.errors import AppFailed, ConfigError
from polybus.signals import heeded

if TYPE_CHECKING:
    from polybus.bus.bus import Bus
    from polybus.topology.model import Topology

__all__ = ["Runnable", "run_apps"]

_log = logging.getLogger("polybus.app")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Draining = Callable[[float], None]
"""Told that a drain begins, with the seconds after which it must be over; also from a signal's handler."""


class Runnable(Protocol):
    """What is asked of an app to run it; `polybus.App` is one."""

    service: str | None

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The handlers, in the order of their declaration."""

    @property
    def bus(self) -> Bus:
        """The bus of the running app."""

    def running(
        self, source: Binding | Topology | Path | str | None = None, *, grace: Duration | None = None
    ) -> AbstractAsyncContextManager[Session]:
        """Run the app for the length of the block; at its end, drain."""

    def _is_idle(self) -> bool:
        """Say whether there is nothing to run: no handler, and no lifespan."""

    def _handler_of(self, task: Any) -> str | None:
        """Return the name of the handler that a task runs now."""


async def run_apps(
    apps: Sequence[Runnable],
    *,
    health_port: int | None = None,
    health_host: str | None = None,
    grace: Duration | None = None,
    source: Binding | Topology | Path | str | None = None,
    on_drain: Draining | None = None,
    control: bool = False,
) -> None:
    """Run apps in this process until SIGTERM or SIGINT, or until one of them fails or each was drained.

    SIGINT is left alone where the process was started with it ignored, as in the background of a script.

    The first signal drains: intake stops, handlers may go on for `grace` seconds (None: each handler's own), and what
    is left is given back. A second one cancels the handlers at once; a third does what it does to any process. Outside
    the main thread there are no signals: use `App.drain`, or cancel the call. When one app fails, or ends though nobody
    asked it to, the others are drained, and then its error is raised: AppFailed where it has none of its own. What a
    handler raises to end the process (SystemExit, KeyboardInterrupt) drains, too, and is raised at the end. A drain is
    over 10 s after the grace, whatever hangs. `health_port` serves GET /live and /ready, on every interface or that of
    `health_host`. `on_drain` is called with the seconds that the drain may take, when it begins and when it is hurried.
    `control` has it answer `polybus ps` and the like, for the user that it runs as. Raises ConfigError before anything
    is started for what is wrong by then, an app without handlers and lifespan included.
    """
    _check(apps)
    at_service("+".join(app.service for app in apps if app.service is not None))  # lines of all of them
    time = None if grace is None else seconds(grace, "grace")
    supervisor = _Supervisor(apps, time, source, on_drain)
    async with AsyncExitStack() as stack:
        if health_port is not None:
            await stack.enter_async_context(HealthServer(supervisor.state, health_port, host=health_host))
        _refuse_idle(apps)
        if control:
            from polybus.app.control import ControlServer  # few ask for it

            services = [app.service for app in apps]
            await stack.enter_async_context(ControlServer(services, lambda: supervisor.sessions))
        stack.enter_context(_signals(supervisor.on_signal, supervisor.drain_begins if on_drain else None))
        await supervisor.run(stack)


def _check(apps: Sequence[Runnable]) -> None:
    if not apps:
        raise ConfigError("there is no app to run")
    if len(set(map(id, apps))) < len(apps):
        raise ConfigError("the same app is given twice; a second process runs it a second time")


def _refuse_idle(apps: Sequence[Runnable]) -> None:
    for app in apps:
        if app._is_idle():
            raise ConfigError(f"{app!r} has no handlers and no lifespan: it would do nothing; see App.handler")
        if not app.handlers and not getattr(app, "only_sends", False):
            _log.warning("%r has no handlers: it consumes nothing", app)


class _Supervisor:
    """Each app in a task of its own, from its start to the end of its drain."""

    def __init__(
        self,
        apps: Sequence[Runnable],
        grace: float | None,
        source: Binding | Topology | Path | str | None,
        on_drain: Draining | None,
    ) -> None:
        self._apps = apps
        self._grace = grace
        self._source = source
        self._on_drain = on_drain
        self._stopping = False
        self._starting: set[asyncio.Task[None]] = set()
        self._cut_off: set[asyncio.Task[None]] = set()
        self._sessions: list[Session] = []
        self._leaving: BaseException | None = None

    def state(self) -> str:
        """Return what `/ready` answers."""
        if self._stopping:
            return "draining"
        if len(self._sessions) < len(self._apps):
            return "starting"
        return "; ".join(session.problem for session in self._sessions if session.problem is not None) or "ready"

    @property
    def sessions(self) -> Sequence[Session]:
        """What runs by now."""
        return self._sessions

    def executing(self, task: asyncio.Task[object]) -> str | None:
        """Return the name of the handler that a task runs now."""
        return next((name for app in self._apps if (name := app._handler_of(task)) is not None), None)

    async def run(self, stack: AsyncExitStack) -> None:
        """Run the apps to their ends; `stack` holds what lives as long."""
        tasks = [
            asyncio.create_task(self._run(app, stack), name=f"polybus app {app.service or ''}") for app in self._apps
        ]
        cancelled: asyncio.CancelledError | None = None
        while pending := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                if cancelled is not None:  # once more: as a second signal
                    self._interrupt()
                cancelled = error
            if cancelled is not None or self._leaving is not None or any(self._failed(task) for task in tasks):
                self._stop()
        errors = [failed for task in tasks if (failed := self._failed(task)) is not None]
        for further in errors[1:]:
            _log.error("another app failed, too: %s", further)
        if cancelled is not None:
            raise cancelled
        if self._leaving is not None:
            raise self._leaving
        if errors:
            raise errors[0]

    def _failed(self, task: asyncio.Task[None]) -> BaseException | None:
        """Return why an app ended, unless it was asked to."""
        if not task.done():
            return None
        if not task.cancelled():
            return task.exception()
        if task in self._cut_off:
            return None
        return AppFailed(f"{task.get_name()} was cancelled, though nobody asked it to end")

    async def _run(self, app: Runnable, stack: AsyncExitStack) -> None:
        if self._is_stopping():
            return
        at_service(app.service)
        task = asyncio.current_task()
        if task is not None:
            self._starting.add(task)
        try:
            async with app.running(self._source, grace=self._grace) as session:
                if task is not None:
                    self._starting.discard(task)
                if not self._sessions:
                    # Only now: a start blocks as it imports a cloud's SDK, and nothing is held by then that could be
                    # lost.
                    stack.enter_context(Watchdog(self.executing))
                self._sessions.append(session)
                if self._stopping:
                    return
                _log.info(
                    "consuming from %s on %s", ", ".join(h.source for h in app.handlers) or "nothing", app.bus.backend
                )
                await session.until_stopped()
                if session.leaving is not None:
                    self._leaving = session.leaving
                if session.leaving is not None or session.failed:
                    self._stop()  # the others, too, and before this one's drain is over
        except (SystemExit, KeyboardInterrupt) as error:  # of a lifespan; out of a task it would break the loop off
            self._leaving = error

    def _is_stopping(self) -> bool:
        return self._stopping

    def _stop(self) -> None:
        if self._stopping:
            return
        self.drain_begins()
        self._stopping = True
        self._cut_off.update(self._starting)
        for task in self._starting:
            task.cancel()  # what was opened by then is closed again
        self._starting.clear()
        for session in self._sessions:
            session.stop()

    def _interrupt(self) -> None:
        self.drain_begins()
        for session in self._sessions:
            session.interrupt()

    def drain_begins(self) -> None:
        """Tell how long the drain may take from now; does nothing to the apps."""
        if self._on_drain is not None:
            graces = [handler.options.grace for app in self._apps for handler in app.handlers]
            grace = max(graces, default=0.0) if self._grace is None else self._grace
            self._on_drain((0.0 if self._stopping else grace) + DRAIN)

    def on_signal(self, name: str) -> None:
        """Drain at the first signal, cancel at the second."""
        held = sum(session.in_flight for session in self._sessions)
        if self._stopping:
            _log.warning("%s again: cancelling what is being handled; %d deliveries are given back", name, held)
            _restore_signals()
            self._interrupt()
        else:
            _log.info("%s: draining, %d deliveries are held; once more to cancel them", name, held)
            self._stop()


@contextmanager
def _signals(act: Callable[[str], None], at_once: Callable[[], None] | None) -> Iterator[None]:
    """Have the loop call `act`; `at_once` is called where the interpreter is, also while the loop doesn't turn."""
    if threading.current_thread() is not threading.main_thread():
        _log.debug("not in the main thread: SIGTERM and SIGINT are left alone")
        yield
        return

    def notice(number: int, frame: FrameType | None) -> None:
        if at_once is not None:
            at_once()

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in heeded(*_SIGNALS)}
    for number in before:
        loop.add_signal_handler(number, act, number.name)
        if at_once is not None:
            signal.signal(number, notice)  # in the place of the loop's, which does nothing: it hears by another way
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _restore_signals() -> None:
    for number in _SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
