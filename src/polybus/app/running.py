"""Running apps as a process does: until a signal, then a drain."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.app.application import App
from polybus.app.health import HealthServer
from polybus.app.session import Session
from polybus.app.watchdog import Watchdog
from polybus.binding import Binding
from polybus.errors import ConfigError

if TYPE_CHECKING:
    from polybus.topology.model import Topology

__all__ = ["run_apps"]

_log = logging.getLogger("polybus.app")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def run_apps(
    apps: Sequence[App],
    *,
    health_port: int | None = None,
    grace: float | None = None,
    source: Binding | Topology | Path | str | None = None,
) -> None:
    """Run apps in this process until SIGTERM or SIGINT, or until one of them fails or each was drained.

    The first signal drains: intake stops, handlers may go on for `grace` seconds (None: each handler's own), and what
    is left is given back. A second one cancels the handlers at once; a third does what it does to any process. Outside
    the main thread there are no signals: use `App.drain`, or cancel the call. When one app fails the others are
    drained, and then its error is raised. `health_port` serves GET /live and /ready. Raises ConfigError before anything
    is started for what is wrong by then.
    """
    if not apps:
        raise ConfigError("there is no app to run")
    if len(set(map(id, apps))) < len(apps):
        raise ConfigError("the same app is given twice; a second process runs it a second time")
    supervisor = _Supervisor(apps, grace, source)
    async with AsyncExitStack() as stack:
        if health_port is not None:
            await stack.enter_async_context(HealthServer(supervisor.state, health_port))
        stack.enter_context(_signals(supervisor.on_signal))
        await supervisor.run(stack)


class _Supervisor:
    """Each app in a task of its own, from its start to the end of its drain."""

    def __init__(
        self, apps: Sequence[App], grace: float | None, source: Binding | Topology | Path | str | None
    ) -> None:
        self._apps = apps
        self._grace = grace
        self._source = source
        self._stopping = False
        self._starting: set[asyncio.Task[None]] = set()
        self._sessions: list[Session] = []

    def state(self) -> str:
        """Return what `/ready` answers."""
        if self._stopping:
            return "draining"
        return "ready" if len(self._sessions) == len(self._apps) else "starting"

    def executing(self, task: asyncio.Task[object]) -> str | None:
        """Return the name of the handler that a task runs now."""
        return next((name for app in self._apps if (name := app.executing(task)) is not None), None)

    async def run(self, stack: AsyncExitStack) -> None:
        """Run the apps to their ends; `stack` holds what lives as long."""
        tasks = [
            asyncio.create_task(self._run(app, stack), name=f"polybus app {app.service or ''}") for app in self._apps
        ]
        self._starting.update(tasks)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            # Also when this call is cancelled: the apps are drained all the same.
            self._stop()
            await asyncio.wait(tasks)
        for error in [task.exception() for task in tasks if not task.cancelled()]:
            if error is not None:
                raise error

    async def _run(self, app: App, stack: AsyncExitStack) -> None:
        task = asyncio.current_task()
        async with app.running(self._source, grace=self._grace) as session:
            if task is not None:
                self._starting.discard(task)
            if not self._sessions:
                # Only now: a start blocks as it imports a cloud's SDK, and nothing is held by then that could be lost.
                stack.enter_context(Watchdog(self.executing))
            self._sessions.append(session)
            if self._stopping:
                return
            _log.info(
                "consuming from %s on %s", ", ".join(h.source for h in app.handlers) or "nothing", app.bus.backend
            )
            await session.until_stopped()

    def _stop(self) -> None:
        self._stopping = True
        for task in self._starting:
            task.cancel()  # what was opened by then is closed again
        self._starting.clear()
        for session in self._sessions:
            session.stop()

    def on_signal(self, name: str) -> None:
        """Drain at the first signal, cancel at the second."""
        held = sum(session.in_flight for session in self._sessions)
        if self._stopping:
            _log.warning("%s again: cancelling what is being handled; %d deliveries are given back", name, held)
            _restore_signals()
            for session in self._sessions:
                session.interrupt()
        else:
            _log.info("%s: draining, %d deliveries are held; once more to cancel them", name, held)
            self._stop()


@contextmanager
def _signals(act: Callable[[str], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        _log.debug("not in the main thread: SIGTERM and SIGINT are left alone")
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, act, number.name)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _restore_signals() -> None:
    for number in _SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
