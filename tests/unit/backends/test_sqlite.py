"""What is the SQLite backend's own: its file, other processes, crashes, bad disks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from polybus.clock import ManualClock, SystemClock
from polybus.driver import Ack, Outgoing
from polybus.embedded.sqlite import driver
from polybus.errors import BackendError, BindingError, BusClosed, Fault, FaultKind
from polybus.message import Message

from .conftest import Rig, bodies, small_bus, source, take

CHILD = Path(__file__).with_name("sqlite_child.py")


def rig_on(path: Path, clock: ManualClock | None = None, **settings: Any) -> Rig:
    binding = small_bus("sqlite", {"path": str(path), **settings})
    clock = clock or ManualClock(time.time())
    return Rig(binding, driver(binding, clock), clock)


@contextlib.asynccontextmanager
async def opened(path: Path, clock: ManualClock | None = None, **settings: Any) -> AsyncIterator[Rig]:
    rig = rig_on(path, clock, **settings)
    try:
        yield rig
    finally:
        await rig.aclose()


class Child:
    """Another process that publishes to or consumes from `jobs`, and tells on its standard output what it did."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *arguments: object) -> Child:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(CHILD),
                *map(str, arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode().strip()

    async def lines(self) -> list[str]:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.read(), 60)).decode().splitlines()

    async def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        await self.process.stdin.drain()

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        await self.process.wait()


@pytest.fixture
async def children() -> AsyncIterator[list[Child]]:
    children: list[Child] = []
    yield children
    for child in children:
        await child.end()


async def everything(rig: Rig, name: str = "jobs") -> list[Any]:
    consumer = await rig.consumer(name)
    received: list[Any] = []
    while batch := await take(consumer, 500):
        received += batch
        assert set(await consumer.settle_batch([Ack(one) for one in batch])) == {None}
    return received


def is_whole(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
        (strays,) = connection.execute(
            "SELECT count(*) FROM message LEFT JOIN line USING (seq) WHERE line.seq IS NULL"
        ).fetchone()
    return bool(answer == "ok" and strays == 0)


class TestProcesses:
    async def test_nothing_accepted_is_lost_when_publishers_are_killed(
        self, tmp_path: Path, children: list[Child]
    ) -> None:
        path = tmp_path / "bus.db"
        accepted: list[str] = []
        for turn in range(4):
            child = await Child.start("publish", path, f"turn{turn}")
            children.append(child)
            accepted += [await child.line() for _ in range(20 + 15 * turn)]
            os.kill(child.process.pid, signal.SIGKILL)
            accepted += await child.lines()
        async with opened(path) as rig:
            found = {one.message.id for one in await everything(rig)}
        assert set(accepted) <= found
        assert is_whole(path)

    async def test_what_a_killed_consumer_had_comes_again(self, tmp_path: Path, children: list[Child]) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            ids = await rig.publish("jobs", *(Message(str(n).encode()) for n in range(100)))
            child = await Child.start("consume", path)
            children.append(child)
            done = [await child.line() for _ in range(40)]
            os.kill(child.process.pid, signal.SIGKILL)
            done += await child.lines()
            # The child has the machine's clock, by which this one stood still meanwhile.
            await rig.clock.advance(time.time() - rig.clock.time() + 61)
            left = {one.message.id for one in await everything(rig)}
        # What it had acked doesn't come again; the one that it was at may be either.
        assert set(ids) - set(done) >= left
        assert len(set(ids) - set(done) - left) <= 1
        assert is_whole(path)

    async def test_two_processes_never_hold_one_lease(self, tmp_path: Path, children: list[Child]) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            ids = await rig.publish("jobs", *(Message(str(n).encode()) for n in range(400)))
            children += [await Child.start("consume-all", path) for _ in range(3)]
            took = [line for child in children for line in await child.lines()]
        assert sorted(took) == sorted(ids)

    async def test_processes_may_come_first_together(self, tmp_path: Path, children: list[Child]) -> None:
        path = tmp_path / "new" / "bus.db"
        children += [await Child.start("publish-some", path, name, 10) for name in "abcd"]
        accepted = [line for child in children for line in await child.lines()]
        assert [child.process.returncode or await child.process.wait() for child in children] == [0] * 4
        async with opened(path) as rig:
            assert sorted(one.message.id for one in await everything(rig)) == sorted(accepted)
        assert len(accepted) == 40

    async def test_another_process_wakes_who_waits(self, tmp_path: Path, children: list[Child]) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:  # its clock stands still: no timer fires, only the pipe can wake it
            consumer = await rig.consumer("jobs")
            child = await Child.start("publish-on-line", path)
            children.append(child)
            assert await child.line() == "ready"
            waiting = asyncio.ensure_future(consumer.receive_batch(1, wait=20))
            await asyncio.sleep(0.05)
            await child.say("hello")
            assert bodies(await asyncio.wait_for(waiting, 30)) == [b"hello"]

    async def test_a_killed_consumers_pipe_is_removed(self, tmp_path: Path, children: list[Child]) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            child = await Child.start("wait", path)
            children.append(child)
            assert await child.line() == "ready"
            pipes = tmp_path / "bus.db-wake"
            assert len(list(pipes.iterdir())) == 1
            await rig.publish("jobs", Message(b"a"))
            await child.line()
            os.kill(child.process.pid, signal.SIGKILL)
            await child.process.wait()
            await rig.publish("jobs", Message(b"b"))
            assert list(pipes.iterdir()) == []

    async def test_without_pipes_a_consumer_looks_by_itself(self, tmp_path: Path, children: list[Child]) -> None:
        path = tmp_path / "bus.db"
        (tmp_path / "bus.db-wake").write_text("in the way of the folder of pipes")
        async with opened(path) as rig:
            binding, clock = rig.binding, SystemClock()
            looking = driver(binding, clock)
            consumer = await looking.open_consumer(binding.source("jobs"), prefetch=1, concurrency=1)
            waiting = asyncio.ensure_future(consumer.receive_batch(1, wait=20))
            child = await Child.start("publish-some", path, "x", 1)
            children.append(child)
            assert len(await asyncio.wait_for(waiting, 15)) == 1
            await consumer.aclose()
            await looking.aclose()

    async def test_order_holds_between_processes(self, tmp_path: Path, children: list[Child]) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            messages = [Message(f"{n}".encode(), {}, f"k{n % 5}", f"k{n % 5}.{n:04}") for n in range(300)]
            await rig.publish("lines", *messages)
            children += [await Child.start("consume-all", path, "lines") for _ in range(3)]
            took = [sorted_by_time for child in children for sorted_by_time in await child.lines()]
        order = [line.split(" ")[1] for line in sorted(took)]
        for key in range(5):
            mine = [name for name in order if name.startswith(f"k{key}.")]
            assert mine == [message.id for message in messages if message.ordering_key == f"k{key}"]


class TestFile:
    async def test_it_survives_being_closed_and_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            await rig.publish("jobs", Message(b"a"), Outgoing(Message(b"b"), delay=30))
        async with opened(path, ManualClock(time.time() + 31)) as rig:
            assert sorted(bodies(await everything(rig))) == [b"a", b"b"]

    async def test_it_is_the_owners_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            await rig.consumer("jobs")
            await rig.publish("jobs", Message(b"secret"))
            modes = {name: os.stat(tmp_path / name).st_mode & 0o077 for name in os.listdir(tmp_path)}
        assert set(modes.values()) == {0}
        assert len(modes) == 4

    async def test_settled_messages_leave_nothing_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        big = b"x" * 100_000
        async with opened(path) as rig:
            await rig.publish("orders", *(Message(big, {"region": "eu"}) for _ in range(300)))
            full = path.stat().st_size
            assert full < 300 * len(big) * 1.5  # two subscriptions share a body
            for name in ("all", "eu"):
                assert len(await everything(rig, name)) == 300
            for _ in range(10):
                await rig.clock.advance(61)
                await rig.publish("jobs", Message(b"tick"))
                await everything(rig)
        assert path.stat().st_size < full * 0.7
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for table in ("message", "line", "body"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)

    async def test_what_expired_goes_though_nobody_consumes(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            await rig.publish("jobs", *(Message(b"x") for _ in range(1_500)))
            await rig.clock.advance(86_401)
            for _ in range(3):
                await rig.publish("tiny", Message(b"y"))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM message").fetchone() == (3,)

    async def test_use_after_closing_says_so(self, tmp_path: Path) -> None:
        rig = rig_on(tmp_path / "bus.db")
        publisher = await rig.publisher("jobs")
        await rig.driver.aclose()
        prepared = publisher.prepare(Outgoing(Message(b"a")))
        with pytest.raises(BusClosed):
            await publisher.publish_batch([prepared])
        await rig.aclose()

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({}, r"at \$\.settings\.path: found None"),
            ({"path": 5}, r"at \$\.settings\.path: found 5"),
            ({"path": "x", "busy_timeout": "1"}, r"at \$\.settings\.busy_timeout: found '1'"),
        ],
    )
    def test_settings_that_can_not_be_are_refused(self, settings: dict[str, object], words: str) -> None:
        with pytest.raises(BindingError, match=words):
            driver(small_bus("sqlite", settings), ManualClock())

    async def test_an_entity_keeps_its_order(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "bus.db") as rig:
            await rig.publisher("jobs")
            queues = {**rig.binding.queues, "jobs": source("jobs", ordered=True)}
            other = driver(msgspec.structs.replace(rig.binding, queues=queues), rig.clock)
            with pytest.raises(BindingError, match=r"'jobs': .*bus\.db has it with ordered = false"):
                await other.open_admin()
            await other.aclose()


class TestBadFiles:
    async def refusal(self, path: Path, **settings: Any) -> Fault:
        """Open and publish; return the fault of what must fail."""
        rig = rig_on(path, **settings)
        with pytest.raises((sqlite3.Error, OSError, BackendError)) as caught:
            await rig.publish("jobs", Message(b"a"))
        await rig.aclose()
        assert isinstance(caught.value, Exception)
        fault = rig.driver.fault(caught.value)
        assert str(path) in fault.detail
        return fault

    async def test_a_file_of_another_kind(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("dear diary, " * 1_000)
        fault = await self.refusal(path)
        assert (fault.kind, fault.code) == (FaultKind.STORAGE, "SQLITE_NOTADB")
        assert path.read_text().startswith("dear diary")

    async def test_an_sqlite_file_of_another_program(self, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (a)")
        fault = await self.refusal(path)
        assert fault.kind is FaultKind.STORAGE
        assert "another program" in fault.detail

    async def test_a_newer_version(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            await rig.publish("jobs", Message(b"a"))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 9")
        fault = await self.refusal(path)
        assert fault.kind is FaultKind.STORAGE
        assert "version 9" in fault.detail
        assert "upgrade polybus" in fault.detail

    async def test_a_damaged_file(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path) as rig:
            await rig.publish("jobs", *(Message(b"x" * 2_000) for _ in range(300)))
        with path.open("r+b") as file:
            for page in range(2, 60):
                file.seek(page * 4_096)
                file.write(os.urandom(4_096))
        fault = await self.refusal(path)
        assert fault.kind is FaultKind.STORAGE
        assert fault.code is not None
        assert fault.code.startswith("SQLITE_CORRUPT")

    async def test_a_path_that_can_not_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        fault = await self.refusal(tmp_path / "file" / "bus.db")
        assert fault.kind is FaultKind.STORAGE
        (tmp_path / "folder").mkdir()
        assert (await self.refusal(tmp_path / "folder")).kind is FaultKind.STORAGE

    async def test_a_file_that_may_not_be_written(self, children: list[Child]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bus.db"
            async with opened(path) as rig:
                await rig.publish("jobs", Message(b"a"))
            path.chmod(0o444)
            os.chmod(folder, 0o555)
            child = await Child.start("publish-as-nobody", path)
            children.append(child)
            kind, _, detail = (await child.line()).partition(" ")
            assert kind == "storage"
            assert "give this user the right" in detail
            os.chmod(folder, 0o755)

    async def test_another_process_that_keeps_the_lock(self, tmp_path: Path) -> None:
        path = tmp_path / "bus.db"
        async with opened(path, busy_timeout=0.2) as rig:
            publisher = await rig.publisher("jobs")
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(sqlite3.OperationalError) as caught:
                    await rig.publish(publisher, Message(b"a", id="a"))
                other.execute("ROLLBACK")
            fault = rig.driver.fault(caught.value)
            assert (fault.kind, fault.retryable, fault.code) == (FaultKind.UNAVAILABLE, True, "SQLITE_BUSY")
            await rig.publish(publisher, Message(b"a", id="a"))
            assert bodies(await everything(rig)) == [b"a"]

    async def test_a_full_disk_loses_nothing_and_can_be_recovered_from(
        self, tmp_path: Path, children: list[Child]
    ) -> None:
        path = tmp_path / "bus.db"
        child = await Child.start("publish-until-full", path)
        children.append(child)
        *accepted, fault = await child.lines()
        assert fault.startswith("storage")
        assert str(path) in fault
        assert len(accepted) > 10
        async with opened(path) as rig:
            assert set(accepted) <= {one.message.id for one in await everything(rig)}
        assert is_whole(path)
