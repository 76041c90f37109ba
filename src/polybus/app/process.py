"""One child process, from the side of the service."""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress

from polybus.app import frames
from polybus.app.child import PROGRAM
from polybus.app.executor import CallEnded
from polybus.errors import ConfigError

__all__ = ["NotBegun", "Process", "ProcessEnded"]

_log = logging.getLogger("polybus.app")

# Seconds from SIGTERM to SIGKILL, for the `finally` blocks of a handler whose delivery was taken: less than the two
# that a drain gives to cancelled handlers, so that the process is gone before its delivery is given back.
_TERMINATE = 1.0
# Seconds to read what a process that has ended left to be read: it is there, but a child of its own may hold the line.
_LAST_FRAMES = 0.5


class ProcessEnded(CallEnded):
    """A handler's process ended under it."""


class NotBegun(ProcessEnded):
    """The process had ended before it began with the job: no attempt was made."""


class Process:
    """A child that runs one handler, one job at a time; for one event loop.

    Make it with `start`. `how` it ended is None while it is alive.
    """

    def __init__(self, name: str, child: asyncio.subprocess.Process, life: int, flag: mmap.mmap) -> None:
        self._name = name
        self._child = child
        self._life = life
        self._flag = flag
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._answers: asyncio.Queue[object] = asyncio.Queue()
        self._place: tuple[str, str] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.how: str | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @classmethod
    async def start(cls, name: str, setup: frames.Setup) -> Process:
        """Start a process and return it once it has imported the handler.

        Raises ConfigError where it can't, ProcessEnded where it ends instead, OSError where the system gives none.
        """
        with ExitStack() as ours, ExitStack() as theirs:
            line, far = socket.socketpair()
            ours.callback(line.close)
            theirs.callback(far.close)
            life_read, life = os.pipe()
            ours.callback(os.close, life)
            theirs.callback(os.close, life_read)
            file = theirs.enter_context(tempfile.TemporaryFile())
            file.truncate(1)
            flag = mmap.mmap(file.fileno(), 1)
            ours.callback(flag.close)
            passed = (far.fileno(), life_read, file.fileno())
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                "-c",
                PROGRAM,
                *map(str, passed),
                *sys.path,
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is for the service, which drains
            )
            ours.pop_all()  # it keeps them until it has ended
        process = cls(name, child, life, flag)
        try:
            await process._greet(line, setup)
        except BaseException:
            await asyncio.shield(process.kill())
            raise
        return process

    async def _greet(self, line: socket.socket, setup: frames.Setup) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=line)
        self._watching = asyncio.create_task(self._watch(self._reader), name=f"polybus process {self._child.pid}")
        answer = await self._ask(setup)
        if isinstance(answer, frames.Ready) and answer.refused is not None:
            raise ConfigError(f"handler {self._name}: its process can't import it: {answer.refused.strip()}")

    async def handle(self, job: frames.Job) -> frames.Done | frames.TooLate | frames.Failed:
        """Have a job done; raise ProcessEnded where the process ends under it, NotBegun where it had ended before."""
        self._place = (job.source, job.id)  # the last of it may be read after its answer, and before the next
        try:
            answer = await self._ask(job)
        except ProcessEnded as ended:
            raise NotBegun(*ended.args) from None
        if isinstance(answer, frames.Begun):
            answer = await self._answer()
        if isinstance(answer, frames.Done | frames.TooLate | frames.Failed):
            return answer
        raise ProcessEnded(f"process {self._child.pid} answered out of turn; a bug")

    async def _ask(self, frame: frames.ToChild) -> object:
        assert self._writer is not None  # noqa: S101 - greeted
        with suppress(OSError):  # it ended: the watch tells how
            self._writer.write(frames.encode(frame))
            await self._writer.drain()
        return await self._answer()

    async def _answer(self) -> object:
        answer = await self._answers.get()
        if isinstance(answer, ProcessEnded):
            self._answers.put_nowait(answer)
            raise answer
        return answer

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        reading = asyncio.create_task(self._hear(reader))
        code = await self._child.wait()
        self.how = f"its process ended with {_how(code)}, pid {self._child.pid}"
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_FRAMES):
                await reading
        self._answers.put_nowait(ProcessEnded(self.how))
        self._release()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        """Read what the process says, and end it where that can't be read: whoever waits for an answer gets none."""
        try:
            await self._read(reader)
        except Exception:  # noqa: BLE001 - told, whatever it is
            _log.exception("process %d says what can't be read; it is ended", self._child.pid)
            self._signal(signal.SIGKILL)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decode = frames.decoder(frames.FromChild).decode
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (length,) = frames.HEAD.unpack(await reader.readexactly(frames.HEAD.size))
                frame = decode(await reader.readexactly(length))
                if isinstance(frame, frames.Log):
                    self._log(frame)
                else:
                    self._answers.put_nowait(frame)

    def _log(self, frame: frames.Log) -> None:
        try:
            _write(frame, self._child.pid, self._place)
        except Exception:  # noqa: BLE001 - a filter of the service's own; there is nobody to raise it to
            _log.exception("a line that process %d logged was not written", self._child.pid)

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._life >= 0:
            os.close(self._life)
            self._life = -1
            self._flag.close()

    async def kill(self) -> None:
        """End it, whatever it does, and what it has started: a tool that a handler waits for is part of its work.

        The handler sees `delivery.lost`, and gets a second for its `finally` blocks.
        """
        if self._life >= 0:
            self._flag[0] = 1
        self._signal(signal.SIGTERM)
        await self._end()
        self._signal(signal.SIGKILL)  # for what it started and didn't end

    async def close(self) -> None:
        """Have it end by itself, as it has nothing to do; a second later it is killed."""
        if self._writer is not None:
            self._writer.close()
        await self._end()

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(_TERMINATE):
                await self._child.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._child.wait()
        if self._watching is not None:
            await asyncio.wait([self._watching])
        self._release()

    def _signal(self, number: int) -> None:
        """Send a signal to the process and all in its group, which is its own."""
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only a zombie is left
            os.killpg(self._child.pid, number)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    hint = "; where nobody sent it, the system was out of memory" if -code == signal.SIGKILL else ""
    return f"signal {-code} ({name}){hint}"


def _write(frame: frames.Log, pid: int, place: tuple[str, str] | None) -> None:
    logger = logging.getLogger(frame.name)
    if not logger.isEnabledFor(frame.level):
        return
    record = logging.LogRecord(frame.name, frame.level, frame.path, frame.line, frame.text, None, None, frame.function)
    record.created, record.msecs = frame.created, (frame.created % 1) * 1000
    record.process, record.processName, record.threadName = pid, f"polybus process {pid}", frame.thread
    record.exc_text = frame.trace
    if place is not None:
        record.source, record.message_id = place
    logger.handle(record)
