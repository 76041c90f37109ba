"""Where `polybus local up` says that it runs: one slot for each cloud, in .polybus/local beside the topology.

A slot is held by a lock on a file, which ends with the process however that ends; beside it is what others need to know
of it. Whoever finds a slot that nobody holds cleans it up.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from polybus.bus.resolve import LOCAL
from polybus.errors import ConfigError

__all__ = ["FOLDER", "LOOK", "Running", "Slot", "find_folder", "running", "write"]

FOLDER = LOCAL

LOOK = 0.05
"""Seconds between looks at what another process does; starting or ending one takes about a second."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A local cloud that was started: by which process, and how to use it.

    `binding` is the binding's JSON, empty until all that the topology declares is there. `files` end with it. A `bare`
    one has nothing of the topology: stacks make what is on it, in a state that ends with it, or in the one that was
    kept under the name `state`.
    """

    cloud: str
    pid: int
    address: str = ""
    topology: str = ""
    binding: str = ""
    environment: Mapping[str, str] = {}
    files: tuple[str, ...] = ()
    bare: bool = False
    state: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can be used."""
        return bool(self.binding) or self.bare


class Slot:
    """One cloud's slot in a folder."""

    def __init__(self, folder: Path, cloud: str) -> None:
        self.folder = folder
        self.cloud = cloud
        self._lock = folder / f"{cloud}.lock"
        self._state = folder / f"{cloud}.json"
        self.stacks = folder / f"{cloud}.stacks"
        """A folder for what stacks have on it, which ends with it."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the slot while the block runs, then remove all that `tell` named.

        Raises ConfigError where it is taken.
        """
        deadline = time.monotonic() + 10 * LOOK  # whoever only looks whether something runs has the lock for a moment
        while (descriptor := self._acquire()) is None and time.monotonic() < deadline:
            time.sleep(LOOK)
        if descriptor is None:
            raise ConfigError(
                f"a local {self.cloud} runs for this topology already: `polybus local env --cloud {self.cloud}` says "
                f"how to use it, `polybus local down --cloud {self.cloud}` ends it"
            )
        try:
            self._remove_files()
            self.tell(Running(cloud=self.cloud, pid=os.getpid()))
            yield
        finally:
            self._remove()
            os.close(descriptor)

    def tell(self, state: Running) -> None:
        """Say how to use what runs in this slot; only while it is held."""
        write(self._state, msgspec.json.encode(state))

    def read(self) -> Running | None:
        """Return what runs in the slot, None where nothing does; what a killed process left is removed."""
        descriptor = self._open()
        if descriptor is None:
            return None
        try:
            if not self._lock_is_free(descriptor):
                return msgspec.json.decode(self._state.read_bytes(), type=Running)
            if self._is_current(descriptor):
                self._remove()
        except FileNotFoundError:
            return None  # it has only just begun, or has ended meanwhile
        finally:
            os.close(descriptor)
        return None

    def end(self, patience: float) -> None:
        """End what runs in the slot, if anything does, and return once nothing of it is left.

        Raises ConfigError where it is still there after `patience` seconds.
        """
        state = self.read()
        descriptor = self._open()
        if descriptor is None:
            return
        try:
            if state is None:
                return
            deadline = time.monotonic() + patience
            with suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGTERM)
            while not self._lock_is_free(descriptor):  # it lets go of it as its very last
                if time.monotonic() > deadline:
                    raise ConfigError(f"local {self.cloud}, process {state.pid}, still runs after {patience:.0f} s")
                time.sleep(LOOK)
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        try:
            return os.open(self._lock, os.O_RDWR)
        except FileNotFoundError:
            return None

    def _acquire(self) -> int | None:
        """Lock the file, made where it isn't there; None where another process has it."""
        while True:
            with suppress(FileNotFoundError):  # the one before us was removing the folder
                self.folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
                if not self._lock_is_free(descriptor):
                    os.close(descriptor)
                    return None
                if self._is_current(descriptor):
                    return descriptor
                os.close(descriptor)

    @staticmethod
    def _lock_is_free(descriptor: int) -> bool:
        """Take the lock of an open file, or tell that another process has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _is_current(self, descriptor: int) -> bool:
        """Tell whether the open file is the slot's: who had it before may have removed it before we had its lock."""
        try:
            return self._lock.stat().st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False

    def _remove(self) -> None:
        """Remove all that there is of the slot; the lock itself goes with its descriptor."""
        self._remove_files()
        self._lock.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            with suppress(OSError):  # something else is in it, another cloud's slot or the embedded store
                folder.rmdir()

    def _remove_files(self) -> None:
        with suppress(FileNotFoundError):
            state = msgspec.json.decode(self._state.read_bytes(), type=Running)
            for file in state.files:
                Path(file).unlink(missing_ok=True)
        shutil.rmtree(self.stacks, ignore_errors=True)
        self._state.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def find_folder(topology: Path | None) -> Path:
    """Return the folder of slots beside a topology, or the nearest from the working directory upward."""
    if topology is not None:
        return topology.resolve().parent / FOLDER
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    return here / FOLDER


def running(folder: Path, clouds: tuple[str, ...]) -> list[Running]:
    """Return what runs there now, of these clouds."""
    found = (Slot(folder, cloud).read() for cloud in clouds)
    return [state for state in found if state is not None]
