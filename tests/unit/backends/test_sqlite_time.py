"""Clocks that are set, wrong, or begin anew, around one SQLite file (contract, D17)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polybus.clock import ManualClock, SystemClock
from polybus.driver import Outgoing, ToDeadLetters
from polybus.embedded.sqlite import driver
from polybus.errors import BackendError

from .conftest import DAY, Rig, bodies, message, small_bus, take

YEAR = 365 * DAY
STEPS = {"a month ahead": 30 * DAY, "back an hour": -3_600.0, "from 1970": 56 * YEAR, "to 1970": -56 * YEAR}


class WallClock(ManualClock):
    """A clock whose time of day can be set without time passing."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        super().__init__(start)
        self.step = 0.0

    def time(self) -> float:
        return super().time() + self.step


def rig_on(path: Path, clock: Any) -> Rig:
    binding = small_bus("sqlite", {"path": str(path)})
    return Rig(binding, driver(binding, clock), clock)


@contextlib.asynccontextmanager
async def opened(path: Path, clock: Any) -> Any:
    rig = rig_on(path, clock)
    try:
        yield rig
    finally:
        await rig.aclose()


@contextlib.contextmanager
def edited(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def fill(rig: Rig) -> None:
    """Put a waiting, a delayed, a leased and a dead-lettered message into `jobs`."""
    consumer = await rig.consumer("jobs")
    await rig.publish("jobs", message("leased"), message("dead"), message("waiting"))
    _, dead = await take(consumer, 2)
    await consumer.settle_batch([ToDeadLetters(dead, "why")])
    await rig.publish("jobs", Outgoing(message("delayed"), delay=100))


async def count(rig: Rig) -> tuple[int | None, ...]:
    stats = await (await rig.admin()).stats(rig.entity("jobs"))
    return stats.waiting, stats.leased, stats.delayed, stats.dead


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
class TestSteps:
    async def test_of_its_own_clock_delete_nothing_and_free_in_time(self, tmp_path: Path, step: float) -> None:
        clock = WallClock()
        async with opened(tmp_path / "bus.db", clock) as rig:
            await fill(rig)
            clock.step = step
            await rig.publish("tiny", message("who commits looks for what expired"))
            assert await count(rig) == (1, 1, 1, 1)
            await clock.advance(59)
            assert await count(rig) == (1, 1, 1, 1)
            await clock.advance(1)
            assert await count(rig) == (2, 0, 1, 1)
            await clock.advance(40)
            assert sorted(bodies(await take(await rig.consumer("jobs")))) == [b"delayed", b"leased", b"waiting"]

    async def test_of_another_process_for_one_publish_delete_nothing(self, tmp_path: Path, step: float) -> None:
        path, clock, wrong = tmp_path / "bus.db", WallClock(), WallClock()
        async with opened(path, clock) as rig:
            await fill(rig)
            wrong.step = step
            async with opened(path, wrong) as other:
                await other.publish("jobs", message("by a wrong clock"))
                assert (await count(other))[3] == 1
            assert await count(rig) == (2, 1, 1, 1)

    async def test_while_nobody_has_it_open_delete_nothing(self, tmp_path: Path, step: float) -> None:
        path, clock = tmp_path / "bus.db", WallClock()
        async with opened(path, clock) as rig:
            await fill(rig)
        clock.step = step
        async with opened(path, clock) as rig:
            assert sum(number or 0 for number in await count(rig)) == 4
            await clock.advance(100)
            assert sorted(bodies(await take(await rig.consumer("jobs")))) == [b"delayed", b"leased", b"waiting"]

    async def test_the_key_of_a_killed_consumer_is_free_in_time(self, tmp_path: Path, step: float) -> None:
        path, clock = tmp_path / "bus.db", WallClock()
        async with opened(path, clock) as rig, opened(path, clock) as other:
            await rig.publish("lines", message("0", "k"), message("1", "k"))
            assert len(await take(await rig.consumer("lines"), 1)) == 1
            clock.step = step
            consumer = await other.consumer("lines")
            await clock.advance(29)
            assert await take(consumer) == []
            await clock.advance(1)
            assert bodies(await take(consumer)) == [b"0", b"1"]

    async def test_are_told(self, tmp_path: Path, step: float, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "polybus")
        clock = WallClock()
        async with opened(tmp_path / "bus.db", clock) as rig:
            await rig.publish("jobs", message("a"))
            clock.step = step
            await asyncio.sleep(0.06)  # between two looks at the clock
            for _ in range(3):
                await rig.publish("jobs", message("a"))
        (line,) = caplog.messages
        assert f"{'forward' if step > 0 else 'back'} by {abs(step):.0f} s" in line
        assert str(tmp_path) in line


class TestElapsedTime:
    async def test_retention_counts_what_passes_on_a_clock_that_was_wrong(self, tmp_path: Path) -> None:
        clock = WallClock(start=60.0)
        async with opened(tmp_path / "bus.db", clock) as rig:
            await rig.publish("jobs", message("a"))
            await clock.advance(DAY - 1)
            clock.step = 56 * YEAR
            assert (await count(rig))[0] == 1
            await clock.advance(2)
            assert (await count(rig))[0] == 0
            assert await take(await rig.consumer("jobs")) == []

    async def test_it_goes_on_over_a_restart_of_the_process(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        clock = ManualClock()
        async with opened(path, clock) as rig:
            await rig.publish("jobs", message("a"), Outgoing(message("b"), delay=100))
        async with opened(path, ManualClock(clock.time() + 101)) as rig:
            assert await count(rig) == (2, 0, 0, 0)
        async with opened(path, ManualClock(clock.time() + DAY + 1)) as rig:
            assert await count(rig) == (0, 0, 0, 0)

    async def test_processes_on_the_machines_clock_agree_at_once(self, tmp_path: Path) -> None:
        class Wrong(SystemClock):
            def time(self) -> float:
                return super().time() - 3_600

        path = tmp_path / "bus.db"
        async with opened(path, SystemClock()) as rig:
            await rig.publish("jobs", Outgoing(message("a"), delay=0.3))
        async with opened(path, Wrong()) as rig:
            consumer = await rig.consumer("jobs")
            assert bodies(await consumer.receive_batch(1, wait=10)) == [b"a"]

    async def test_what_is_left_of_a_lease_after_a_restart_of_the_machine_is_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path, SystemClock()) as rig:
            await fill(rig)
        with edited(path) as connection:
            # As another boot left it a minute ago: its monotonic clock was far ahead of this one's.
            connection.execute(
                "UPDATE time SET origin = 'another-boot ns', monotonic = 1e9, wall = ?", (time.time() - 60,)
            )
        async with opened(path, SystemClock()) as rig:
            assert await count(rig) == (2, 0, 1, 1)
            assert sorted(bodies(await take(await rig.consumer("jobs")))) == [b"leased", b"waiting"]
        with edited(path) as connection:
            connection.execute("UPDATE time SET origin = 'a-third ns', monotonic = 1e9, wall = ?", (time.time() - 60,))
        async with opened(path, SystemClock()) as rig:  # a minute and a minute of a delay of 100 s
            assert b"delayed" in bodies(await take(await rig.consumer("jobs")))

    @pytest.mark.parametrize("wall", [0.0, 2e9], ids=["1970", "the future"])
    async def test_nor_does_a_machine_that_starts_with_a_wrong_clock_delete(self, tmp_path: Path, wall: float) -> None:
        path = tmp_path / "bus.db"
        async with opened(path, SystemClock()) as rig:
            await fill(rig)
        with edited(path) as connection:
            connection.execute("UPDATE time SET origin = 'another-boot ns', monotonic = 1e9, wall = ?", (wall,))
        async with opened(path, SystemClock()) as rig:
            assert sum(number or 0 for number in await count(rig)) == 4


class TestOlderStores:
    async def test_one_of_version_1_keeps_all_that_it_holds(self, tmp_path: Path) -> None:
        path, clock = tmp_path / "bus.db", ManualClock(time.time())
        async with opened(path, clock) as rig:
            await fill(rig)
        with edited(path) as connection:
            connection.execute("DROP TABLE time")
            connection.execute("ALTER TABLE source DROP COLUMN kind")
            connection.execute("ALTER TABLE line DROP COLUMN since")
            connection.execute("ALTER TABLE line DROP COLUMN claim")
            connection.execute("PRAGMA user_version = 1")
            # Published by a clock that stood in 1970.
            connection.execute("UPDATE message SET at = 100, published = 100 WHERE seq = 3")
            connection.execute("UPDATE line SET expires = 100 + 86400 WHERE seq = 3")
        async with opened(path, clock) as rig:
            assert await count(rig) == (2, 0, 1, 1)  # whoever had it leased was another version
            await clock.advance(100)
            assert sorted(bodies(await take(await rig.consumer("jobs")))) == [b"delayed", b"leased", b"waiting"]
            await clock.advance(DAY)
            assert (await count(rig))[:3] == (0, 0, 0)

    async def test_one_of_a_version_to_come_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path, ManualClock()) as rig:
            await rig.publish("jobs", message("a"))
        with edited(path) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (2,)
            connection.execute("PRAGMA user_version = 3")
        async with opened(path, ManualClock()) as rig:
            with pytest.raises(BackendError, match="version 3, and this polybus reads 2"):
                await rig.publish("jobs", message("b"))
