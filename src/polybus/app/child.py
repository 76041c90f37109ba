"""A process that runs one handler, for the service that started it."""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import importlib
import importlib.util
import inspect
import logging
import mmap
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from types import FrameType, ModuleType
from typing import Any, NoReturn

from polybus.app import frames
from polybus.app.executor import own_decimals
from polybus.app.signature import Signature, read_signature
from polybus.bus.delivery import Delivery
from polybus.bus.held import HeldDelivery, State
from polybus.bus.texts import reason_of, shorten
from polybus.bus.verdict import read
from polybus.clock import machine_time
from polybus.durations import Duration
from polybus.errors import DeadLetter, DecodeError, UnsupportedFeature, exit_in, signal_in, wait_of
from polybus.message import Message

__all__ = ["PROGRAM", "is_child", "main"]

PROGRAM = """\
import sys
sys.path[:] = sys.argv[4:]
from polybus.app.child import main
main(*map(int, sys.argv[1:4]))
"""
"""What the interpreter of a child is started with; its arguments are three descriptors and the parent's module path."""

_is_child = False


def is_child() -> bool:
    """Say whether this process is one that runs a handler for a service."""
    return _is_child


class _Ended(SystemExit):
    """Its delivery was taken from the handler: raised where it is, so that its `finally` blocks run."""


class ChildDelivery(HeldDelivery):
    """What a handler in a process of its own sees of its delivery: to be read, and settled by returning or raising."""

    __slots__ = ("_flag", "_source")

    def __init__(self, job: frames.Job, flag: mmap.mmap) -> None:
        self._source = job.source
        self._flag = flag
        self.message = message_of(job)
        self.attempt = job.attempt
        self.redelivered = job.redelivered
        self.lease_until = time.monotonic() + job.until - machine_time()
        self.state = State.HELD

    @property
    def source(self) -> str:
        return self._source

    @property
    def lost(self) -> bool:
        return self._flag[0] != 0

    async def ack(self) -> None:
        self._refuse()

    async def nack(self, *, delay: Duration | None = None) -> None:
        self._refuse()

    async def dead_letter(self, reason: str, description: str = "") -> None:
        self._refuse()

    def enter(self) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnsupportedFeature(
            "a handler in a process of its own settles by its end: return, or raise polybus.Retry, polybus.DeadLetter "
            "or an error"
        )


def message_of(job: frames.Job) -> Message:
    """Return the message of a job."""
    return Message(job.body, job.attributes, job.ordering_key, job.id, job.published_at, job.content_type)


class _Line:
    """The connection to the parent; threads may send at once."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._file = self._socket.makefile("rb")
        self._decode = frames.decoder(frames.ToChild).decode
        self._sending = threading.Lock()

    def send(self, frame: frames.FromChild) -> None:
        data = frames.encode(frame)
        with self._sending:
            self._socket.sendall(data)

    def receive(self) -> object | None:
        """Return the next frame; None where the parent hung up, or is no more."""
        head = self._file.read(frames.HEAD.size)
        if len(head) < frames.HEAD.size:
            return None
        (length,) = frames.HEAD.unpack(head)
        data = self._file.read(length)
        return self._decode(data) if len(data) == length else None


class _ToParent(logging.Handler):
    """Hands log records to the parent, whose handlers write them."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with suppress(OSError):  # the parent is no more, and this process soon after it
                self._line.send(_log_of(record))
        except Exception:  # noqa: BLE001 - a line that can't be written is no failure of who wrote it, as in any handler
            self.handleError(record)


def _log_of(record: logging.LogRecord) -> frames.Log:
    trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
    return frames.Log(
        _text(record.name),
        int(record.levelno),
        _text(record.getMessage()),
        record.created,
        _text(record.pathname),
        record.lineno,
        _text(record.funcName or ""),
        _text(record.threadName or ""),
        None if trace is None else _text(trace),
    )


class _Child:
    """Runs jobs in the main thread, where signals reach them; another thread reads what the parent says."""

    def __init__(self, line: _Line, flag: mmap.mmap) -> None:
        self._line = line
        self._flag = flag
        self._jobs: queue.SimpleQueue[object | None] = queue.SimpleQueue()
        self._busy = False

    def run(self) -> None:
        signature = self._set_up()
        if signature is None:
            return
        threading.Thread(target=self._read, name="polybus parent", daemon=True).start()
        self._line.send(frames.Ready())
        with asyncio.Runner() as runner:
            while isinstance(job := self._jobs.get(), frames.Job):
                self._line.send(frames.Begun())
                answer = contextvars.copy_context().run(self._handle, job, signature, runner)
                self._busy = False  # before the parent knows: it may hang up then, or send another job
                self._line.send(answer)

    def _set_up(self) -> Signature | None:
        setup = self._line.receive()
        if not isinstance(setup, frames.Setup):
            return None
        root = logging.getLogger()
        root.addHandler(_ToParent(self._line))
        root.setLevel(setup.level)
        for name, level in setup.levels.items():
            logging.getLogger(name).setLevel(level)
        try:
            module = _import(setup)
            function: Any = module
            for part in setup.name.split("."):
                function = getattr(function, part)
            return read_signature(function, vars(module))
        except BaseException as error:
            self._line.send(frames.Ready(f"{type(error).__name__}: {_said(error)}\n{_trace(error)}"))
            if exit_in(error) is None and not isinstance(error, Exception):
                raise
            return None

    def _read(self) -> None:
        while (frame := self._line.receive()) is not None:
            self._busy = True
            self._jobs.put(frame)
        if self._busy:
            os._exit(1)  # the parent is no more; whatever the handler does, its delivery comes again
        self._jobs.put(None)

    def _handle(self, job: frames.Job, signature: Signature, runner: asyncio.Runner) -> frames.FromChild:
        own_decimals()
        try:
            try:
                body = signature.decode(message_of(job))
            except DecodeError as error:
                return frames.Failed("undecodable", "DecodeError", _said(error))
            # Only now: this process may have been stopped since the job was sent, and its parent with it.
            if machine_time() >= job.until:
                return frames.TooLate()
            result = signature.call(body, Delivery(ChildDelivery(job, self._flag)))
            if inspect.isawaitable(result):
                runner.run(_awaited(result), context=contextvars.copy_context())
        except _Ended:
            raise
        except BaseException as error:  # noqa: BLE001 - it is told to the parent, whatever it is
            return _failure(error)
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
        return frames.Done()


async def _awaited(result: Any) -> None:
    await result


def _failure(error: BaseException) -> frames.Failed:
    name, text = _text(type(error).__qualname__), _said(error)
    signal = signal_in(error)
    leaving = exit_in(error)
    if isinstance(leaving, SystemExit):
        return frames.Failed("exit", name, text, code=_code(leaving.code))
    if leaving is not None:
        return frames.Failed("interrupt", name, text)
    if isinstance(signal, DeadLetter):
        letter = read(signal)
        return frames.Failed("dead letter", reason_of(letter.reason), shorten(letter.description))
    if signal is not None:
        return frames.Failed("retry", name, _said(signal), after=wait_of(signal))
    return frames.Failed("error", name, text, _text(str(type(error).__module__)), _trace(error))


def _code(code: object) -> int | str | None:
    """Return an exit's code as a plain value: a bool, say, is an int."""
    if code is None:
        return None
    if not isinstance(code, int):
        return _text(str(code))
    return int(code) if -(2**31) <= code < 2**31 else int(code) & 0xFF


def _said(error: BaseException) -> str:
    try:
        return _text(str(error))
    except Exception as failed:  # noqa: BLE001 - an exception's own text may fail; the failure itself must be told
        return f"(its text can't be had: {type(failed).__name__})"


def _trace(error: BaseException) -> str:
    try:
        return _text("".join(traceback.format_exception(error)))
    except Exception:  # noqa: BLE001 - as above
        return ""


def _text(text: str) -> str:
    """Return a text that can be sent: lone surrogates are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _import(setup: frames.Setup) -> ModuleType:
    if setup.file is None:
        return importlib.import_module(setup.module)
    # The program itself, under another name than __main__: what it guards with that doesn't run.
    spec = importlib.util.spec_from_file_location("__polybus_main__", setup.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{setup.file} can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(line: int, life: int, flag: int) -> None:
    """Be a child: `line` is the connection to the parent, `life` a pipe that it holds open, `flag` a shared byte."""
    global _is_child  # noqa: PLW0603 - it is true of the process, and never changes
    _is_child = True
    for descriptor in (line, life, flag):
        os.set_inheritable(descriptor, False)
    shared = mmap.mmap(flag, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent drains for it

    def terminate(number: int, frame: FrameType | None) -> None:
        # Sent to every process of the service, it is the parent's to act on; from the parent the flag is set.
        if shared[0]:
            raise _Ended(128 + number)

    signal.signal(signal.SIGTERM, terminate)
    _end_with_parent(life)
    try:
        _Child(_Line(line), shared).run()
    except _Ended as ended:
        os._exit(int(str(ended.code)))


def _end_with_parent(life: int) -> None:
    """Have the system end this process when the pipe closes, also while a handler holds the interpreter's lock.

    A descriptor that is asynchronous raises SIGIO when its other end is closed, and SIGIO, unless handled, is an end.
    """
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
