"""How a consumer that waits learns, at once and for nothing, that another process has committed something.

Each consumer has a named pipe in a folder beside the file, its name beginning with the source's number. Who commits
something for that source writes one byte to each; a pipe without a reader is what a killed process left, and is
removed. Pipes need no shorter path than files do (sockets: 103 bytes on macOS), and vanish with their last reader.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path

__all__ = ["BLIND_POLL", "POLL", "Bell", "Ringer", "folder"]

POLL = 1.0
"""Seconds between two looks of a waiting consumer even if nobody rings; a look costs some 50 us of CPU."""

BLIND_POLL = 0.025
"""The same where no named pipe could be made: half of the 50 ms within which a message is to be seen."""

# A folder's time has the resolution of the kernel's tick, 4 to 10 ms: a listing made this shortly after a change may
# have missed another one with the same time.
_SETTLED = 0.05


def folder(path: Path) -> Path:
    """Return where the pipes of a store are: one place, by whatever links its users come to it."""
    path = Path(os.path.realpath(path))
    return path.with_name(path.name + "-wake")


class Bell:
    """A consumer's own pipe. Every call is made in the thread of its event loop."""

    def __init__(self, path: Path, source: int) -> None:
        self._fd: int | None = None
        self._pipe = folder(path) / f"{source}.{os.getpid()}.{secrets.token_hex(4)}"
        hidden = self._pipe.with_name(f".{self._pipe.name}")
        try:
            self._pipe.parent.mkdir(mode=0o700, exist_ok=True)
            os.mkfifo(hidden, 0o600)
            # Open for both, so that it never comes to an end; open before it can be seen, so that nobody removes it.
            self._fd = os.open(hidden, os.O_RDWR | os.O_NONBLOCK)
            os.rename(hidden, self._pipe)
        except OSError:  # no rights, no room, or a file system without pipes: it looks often instead (BLIND_POLL)
            self.close()
            with contextlib.suppress(OSError):
                hidden.unlink()

    @property
    def poll(self) -> float:
        """How long to wait at most without a look, in seconds."""
        return BLIND_POLL if self._fd is None else POLL

    def drain(self) -> None:
        """Forget what was rung; to be called before looking."""
        if self._fd is not None:
            with contextlib.suppress(BlockingIOError):
                while len(os.read(self._fd, 4_096)) == 4_096:
                    pass

    def listen(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back on the running event loop when it rings, or has rung; return what ends that."""
        import asyncio

        fd = self._fd
        if fd is None:
            return lambda: None
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, callback)
        return lambda: loop.remove_reader(fd)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            with contextlib.suppress(OSError):  # a publisher may have removed it, or somebody the folder
                self._pipe.unlink()


class Ringer:
    """Rings the bells of all processes. Every call is made in the writer's thread."""

    def __init__(self, path: Path) -> None:
        self._folder = folder(path)
        self._name = str(self._folder)
        self._fds: dict[str, int] = {}
        self._seen = -1  # the folder's time at the last listing that is sure to be whole

    def ring(self, sources: Collection[int]) -> None:
        """Wake whoever waits for one of these; what keeps it from that only makes them wait for their next look."""
        if not sources:
            return
        try:
            self._refresh()
        except OSError:
            self._seen = -1
        wanted = {str(source) for source in sources}
        for name, fd in list(self._fds.items()):
            if name.partition(".")[0] in wanted:
                try:
                    os.write(fd, b"!")
                except BlockingIOError:
                    pass  # full of rings that were not heard yet: one more adds nothing
                except BrokenPipeError:
                    self._forget(name)
                    self._remove(name)

    def close(self) -> None:
        for name in list(self._fds):
            self._forget(name)

    def _refresh(self) -> None:
        try:
            changed = os.stat(self._name).st_mtime_ns
            if changed == self._seen:
                return
            names = {name for name in os.listdir(self._folder) if not name.startswith(".")}
        except FileNotFoundError:
            names, changed = set(), -1
        for name in self._fds.keys() - names:
            self._forget(name)
        for name in names - self._fds.keys():
            self._open(name)
        self._seen = changed if time.time_ns() - changed > _SETTLED * 1e9 else -1

    def _open(self, name: str) -> None:
        try:
            self._fds[name] = os.open(self._folder / name, os.O_WRONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            pass  # its consumer has just gone
        except OSError as error:
            if error.errno != errno.ENXIO:  # not "no reader"
                return  # another user's, who hears of it by looking (POLL)
            self._remove(name)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):  # whoever else rings removes it too
            os.unlink(self._folder / name)

    def _forget(self, name: str) -> None:
        os.close(self._fds.pop(name))
