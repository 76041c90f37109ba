"""The worker processes: each is started again when it ended, until the run is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from polybus.testing.torture.ledger import Ledger

__all__ = ["Crew", "Worker"]

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_SAMPLE = 2.0
"""Seconds between two looks at a worker's memory and descriptors."""


class Worker:
    """One place in the crew, and the process that fills it now."""

    def __init__(self, role: str, number: int) -> None:
        self.role = role
        self.number = number
        self.lives = 0
        self.process: asyncio.subprocess.Process | None = None
        self.stopped = False
        self.ending = False

    @property
    def who(self) -> str:
        """The process's name in the ledger: place and life."""
        return f"{self.role[0]}{self.number}.{self.lives}"

    @property
    def up(self) -> bool:
        """Whether a process runs here, and neither stands still nor was told to end."""
        return self.process is not None and self.process.returncode is None and not self.stopped and not self.ending

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)


class Crew:
    """Publishers and consumers of a run."""

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        env: Mapping[str, str],
        *,
        seed: int,
        publishers: int,
        consumers: int,
        rate: float,
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._env = {**os.environ, **env, "PYTHONFAULTHANDLER": "1"}
        self._seed = seed
        self._rate = rate / publishers
        self.publishers = [Worker("publish", number) for number in range(publishers)]
        self.consumers = [Worker("consume", number) for number in range(consumers)]
        self._closed: set[str] = set()
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def workers(self) -> list[Worker]:
        """All places."""
        return [*self.publishers, *self.consumers]

    def start(self) -> None:
        """Fill all places, and keep them filled."""
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self.workers]
        self._keepers.append(asyncio.create_task(self._sample()))

    async def _keep(self, worker: Worker) -> None:
        while worker.role not in self._closed:
            worker.lives += 1
            worker.stopped = worker.ending = False
            with (self._folder / f"log-{worker.who}").open("wb") as log:
                worker.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "polybus.testing.torture.worker", worker.role),
                    *(str(self._folder), worker.who, str(self._seed), str(self._rate)),
                    stdout=log,
                    stderr=log,
                    env=self._env,
                )
            self._ledger.note("born", worker.who)
            code = await worker.process.wait()
            self._ledger.note("gone", worker.who, code, worker.ending)
            await asyncio.sleep(0.2)

    async def _sample(self) -> None:
        while True:
            for worker in self.workers:
                if worker.process is not None and worker.process.returncode is None:
                    self._look_at(worker, worker.process.pid)
            await asyncio.sleep(_SAMPLE)

    def _look_at(self, worker: Worker, pid: int) -> None:
        try:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KIB
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:  # it ended just now
            return
        self._ledger.note("size", worker.who, resident, descriptors)

    # What is done to them --------------------------------------------------------------------------------------------

    def pick(self, chance: random.Random) -> Worker | None:
        """Choose a process that runs, or None."""
        running = [worker for worker in self.workers if worker.up]
        return chance.choice(running) if running else None

    def kill(self, worker: Worker) -> None:
        """End a process as a crash does."""
        self._ledger.note("act", "kill", worker.who)
        worker.ending = True  # it was asked for, so its end is no fault
        worker.send(signal.SIGKILL)

    def end(self, worker: Worker) -> None:
        """Ask a process to end, as a platform does."""
        self._ledger.note("act", "term", worker.who)
        worker.ending = True
        worker.send(signal.SIGTERM)

    async def stop(self, worker: Worker, seconds: float) -> None:
        """Let a process stand still for some seconds."""
        who = worker.who
        self._ledger.note("act", "stop", who, seconds)
        worker.stopped = True
        worker.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if worker.who == who:
                worker.send(signal.SIGCONT)
                worker.stopped = False
            self._ledger.note("act", "continue", who)

    async def finish(self, role: str, patience: float) -> None:
        """Ask all of a role to end; those that don't within `patience` seconds are killed, and the ledger says so."""
        self._closed.add(role)
        places = [worker for worker in self.workers if worker.role == role]
        for worker in places:
            self.end(worker)
        ends = [worker.process.wait() for worker in places if worker.process is not None]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*ends), patience)
        for worker in places:
            if worker.process is not None and worker.process.returncode is None:
                self._ledger.note("stays", worker.who)
                worker.send(signal.SIGKILL)

    async def close(self) -> None:
        """End whatever still runs."""
        self._closed.update(("publish", "consume"))
        for worker in self.workers:
            worker.send(signal.SIGKILL)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
