"""Steering a service that runs, from its own machine: by a socket that only its user may open."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import stat
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from polybus.app.listener import PATIENCE, Listener
from polybus.bus.consumer import hold
from polybus.errors import ConfigError

if TYPE_CHECKING:
    from polybus.app.session import Session

__all__ = ["Answer", "Command", "ControlServer", "Part", "ask", "folder", "sockets"]

_log = logging.getLogger("polybus.app")

# A command is a line of some hundred bytes, an answer one of as many for each handler.
_LINE = 1 << 20
# Characters of a service's name in a path: a socket's is 107 bytes at most (unix(7); 103 on macOS).
_NAME = 32
# What a socket's name ends with until somebody listens on it.
_UNSEEN = ".new"
MOST = 10_000


class Command(msgspec.Struct, omit_defaults=True):
    """What a service is asked: `status`, `pause`, `resume` or `concurrency`, of one source."""

    what: str
    source: str = ""
    concurrency: int = 0


class Part(msgspec.Struct):
    """One handler of a running service; `not_taking` is why it takes nothing right now, in a word."""

    source: str
    handler: str
    concurrency: int
    in_flight: int
    not_taking: str | None
    problem: str | None


class Answer(msgspec.Struct):
    """Which service answered, and its handlers: all, or those that a command was for. `error` says why it did not."""

    pid: int
    service: str
    parts: list[Part] = msgspec.field(default_factory=list)
    error: str | None = None


def folder() -> Path:
    """Return where sockets are; it may not be there yet."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "polybus"
    return Path(tempfile.gettempdir()) / f"polybus-{os.getuid()}"


def sockets() -> list[Path]:
    """List the sockets that are there; some may be left of services that were killed."""
    where = folder()
    if not where.exists():
        return []
    _check(where)
    return sorted(where.glob("*.sock"))


def _check(where: Path) -> None:
    """Raise ConfigError unless a folder is this user's alone: else anybody could put a socket in a service's place."""
    found = where.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{where} is to be a folder of this user's alone (mode 0700); remove it, or set XDG_RUNTIME_DIR"
        )


class ControlServer(Listener):
    """Answers commands while it is entered, on a socket of mode 0600 in a folder of mode 0700.

    `sessions` gives what runs. Raises ConfigError where the folder isn't this user's alone, or can't be made.
    """

    def __init__(self, services: Iterable[str | None], sessions: Callable[[], Sequence[Session]]) -> None:
        super().__init__()
        self._service = "+".join(service for service in services if service is not None)
        self._sessions = sessions
        self.path = Path()

    async def __aenter__(self) -> Self:
        where = folder()
        name = re.sub(r"[^A-Za-z0-9_.+-]", "-", self._service or "polybus")[:_NAME]
        self.path = where / f"{name}-{os.getpid()}.sock"
        listening = socket.socket(socket.AF_UNIX)
        try:
            where.mkdir(mode=0o700, exist_ok=True)
            _check(where)
            clean_up()
            # Seen once it listens: until then another service, which starts as well, would take it for one left behind.
            unseen = self.path.with_suffix(_UNSEEN)
            unseen.unlink(missing_ok=True)  # of a process that had this number before
            listening.bind(str(unseen))
            unseen.chmod(0o600)
            self._server = await asyncio.start_unix_server(self.serve, sock=listening, limit=_LINE)
            unseen.rename(self.path)
        except OSError as error:
            listening.close()
            raise ConfigError(f"the control socket {self.path}: {error.strerror or error}") from None
        except BaseException:
            listening.close()
            raise
        _log.info("control: `polybus ps`, on %s", self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        await self.end()

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a command, which is a line; nothing to what is none."""
        with suppress(ValueError):
            line = await reader.readline()
            writer.write(msgspec.json.encode(self._answer(line, _who(writer))) + b"\n")

    def _answer(self, line: bytes, who: str) -> Answer:
        answer = Answer(os.getpid(), self._service)
        try:
            command = msgspec.json.decode(line, type=Command)
            answer.parts = list(self._done(command, who))
        except (msgspec.MsgspecError, ConfigError) as error:
            answer.error = str(error)
        return answer

    def _done(self, command: Command, who: str) -> Iterator[Part]:
        sessions = self._sessions()
        found = [
            (session, at)
            for session in sessions
            for at, handler in enumerate(session.handlers)
            if command.what == "status" or handler.source == command.source
        ]
        if command.what != "status":
            if not found:
                sources = ", ".join(handler.source for session in sessions for handler in session.handlers)
                raise ConfigError(f"it has no handler of {command.source!r}; it has {sources or 'none yet'}")
            _log.warning("control: %s %s, by %s", command.what, _shown(command), who)
        for session, at in found:
            _do(command, session, at, who)
            yield _part(session, at)


def _shown(command: Command) -> str:
    return command.source + (f" {command.concurrency}" if command.what == "concurrency" else "")


def _do(command: Command, session: Session, at: int, who: str) -> None:
    match command.what:
        case "status":
            pass
        case "pause":
            hold(session.consumers[at], "pause", f"paused by {who}")
        case "resume":
            hold(session.consumers[at], "pause", None)
        case "concurrency":
            if not 1 <= command.concurrency <= MOST:
                raise ConfigError(f"concurrency {command.concurrency}: 1 to {MOST:,}")
            session.set_concurrency(at, command.concurrency)
        case _:
            raise ConfigError(f"{command.what!r} is none of status, pause, resume, concurrency")


def _part(session: Session, at: int) -> Part:
    handler, consumer = session.handlers[at], session.consumers[at]
    return Part(
        handler.source,
        handler.name,
        session.concurrency(at),
        consumer.in_flight,
        consumer.not_taking,
        consumer.problem,
    )


def _who(writer: asyncio.StreamWriter) -> str:
    """Say who asks, as far as the system tells."""
    peer: Any = writer.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if peer is None or option is None:
        return "polybus pause"
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"user {uid}"


# Whoever asks ---------------------------------------------------------------------------------------------------------


def ask(path: Path, command: Command) -> Answer | None:
    """Send a command to one service, and return its answer; None, and the socket is gone, where nobody listens.

    Raises OSError where it doesn't answer, PermissionError where it is another user's.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(PATIENCE)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return None
        asking.sendall(msgspec.json.encode(command) + b"\n")
        line = b""
        while not line.endswith(b"\n") and (more := asking.recv(65_536)):
            line += more
    if not line:
        raise OSError(f"{path} gave no answer")
    return msgspec.json.decode(line, type=Answer)


def clean_up() -> None:
    """Remove the sockets of services that were killed."""
    for path in sockets():
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            try:
                asking.connect(str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                _remove(path)
            except OSError:
                continue  # it is busy, or slow: somebody is there
    for path in folder().glob(f"*{_UNSEEN}"):
        if not _runs(path.stem.rpartition("-")[2]):
            _remove(path)  # killed before it was seen


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True  # it is no name of ours, or another user's process by now
    return True
