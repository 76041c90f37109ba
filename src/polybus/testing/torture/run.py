"""One run: the crew works, the faults come by a seeded plan, then everything may finish and is judged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polybus
from polybus.binding import Binding
from polybus.feature import Feature
from polybus.testing.torture.crew import Crew
from polybus.testing.torture.ledger import Ledger
from polybus.testing.torture.scene import GRACE, LEASE, PUBLISH_DEADLINE, SOURCES, topology
from polybus.testing.torture.sites import Act, Site, environment
from polybus.testing.torture.steps import StepFile
from polybus.testing.torture.verdict import Judge, Left, Verdict

__all__ = ["WORKER_FAULTS", "Options", "torture"]

WORKER_FAULTS = ("kill", "stop", "term", "clock")
"""What is done to processes, on every site."""

# Seconds for the first processes to come up, before the faults begin; a cloud's library takes seconds to import.
_START = 60.0
# Part of all faults that are done to the site; the rest is done to processes.
_SITE_PART = 0.4
# Seconds between two faults.
_BETWEEN = (1.0, 4.0)
# Parts of a lease that a process stands still: shorter ones are survived, longer ones lose what is held.
_SHORT_STOP, _LONG_STOP = (0.1, 0.6), (1.1, 1.8)
_STEPS = (-3_600.0, 3_600.0, 30 * 86_400.0, -86_400.0)
"""Seconds by which a wall clock steps."""

_SETTLED = 6 * LEASE + 30.0
"""Seconds without anything new in the ledger after which what is still owed won't come: several leases and backoffs."""


@dataclass(frozen=True)
class Options:
    """How a run goes.

    `minutes` of faults; `rate` messages a second from all publishers; `faults` names what is done, None for all that
    the site and the processes can bear. With `keep`, ledger and logs stay in that folder.
    """

    minutes: float = 1.0
    seed: int = 7
    publishers: int = 2
    consumers: int = 3
    rate: float = 40.0
    faults: frozenset[str] | None = None
    keep: Path | None = None
    say: Callable[[str], None] = field(default=lambda line: None)


async def torture(site: Site, options: Options) -> Verdict:
    """Run the torture on a site and return what became of everything; raises where the site itself fails."""
    with _folder(options.keep) as folder:
        try:
            binding = await site.start(folder, topology())
            (folder / "binding.json").write_text(binding.to_json())
            return await _Run(site, binding, folder, options).run()
        finally:
            await site.stop()


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="polybus-torture-") as folder:
        yield Path(folder)


class _Run:
    def __init__(self, site: Site, binding: Binding, folder: Path, options: Options) -> None:
        self._site = site
        self._binding = binding
        self._folder = folder
        self._options = options
        self._chance = random.Random(options.seed)  # noqa: S311 - a plan, not a secret
        self._ledger = Ledger(folder / "ledger", "site")
        self._judge = Judge(folder / "ledger", ordered=self._ordered())
        self._acts: set[asyncio.Task[None]] = set()
        self._rest_until = 0.0
        self._crew = Crew(
            folder,
            self._ledger,
            site.env(),
            seed=options.seed,
            publishers=options.publishers,
            consumers=options.consumers,
            rate=options.rate,
        )

    def _ordered(self) -> frozenset[str]:
        return frozenset(source for source in SOURCES if self._binding.source(source).ordered)

    async def run(self) -> Verdict:
        self._ledger.note("begins", self._site.name, self._options.seed, self._options.minutes)
        self._crew.start()
        try:
            await self._until_ready()
            await self._faults()
            await self._heal()
            await self._finish()
        finally:
            await self._crew.close()
        left = await self._look()
        self._ledger.note("over")
        self._judge.catch_up()
        return self._judge.verdict(left, site=self._site.name, seed=self._options.seed, minutes=self._options.minutes)

    async def _until_ready(self) -> None:
        """Wait until each process has come up and each source has handled something, or the patience is over.

        What ends from then on is judged. On a busy machine a short run could else be over before a first message.
        """
        until = time.monotonic() + _START
        while time.monotonic() < until and not self._judge.under_way(len(self._crew.workers)):
            self._judge.catch_up()
            await asyncio.sleep(0.2)

    # Faults ----------------------------------------------------------------------------------------------------------

    async def _faults(self) -> None:
        to_workers = [act for act in self._worker_acts() if self._wanted(act.name)]
        to_site = [act for act in self._site.acts() if self._wanted(act.name)]
        started = told = time.monotonic()
        while (now := time.monotonic()) - started < self._options.minutes * 60:
            if now - told >= 10:
                told = now
                self._judge.catch_up()
                self._options.say(f"{now - started:4.0f} s: {self._judge.progress()}")
            await asyncio.sleep(self._chance.uniform(*_BETWEEN))
            if to_site and (not to_workers or self._chance.random() < _SITE_PART):
                if time.monotonic() >= self._rest_until:
                    self._rest_until = float("inf")  # until this one is over
                    self._begin(self._chance.choice(to_site), self._rest)
            elif to_workers:
                self._begin(self._chance.choice(to_workers))

    def _wanted(self, name: str) -> bool:
        return self._options.faults is None or name in self._options.faults

    def _begin(self, act: Act, after: Callable[[float], None] = lambda begun: None) -> None:
        chance = random.Random(self._chance.random())  # noqa: S311 - of its own: acts overlap
        task = asyncio.create_task(self._do(act, chance))
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        begun = time.monotonic()
        task.add_done_callback(lambda done: after(begun))

    def _rest(self, begun: float) -> None:
        """Leave a site alone for a while after a fault: a server that is never there proves nothing."""
        now = time.monotonic()
        self._rest_until = now + max(now - begun, 1.0) * self._chance.uniform(1.0, 3.0)

    async def _do(self, act: Act, chance: random.Random) -> None:
        begun = time.monotonic()
        text = await act.run(chance)
        if text:
            self._ledger.note("did", act.name, text, begun)

    def _worker_acts(self) -> tuple[Act, ...]:
        return (
            Act("kill", self._kill),
            Act("stop", self._stop),
            Act("stop", self._stop),  # the commonest of all, so twice
            Act("term", self._term),
            Act("clock", self._step),
        )

    async def _kill(self, chance: random.Random) -> str:
        if (worker := self._crew.pick(chance)) is not None:
            self._crew.kill(worker)
        return ""

    async def _term(self, chance: random.Random) -> str:
        if (worker := self._crew.pick(chance)) is not None:
            self._crew.end(worker)
        return ""

    async def _stop(self, chance: random.Random) -> str:
        if (worker := self._crew.pick(chance)) is not None:
            parts = chance.choice((_SHORT_STOP, _LONG_STOP))
            await self._crew.stop(worker, chance.uniform(*parts) * LEASE)
        return ""

    async def _step(self, chance: random.Random) -> str:
        worker = self._crew.pick(chance)
        if worker is None:
            return ""
        seconds = chance.choice(_STEPS)
        file = StepFile(self._folder / f"step-{worker.who}")
        file.offset = seconds
        await asyncio.sleep(chance.uniform(0.5, 5.0))
        file.offset = 0.0
        return f"clock of {worker.who} stepped by {seconds:+g} s and back"

    # The end ---------------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        if self._acts:
            await asyncio.wait(self._acts)
        await self._site.heal()
        self._ledger.note("healed")

    async def _finish(self) -> None:
        """Let publishers end and consumers handle what is owed; then let these end too."""
        self._options.say("faults are over; publishers end, consumers handle what is left")
        await self._crew.finish("publish", PUBLISH_DEADLINE + 40.0)
        await self._until_nothing_is_owed()
        await self._crew.finish("consume", GRACE + 60.0)

    async def _until_nothing_is_owed(self) -> None:
        since = told = time.monotonic()
        self._judge.catch_up()
        while self._judge.owed() and time.monotonic() - since < _SETTLED:
            if self._judge.catch_up():
                since = time.monotonic()
            if time.monotonic() - told >= 10:
                told = time.monotonic()
                self._options.say(f"      {self._judge.progress()}")
            await asyncio.sleep(0.5)

    async def _look(self) -> Left:
        """Read what is left: dead letters, and what still waits, by receiving it."""
        left = Left()
        self._judge.catch_up()
        async with self._connected() as bus:
            self._judge.exact.update(source for source in SOURCES if Feature.EXACTLY_ONCE in bus.features(source))
            # All at once: where a cloud shows letters only by handing them over, each look waits for more.
            found = await asyncio.gather(*(_letters(bus, source) for source in SOURCES))
            left.letters = {source: letters for source, letters in zip(SOURCES, found, strict=True) if letters}
            for source in self._judge.owed():
                left.waiting[source] = await _receive_all(bus, source)
        return left

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[polybus.Bus]:
        with environment(self._site.env()):
            async with polybus.connect(self._binding) as bus:
                yield bus


async def _letters(bus: polybus.Bus, source: str) -> list[tuple[str, str]]:
    return [
        (letter.message.body.decode(), letter.reason or "") async for letter in bus.dead_letters(source).peek(100_000)
    ]


async def _receive_all(bus: polybus.Bus, source: str) -> set[str]:
    """Receive and ack until nothing comes for two leases."""
    found: set[str] = set()
    async with bus.consume(source, concurrency=16) as deliveries:
        while True:
            try:
                async with asyncio.timeout(2 * LEASE):
                    delivery = await anext(deliveries)
            except (TimeoutError, StopAsyncIteration):
                return found
            found.add(delivery.body.decode())
            await delivery.ack()
