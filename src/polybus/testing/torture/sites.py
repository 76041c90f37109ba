"""The backends that can be tortured: how each comes up, and what can be done to it beside its clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from polybus.binding import Binding
from polybus.embedded.plan import local_binding
from polybus.localcloud.server import LOOPBACK, free_port
from polybus.plan.planning import Local, local_of
from polybus.registry import offering
from polybus.testing.torture.relay import Relay
from polybus.testing.torture.scene import LEASE
from polybus.topology.model import Topology

__all__ = ["Act", "BaseSite", "Site", "environment", "sites"]

# A server that comes up says so within this many seconds, on a busy machine too.
_START = 60.0
# Pauses and stalls end before a client's own timeout of a call (`Local.patience`): what a client has given up
# and the server does all the same afterwards is a repeat that no client can prevent. Leases end during Google's shorter
# ones as well: as one begins, between half of their length and all of it is left.
_LONGEST_PAUSE = 1.3 * LEASE
_MARGIN = 1.5
# Seconds after which the local Pub/Sub is believed that there are no dead letters; Google may take 20.
_LOOK = 3.0


@dataclass(frozen=True, slots=True)
class Act:
    """Something that is done to a site: `run` does it and undoes it, and returns what it was in a few words."""

    name: str
    run: Callable[[random.Random], Awaitable[str]]


class Site(Protocol):
    """One backend, as the torture sees it; subclass `BaseSite` for the usual answers."""

    name: str
    """What reports call it."""

    async def start(self, folder: Path, topology: Topology) -> Binding:
        """Bring it up in an empty folder with everything that the topology declares; return how workers reach it."""

    def env(self) -> Mapping[str, str]:
        """Return the environment variables that workers need beside the binding."""

    def acts(self) -> tuple[Act, ...]:
        """Return what can be done to it, each named for `--faults`."""

    async def heal(self) -> None:
        """Undo whatever was done to it; it has to work from now on."""

    async def stop(self) -> None:
        """End it."""


class BaseSite:
    """The usual answers: nothing to set, nothing to do to it, nothing to end."""

    name = ""

    def env(self) -> Mapping[str, str]:
        """Return none."""
        return {}

    def acts(self) -> tuple[Act, ...]:
        """Return none."""
        return ()

    async def heal(self) -> None:
        """Do nothing: nothing was done to it."""
        return

    async def stop(self) -> None:
        return None


class SqliteSite(BaseSite):
    """The embedded store: a file that a stranger's process locks now and then."""

    name = "sqlite"

    def __init__(self) -> None:
        self._path = Path()

    async def start(self, folder: Path, topology: Topology) -> Binding:
        """Return the binding of a file in the folder."""
        self._path = folder / "bus.db"
        return local_binding(topology, backend="sqlite", path=self._path)

    def acts(self) -> tuple[Act, ...]:
        return (Act("lock", self._lock),)

    async def _lock(self, chance: random.Random) -> str:
        seconds = chance.uniform(0.5, _LONGEST_PAUSE)
        await asyncio.to_thread(self._hold, seconds)
        return f"store locked for {seconds:.1f} s"

    def _hold(self, seconds: float) -> None:
        with (
            contextlib.suppress(sqlite3.OperationalError),  # busy for 30 s: then it is locked enough as it is
            contextlib.closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as store,
        ):
            store.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            store.execute("ROLLBACK")


class CloudSite(BaseSite):
    """A local server in a process of its own, with its data on disk, behind a relay.

    `settings` are added to those of the binding.
    """

    def __init__(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._settings = settings or {}
        self._local = local_of(name)
        self._longest_pause = min(_LONGEST_PAUSE, self._local.patience - _MARGIN)
        self._folder = Path()
        self._port = 0
        self._relay = Relay(0)
        self._server: asyncio.subprocess.Process | None = None
        self._busy = asyncio.Lock()

    async def start(self, folder: Path, topology: Topology) -> Binding:
        """Start the server and the relay, and have the topology realised there."""
        self._folder = folder / "server"
        self._folder.mkdir()
        self._port = free_port()
        self._relay = Relay(self._port)
        await self._relay.start()
        await self._up()
        binding = await asyncio.to_thread(_realised, self._local, topology, self._like(self._port))
        binding = msgspec.structs.replace(binding, settings={**binding.settings, **self._settings})
        # Workers see the relay's port wherever the server's stands.
        return Binding.from_json(binding.to_json().replace(f":{self._port}", f":{self._relay.port}"))

    def env(self) -> Mapping[str, str]:
        # The endpoint is in the binding: of the environment workers need credentials alone.
        variables: Mapping[str, str] = self._like(self._relay.port).env()
        return variables

    def _like(self, port: int) -> Any:
        return self._local.server(LOOPBACK, port, self._folder)

    def acts(self) -> tuple[Act, ...]:
        return (
            Act("server-kill", self._kill),
            Act("server-pause", self._pause),
            Act("reset", self._reset),
            Act("stall", self._stall),
            Act("blackhole", self._swallow),
            Act("refuse", self._refuse),
        )

    async def heal(self) -> None:
        self._relay.heal()
        async with self._busy:
            if self._server is None or self._server.returncode is not None:
                await self._up()

    async def stop(self) -> None:
        await self._relay.stop()
        await self._down(signal.SIGTERM)

    # What is done to it ----------------------------------------------------------------------------------------------

    async def _kill(self, chance: random.Random) -> str:
        seconds = chance.uniform(0.2, 3.0)
        async with self._busy:
            await self._down(signal.SIGKILL)
            await asyncio.sleep(seconds)
            await self._up()
        return f"server killed, back after {seconds:.1f} s"

    async def _pause(self, chance: random.Random) -> str:
        seconds = chance.choice((chance.uniform(0.2, 2.0), chance.uniform(2.0, self._longest_pause)))
        async with self._busy:
            server = self._server
            if server is None:
                return "no server to pause"
            server.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                server.send_signal(signal.SIGCONT)
        return f"server paused for {seconds:.1f} s"

    async def _reset(self, chance: random.Random) -> str:
        self._relay.reset()
        return "connections reset"

    async def _swallow(self, chance: random.Random) -> str:
        self._relay.swallow()
        return "connections swallowed"

    async def _stall(self, chance: random.Random) -> str:
        seconds = chance.uniform(0.5, self._longest_pause)
        self._relay.stall()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._relay.heal()
        return f"connections stalled for {seconds:.1f} s"

    async def _refuse(self, chance: random.Random) -> str:
        seconds = chance.uniform(0.5, 5.0)
        self._relay.refuse()
        self._relay.reset()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._relay.heal()
        return f"connections refused for {seconds:.1f} s"

    # The server's process --------------------------------------------------------------------------------------------

    async def _up(self) -> None:
        with (self._folder.parent / "server.log").open("ab") as log:
            self._server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "polybus.testing.torture.serve", self.name),
                *("--port", str(self._port), "--data", str(self._folder)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._server.stdout is not None
        line = await asyncio.wait_for(self._server.stdout.readline(), _START)
        if not line.startswith(b"ready"):
            raise RuntimeError(f"the local {self.name} server did not come up; see {log.name}")

    async def _down(self, number: signal.Signals) -> None:
        if self._server is not None and self._server.returncode is None:
            self._server.send_signal(number)
            await self._server.wait()


def _realised(local: Local, topology: Topology, server: Any) -> Binding:
    """Make everything on the server that runs; `server` is one like it, which isn't started."""
    with environment(server.env()):
        made = local.realise(local.plan(topology), server)
    # What suits one developer at a desk doesn't suit a busy machine: services poll and look as on the real cloud.
    settings = {name: value for name, value in made.settings.items() if name != "long_poll"}
    return msgspec.structs.replace(made, settings={**settings, **({"look": _LOOK} if "look" in settings else {})})


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process for the length of the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def sites() -> Mapping[str, Callable[..., Site]]:
    """Give the backends that can be tortured, by name: the embedded store, and every cloud with a local server."""
    return {"sqlite": SqliteSite, **{name: partial(CloudSite, name) for name in offering("local")}}
