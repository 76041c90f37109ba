"""Processes for handlers that hold the interpreter's lock, or must be stoppable."""

from __future__ import annotations

import asyncio
import logging

from polybus.app import frames
from polybus.app.executor import Pause, TooLate, Undecodable, describe, not_begun
from polybus.app.handler import Handler
from polybus.app.process import NotBegun, Process, ProcessEnded
from polybus.app.target import setup_of
from polybus.bus.delivery import Delivery, held_of
from polybus.clock import Clock, machine_time
from polybus.errors import ConfigError, DeadLetter, Retry

__all__ = ["OnProcesses"]

_log = logging.getLogger("polybus.app")

# Seconds until a process that couldn't be started is tried again: an import that fails, or a system out of processes,
# doesn't pass within less, and each try may cost a core for as long.
_AGAIN = 5.0


class OnProcesses:
    """Calls a handler in child processes, each for one call at a time, as many as the handler's concurrency.

    One is started with the app, so that a handler that can't be imported is known then; the others when they are
    needed. Whoever cancels a call ends its process, and another takes the place. The lease is kept by this process.
    """

    def __init__(self, handler: Handler, clock: Clock, pause: Pause) -> None:
        self._handler = handler
        self._clock = clock
        self._pause = pause
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._setup: frames.Setup | None = None
        self._warming: set[asyncio.Task[None]] = set()
        self._paused = False
        self._closed = False

    async def open(self) -> None:
        self._setup = setup_of(self._handler)
        try:
            self._idle.append(await self._start())
        except (OSError, ProcessEnded) as error:
            what = f"handler {self._handler.name} ({self._handler.signature.place})"
            raise ConfigError(f"{what}: its process doesn't start: {error}") from None

    async def _start(self) -> Process:
        assert self._setup is not None  # noqa: S101 - opened
        process = await Process.start(self._handler.name, self._setup)
        self._all.add(process)
        return process

    async def call(self, delivery: Delivery) -> None:
        while not await self._call(delivery, await self._take(delivery)):
            pass

    async def _call(self, delivery: Delivery, process: Process) -> bool:
        """Have a process handle a delivery; say whether it began."""
        until = delivery.lease_until
        try:
            outcome = await process.handle(self._job(delivery))
        except NotBegun as ended:
            self._tell_idle(process, str(ended))
            return False
        except ProcessEnded:
            self._all.discard(process)
            self._warm()
            raise
        except BaseException as error:  # nobody else may have it: it may be at work
            if isinstance(error, asyncio.CancelledError):
                _log.warning("process %d is ended for it: %s", process.pid, describe(delivery))
            await self._finish(process)
            raise
        self._idle.append(process)
        if isinstance(outcome, frames.TooLate):
            if delivery.lease_until > until:
                return False  # it was extended meanwhile, which the process doesn't know
            held = held_of(delivery)
            held.begun = False
            # By a clock that also counts what this machine slept: ours may not have seen it.
            held.lease_until = min(until, self._clock.monotonic())
            raise TooLate(f"{describe(delivery)}: its lease was over before its process began with it")
        _conclude(outcome)
        return True

    def _job(self, delivery: Delivery) -> frames.Job:
        message = delivery.message
        return frames.Job(
            message.body,
            dict(message.attributes),
            message.ordering_key,
            message.id,
            message.published_at,
            message.content_type,
            delivery.source,
            delivery.attempt,
            delivery.redelivered,
            machine_time() + delivery.lease_until - self._clock.monotonic(),
        )

    async def _finish(self, process: Process) -> None:
        """End a process before anyone else gets its delivery, also where that is cancelled, too."""
        ending = asyncio.create_task(process.kill())
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError:
                continue  # it takes a second at most, and the first cancellation is raised after it
        self._all.discard(process)
        self._warm()

    async def _take(self, delivery: Delivery) -> Process:
        while True:
            while self._idle:
                process = self._idle.pop()
                if process.how is None:
                    return process
                self._tell_idle(process, process.how)
            if self._warming:
                await not_begun((delivery,), asyncio.wait(list(self._warming), return_when=asyncio.FIRST_COMPLETED))
                if self._idle:
                    continue
            try:
                started: list[Process] = []
                await not_begun((delivery,), self._start_into(started))
            except (OSError, ProcessEnded, ConfigError) as error:
                self._starved(f"its processes don't start: {error}")
                await not_begun((delivery,), self._clock.sleep(_AGAIN))
            else:
                self._resumed()
                return started[0]

    def _tell_idle(self, process: Process, how: str) -> None:
        self._all.discard(process)
        _log.warning("a process of handler %s ended while it was idle: %s", self._handler.name, how)

    async def _start_into(self, started: list[Process]) -> None:
        started.append(await self._start())

    def _warm(self) -> None:
        """Start a process in the place of one that ended, before it is asked for."""
        if not self._closed:
            task = asyncio.create_task(self._replace(), name=f"polybus process for {self._handler.source}")
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)

    async def _replace(self) -> None:
        try:
            process = await self._start()
        except (OSError, ProcessEnded, ConfigError) as error:
            _log.warning("a process of handler %s was not replaced: %s", self._handler.name, error)
            return
        self._idle.append(process)
        self._resumed()

    def _starved(self, reason: str) -> None:
        if not self._paused:
            _log.error("handler %s: %s; nothing more is taken until one does", self._handler.name, reason)
        self._paused = True
        self._pause(" ".join(reason.split()))

    def _resumed(self) -> None:
        if self._paused:
            self._paused = False
            _log.info("handler %s has processes again", self._handler.name)
            self._pause(None)

    def left(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        self._closed = True
        for task in list(self._warming):
            task.cancel()
        if self._warming:
            await asyncio.wait(list(self._warming))
        busy = self._all.difference(self._idle)
        await asyncio.gather(*(process.kill() for process in busy), *(process.close() for process in self._idle))
        self._all.clear()
        self._idle.clear()


class _RemoteError(Exception):
    """What a handler raised in its process; a subclass bears the name of the exception's class."""


class _Trace(Exception):
    """The traceback of another process, for the log."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _conclude(outcome: frames.Done | frames.Failed) -> None:
    """Raise what the handler raised in its process; nothing of it is unpickled."""
    if isinstance(outcome, frames.Done):
        return
    match outcome.kind:
        case "retry":
            raise Retry(outcome.text, after=outcome.after)
        case "dead letter":
            raise DeadLetter(outcome.name, outcome.text)
        case "undecodable":
            raise Undecodable(outcome.text)
        case "exit":
            raise SystemExit(outcome.code)
        case "interrupt":
            raise KeyboardInterrupt(outcome.text)
    words = {"__qualname__": outcome.name, "__module__": outcome.module}
    kind = type(outcome.name.rpartition(".")[2], (_RemoteError,), words)
    raise kind(outcome.text) from _Trace(outcome.trace)
