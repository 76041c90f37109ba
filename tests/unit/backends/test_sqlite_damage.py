"""What happens to an open SQLite store from outside: removed, replaced, damaged, full; and failures among its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from polybus.binding import Entity, Kind
from polybus.clock import ManualClock, SystemClock
from polybus.driver import Ack, Outgoing, Prepared
from polybus.embedded.sqlite import claim, driver, room, schema, wake
from polybus.embedded.sqlite.wake import Ringer
from polybus.errors import BackendError, BindingError, BusClosed, Fault, FaultKind
from polybus.message import Sent

from .conftest import Rig, bodies, message, small_bus, source, take


def rig_on(path: Path, clock: Any = None, **settings: Any) -> Rig:
    binding = small_bus("sqlite", {"path": str(path), **settings})
    clock = clock or ManualClock(time.time())
    return Rig(binding, driver(binding, clock), clock)


@contextlib.asynccontextmanager
async def opened(path: Path, clock: Any = None, **settings: Any) -> Any:
    rig = rig_on(path, clock, **settings)
    try:
        yield rig
    finally:
        await rig.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "bus.db"


async def fault_of(rig: Rig, call: Any) -> Fault:
    with pytest.raises((sqlite3.Error, OSError, BackendError)) as caught:
        await call
    assert isinstance(caught.value, Exception)
    return rig.driver.fault(caught.value)


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def move_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def move_another_in(path: Path) -> None:
    shutil.copy(path, path.with_name("backup"))
    path.with_name("backup").rename(path)


def restore_a_backup(path: Path) -> None:
    """Move a copy of all files in, as programs for backups do: the folder's own times are as they were, too."""
    times = path.parent.stat()
    for file in path.parent.glob("bus.db*"):
        if file.is_file():
            copy = file.with_name(f".{file.name}")
            shutil.copy2(file, copy)
            copy.rename(file)
    os.utime(path.parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def remove_the_log(path: Path) -> None:
    path.with_name("bus.db-wal").unlink()


def replace_the_log(path: Path) -> None:
    times = path.parent.stat()
    path.with_name("other").write_bytes(b"")
    path.with_name("other").rename(path.with_name("bus.db-wal"))
    os.utime(path.parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def remove_the_index(path: Path) -> None:
    path.with_name("bus.db-shm").unlink()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut_off(path: Path) -> None:
    os.truncate(path, 4_096)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"garbage!" * 512)


def linked(path: Path, folder: Path) -> Path:
    path.parent.mkdir()
    path.touch()
    link = folder / "link.db"
    link.symlink_to(path)
    return link


def lead_elsewhere(link: Path) -> None:
    other = link.with_name("other.db")
    other.touch()
    link.with_name("new").symlink_to(other)
    link.with_name("new").rename(link)


GONE = [
    remove_folder,
    move_away,
    move_another_in,
    restore_a_backup,
    remove_the_log,
    replace_the_log,
    remove_the_index,
    empty,
]


def no_store(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"dear diary, " * 1_000)


DAMAGE = [cut_off, overwrite]


async def settled_store(rig: Rig) -> None:
    """Put something in, and move it from the log into the file."""
    await rig.publish("jobs", *(message("x" * 3_000) for _ in range(50)))
    with contextlib.closing(sqlite3.connect(rig.driver.raw(rig.entity("jobs")))) as connection:  # type: ignore[call-overload]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await rig.publish("tiny", message("a"))
    await asyncio.sleep(0.06)  # until a folder's time is sure to tell


class TestGone:
    @pytest.mark.parametrize("act", GONE)
    async def test_nothing_more_is_accepted(self, path: Path, act: Callable[[Path], None]) -> None:
        async with opened(path) as rig:
            await settled_store(rig)
            publisher, consumer, admin = await rig.publisher("jobs"), await rig.consumer("jobs"), await rig.admin()
            await asyncio.sleep(0.06)  # the consumer has made its pipe
            (held,) = await take(consumer, 1)
            act(path)
            calls = [
                rig.publish(publisher, message("b")),
                take(consumer),
                consumer.settle_batch([Ack(held)]),
                consumer.extend_batch([held], 60),
                admin.purge(rig.entity("jobs")),
            ]
            for call in calls:
                fault = await fault_of(rig, call)
                assert (fault.kind, fault.retryable) == (FaultKind.STORAGE, False), fault
                assert str(path) in fault.detail
                assert "restart this process" in fault.detail or fault.code == "SQLITE_CORRUPT"
            for call in (admin.stats(rig.entity("jobs")), admin.peek(rig.entity("jobs"), 1), admin.ping()):
                assert (await fault_of(rig, call)).kind is FaultKind.STORAGE

    @pytest.mark.parametrize("act", GONE)
    async def test_each_look_finds_it(self, path: Path, act: Callable[[Path], None]) -> None:
        """Not the first alone: long after it happened, nothing is accepted either."""
        async with opened(path) as rig:
            await settled_store(rig)
            publisher, admin = await rig.publisher("jobs"), await rig.admin()
            act(path)
            await asyncio.sleep(0.06)  # the folder's time is settled again
            for _ in range(3):
                assert (await fault_of(rig, rig.publish(publisher, message("b")))).kind is FaultKind.STORAGE
                assert (await fault_of(rig, admin.ping())).kind is FaultKind.STORAGE

    @pytest.mark.parametrize("act", [*GONE, lead_elsewhere])
    async def test_a_link_to_a_store_is_looked_behind(
        self, path: Path, tmp_path: Path, act: Callable[[Path], None]
    ) -> None:
        """SQLite's log is beside the file, not beside the link."""
        link = linked(path, tmp_path)
        async with opened(link) as rig:
            await settled_store(rig)
            publisher = await rig.publisher("jobs")
            await asyncio.sleep(0.06)
            act(link if act is lead_elsewhere else path)
            fault = await fault_of(rig, rig.publish(publisher, message("b")))
            assert fault.kind is FaultKind.STORAGE

    def test_who_comes_by_a_link_hears_of_what_others_publish(self, path: Path, tmp_path: Path) -> None:
        link = linked(path, tmp_path)
        assert wake.folder(link) == wake.folder(path)

    @pytest.mark.parametrize("act", [*GONE, *DAMAGE])
    async def test_who_waits_is_told(self, path: Path, act: Callable[[Path], None]) -> None:
        async with opened(path, SystemClock()) as rig:
            await settled_store(rig)
            consumer = await rig.consumer("lines")
            waiting = asyncio.ensure_future(consumer.receive_batch(1, wait=20))
            await asyncio.sleep(0.06)
            act(path)
            fault = await fault_of(rig, asyncio.wait_for(waiting, 15))
            assert (fault.kind, fault.retryable) == (FaultKind.STORAGE, False)

    @pytest.mark.parametrize("act", DAMAGE)
    async def test_publishing_into_a_damaged_file_fails(self, path: Path, act: Callable[[Path], None]) -> None:
        async with opened(path) as rig:
            await settled_store(rig)
            publisher = await rig.publisher("jobs")
            act(path)
            await asyncio.sleep(0.06)
            fault = await fault_of(rig, rig.publish(publisher, message("b")))
            assert fault.kind is FaultKind.STORAGE
            assert fault.code in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}

    async def test_a_new_process_has_a_new_store_and_the_old_one_stays_out_of_it(self, path: Path) -> None:
        async with opened(path) as old:
            publisher = await old.publisher("jobs")
            await old.publish(publisher, message("old"))
            remove_folder(path)
            async with opened(path) as new:
                await new.publish("jobs", message("new"))
                assert (await fault_of(old, old.publish(publisher, message("lost")))).kind is FaultKind.STORAGE
                assert bodies(await take(await new.consumer("jobs"))) == [b"new"]

    async def test_what_was_put_back_goes_on(self, path: Path) -> None:
        async with opened(path) as rig:
            publisher = await rig.publisher("jobs")
            await rig.publish(publisher, message("a"))
            path.parent.rename(path.parent.with_name("moved"))
            assert (await fault_of(rig, rig.publish(publisher, message("b")))).kind is FaultKind.STORAGE
            path.parent.with_name("moved").rename(path.parent)
            await rig.publish(publisher, message("c"))
            assert bodies(await take(await rig.consumer("jobs"))) == [b"a", b"c"]

    async def test_a_store_in_use_may_have_neighbours_that_come_and_go(self, path: Path) -> None:
        async with opened(path) as rig:
            await rig.publisher("jobs")
            for n in range(20):
                path.with_name(f"note-{n}").write_text("")
                await rig.publish("jobs", message("a"))
                path.with_name(f"note-{n}").unlink()
                await rig.publish("jobs", message("b"))
            assert len(await take(await rig.consumer("jobs"), 100)) == 40


@contextlib.contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Keep files from growing beyond `size`: a quota that is met."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFull:
    async def test_publishing_ends_while_there_is_room_to_handle_what_waits(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = ManualClock()
        async with opened(path, clock) as rig:
            await rig.publish("jobs", *(message("x" * 1_000) for _ in range(20)))
            publisher = await rig.publisher("jobs")
            free = room.KEPT
            monkeypatch.setattr(os, "statvfs", lambda name: SimpleNamespace(f_bavail=free, f_frsize=1))
            monkeypatch.setattr(room, "SURE_FOR", 0.0)
            await asyncio.sleep(1.01)  # as long as the last look holds
            fault = await fault_of(rig, rig.publish(publisher, message("one more")))
            assert (fault.kind, fault.code) == (FaultKind.STORAGE, "SQLITE_FULL")
            assert "free some space" in fault.detail
            consumer = await rig.consumer("jobs")
            received = await take(consumer, 100)
            assert set(await consumer.settle_batch([Ack(one) for one in received])) == {None}
            free = 10 * room.KEPT
            await rig.publish(publisher, message("again"))
            assert bodies(await take(consumer)) == [b"again"]

    async def test_a_consumer_can_wait_for_room_and_a_publisher_is_told_at_once(self, path: Path) -> None:
        async with opened(path) as rig:
            await rig.publish("jobs", *(message("x" * 100) for _ in range(3)))
            consumer, publisher = await rig.consumer("jobs"), await rig.publisher("jobs")
            (held,) = await take(consumer, 1)
            with limited_files(8_192):
                published = await fault_of(rig, rig.publish(publisher, message("y" * 20_000)))
                received = await fault_of(rig, take(consumer))
                settled = await fault_of(rig, consumer.settle_batch([Ack(held)]))
                extended = await fault_of(rig, consumer.extend_batch([held], 60))
            assert (published.kind, published.retryable) == (FaultKind.STORAGE, False)
            for fault in (received, settled, extended):
                assert (fault.kind, fault.retryable) == (FaultKind.UNAVAILABLE, True), fault
                assert fault.code is not None
                assert fault.code.startswith(("SQLITE_FULL", "SQLITE_IOERR"))
            assert await consumer.settle_batch([Ack(held)]) == [None]
            assert len(await take(consumer)) == 2


class TestSharedTransactions:
    async def test_what_fails_alone_fails_alone(self, path: Path) -> None:
        async with opened(path) as rig:
            publisher, consumer = await rig.publisher("jobs"), await rig.consumer("jobs")
            await rig.publish(publisher, message("held"))
            (held,) = await take(consumer)
            good, other = prepared(publisher, "good"), prepared(publisher, "other")
            bad = Prepared(Outgoing(message("bad")), 3, ("not bytes", message("bad")))
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as lock:
                lock.execute("BEGIN IMMEDIATE")
                first = asyncio.ensure_future(publisher.publish_batch([prepared(publisher, "first")]))
                await asyncio.sleep(0.05)  # the writer's thread has it, and waits; what follows is done together
                together = asyncio.gather(
                    publisher.publish_batch([good]),
                    publisher.publish_batch([bad]),
                    consumer.settle_batch([Ack(held)]),
                    publisher.publish_batch([other]),
                    return_exceptions=True,
                )
                await asyncio.sleep(0.05)
                lock.execute("ROLLBACK")
            assert isinstance((await first)[0], Sent)
            answers = await together
            assert [isinstance(answer, TypeError) for answer in answers] == [False, True, False, False]
            assert answers[2] == [None]
            assert sorted(bodies(await take(consumer))) == [b"first", b"good", b"other"]

    async def test_a_repeat_in_the_same_transaction_is_accepted_once(self, path: Path) -> None:
        async with opened(path) as rig:
            publisher, consumer = await rig.publisher("jobs"), await rig.consumer("jobs")
            one = prepared(publisher, "once")
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as lock:
                lock.execute("BEGIN IMMEDIATE")
                first = asyncio.ensure_future(publisher.publish_batch([prepared(publisher, "first")]))
                await asyncio.sleep(0.05)
                # A call that was over its time and is still under way, and its retry.
                calls = asyncio.gather(publisher.publish_batch([one]), publisher.publish_batch([one]))
                await asyncio.sleep(0.05)
                lock.execute("ROLLBACK")
            await first
            assert all(isinstance(answer[0], Sent) for answer in await calls)
            assert sorted(bodies(await take(consumer))) == [b"first", b"once"]

    async def test_what_fails_after_the_commit_is_told_and_fails_nobody(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(ringer: Ringer, sources: object) -> None:
            raise OSError("no descriptors left")

        monkeypatch.setattr(Ringer, "ring", fail)
        async with opened(path) as rig:
            await rig.publish("jobs", message("a"))
            assert bodies(await take(await rig.consumer("jobs"))) == [b"a"]
        assert "the commit stands" in caplog.text

    async def test_a_receive_that_is_cancelled_leaves_nothing_leased(self, path: Path) -> None:
        async with opened(path) as rig:
            consumer = await rig.consumer("jobs")
            await rig.publish("jobs", message("a"))
            receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20))
            await asyncio.sleep(0)  # asked for; the answer is for nobody
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
            (one,) = await consumer.receive_batch(1, wait=0) or await take(consumer)
            assert (one.message.body, one.attempt) == (b"a", 1)

    async def test_a_lease_is_not_over_for_having_waited_for_the_lock(self, path: Path) -> None:
        async with opened(path) as rig:
            consumer, clock = await rig.consumer("lines"), rig.clock
            await rig.publish("lines", message("a", "k"))
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as lock:
                lock.execute("BEGIN IMMEDIATE")
                receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=0))
                await asyncio.sleep(0.05)  # the writer's thread waits
                await clock.advance(40)
                lock.execute("ROLLBACK")
            (one,) = await receiving
            assert one.lease_until == clock.monotonic() + 30
            await clock.advance(29)
            assert await take(consumer) == []
            assert await consumer.settle_batch([Ack(one)]) == [None]

    async def test_what_waited_for_the_lock_in_line_is_told_in_time(self, path: Path) -> None:
        async with opened(path, busy_timeout=0.5) as rig:
            publisher = await rig.publisher("jobs")
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as lock:
                lock.execute("BEGIN IMMEDIATE")
                calls = []
                for n in range(12):  # each in a transaction of its own
                    calls.append(asyncio.ensure_future(rig.publish(publisher, message(str(n)))))
                    await asyncio.sleep(0.05)
                faults = [await fault_of(rig, call) for call in calls]
                lock.execute("ROLLBACK")
            assert {fault.kind for fault in faults} == {FaultKind.UNAVAILABLE}


def prepared(publisher: Any, body: str) -> Any:
    made = publisher.prepare(Outgoing(message(body)))
    assert not isinstance(made, Fault)
    return made


class TestDurability:
    async def test_what_was_accepted_or_settled_is_on_the_disk(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statements: list[str] = []
        connect = schema.connect

        def traced(path: Path) -> sqlite3.Connection:
            connection = connect(path)
            connection.set_trace_callback(statements.append)
            return connection

        monkeypatch.setattr(schema, "connect", traced)
        async with opened(path) as rig:
            consumer = await rig.consumer("jobs")
            for _ in range(3):
                await rig.publish("jobs", message("a"))
                (one,) = await take(consumer)
                await consumer.settle_batch([Ack(one)])
        synchronous, durable, commits = "FULL", False, 0
        for statement in statements:
            if statement.startswith("PRAGMA synchronous = "):
                synchronous = statement.rpartition(" ")[2]
            elif statement.startswith("BEGIN"):
                durable = False
            elif "INSERT INTO message" in statement or statement.startswith("DELETE FROM message"):
                durable = True
            elif statement == "COMMIT" and durable:
                commits += 1
                assert synchronous == "FULL"
        assert commits >= 6


class TestAnotherTopology:
    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            (source("jobs", ordered=True), ["queue 'jobs'", "with ordered = false", "ordered = true now"]),
            (
                source("jobs", Kind.SUBSCRIPTION, topic="orders"),
                ["subscription 'jobs'", "as a queue", "a subscription"],
            ),
        ],
        ids=["order", "kind"],
    )
    async def test_a_store_of_another_says_which_entry_and_what_to_do(
        self, tmp_path: Path, entry: Entity, words: list[str]
    ) -> None:
        path = tmp_path / ".polybus" / "bus.db"
        async with opened(path) as rig:
            await rig.publish("jobs", message("a"))
            kept = {name: queue for name, queue in rig.binding.queues.items() if name != "jobs"}
            group = "queues" if entry.kind is Kind.QUEUE else "subscriptions"
            changed = {
                "queues": kept,
                group: {**(kept if group == "queues" else rig.binding.subscriptions), "jobs": entry},
            }
            other = driver(msgspec.structs.replace(rig.binding, **changed), rig.clock)
            with pytest.raises(BindingError) as caught:
                await other.open_consumer(entry, prefetch=1, concurrency=1)
            fault = other.fault(caught.value)
            assert (fault.kind, fault.retryable) == (FaultKind.INVALID, False)
            for text in (*words, f"remove {path.parent}/", "loses what waits"):
                assert text in fault.detail
            await other.aclose()


class TestForks:
    async def test_a_child_is_a_process_like_any_other(self, path: Path) -> None:
        """It opens the store itself; then its parent closes it, and a newcomer comes and goes, while it goes on."""
        async with opened(path) as rig:
            publisher = await rig.publisher("jobs")
            await rig.publish(publisher, message("before"))
            to_child, to_parent = os.pipe(), os.pipe()
            child = os.fork()
            if child == 0:
                os._exit(in_child(path, to_child[0], to_parent[1]))
            assert await asyncio.to_thread(os.read, to_parent[0], 1) == b"1"
            await rig.publish(publisher, message("parent"))
        async with opened(path) as newcomer:
            assert (await (await newcomer.admin()).stats(newcomer.entity("jobs"))).waiting == 3
        assert (path.parent / "bus.db-wal").exists()  # since the child has the store open
        os.write(to_child[1], b"2")
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0
        async with opened(path) as rig:
            assert bodies(await take(await rig.consumer("jobs"))) == [b"before", b"child", b"parent", b"child"]
        for end in (*to_child, *to_parent):
            os.close(end)

    async def test_a_fork_waits_for_what_is_under_way_and_hinders_nobody(self, path: Path) -> None:
        async with opened(path) as rig:
            publisher, admin = await rig.publisher("jobs"), await rig.admin()
            for n in range(4):
                calls = [publisher.publish_batch([prepared(publisher, f"{n}.{k}")]) for k in range(5 * (n % 2))]
                working = asyncio.gather(*calls, admin.stats(rig.entity("jobs")))
                await asyncio.sleep(0)
                child = os.fork()
                if child == 0:
                    os._exit(in_child(path, None, None))
                await working
                assert (await admin.stats(rig.entity("jobs"))).waiting is not None
                _, status = await asyncio.to_thread(os.waitpid, child, 0)
                assert status == 0
            assert (await admin.stats(rig.entity("jobs"))).waiting == 14


def in_child(path: Path, heard: int | None, told: int | None) -> int:
    """Publish from a fork, on a loop of its own; once, and where there are pipes once more when told to."""

    async def run() -> None:
        async with opened(path) as rig:
            publisher = await rig.publisher("jobs")
            await rig.publish(publisher, message("child"))
            if heard is not None and told is not None:
                os.write(told, b"1")
                os.read(heard, 1)
                await rig.publish(publisher, message("child"))

    try:
        # The parent's loop is this thread's, as asyncio sees it; in a thread there is none.
        thread = threading.Thread(target=asyncio.run, args=(run(),))
        failed: list[object] = []
        threading.excepthook = failed.append
        thread.start()
        thread.join(30)
        return 1 if failed or thread.is_alive() else 0
    except BaseException:  # noqa: BLE001 - a child must never go on with the parent's tests
        return 2


class TestEnds:
    async def test_a_driver_that_is_dropped_closes_its_file(self, path: Path) -> None:
        before = set(threading.enumerate())
        rig = rig_on(path)
        await rig.publish("jobs", message("a"))
        (thread,) = [one for one in threading.enumerate() if one.name == "polybus bus.db" and one not in before]
        del rig
        gc.collect()
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
        assert sorted(os.listdir(path.parent)) == ["bus.db"]

    async def test_closing_fails_or_finishes_what_was_asked_for(self, path: Path) -> None:
        rig = rig_on(path)
        publisher = await rig.publisher("jobs")
        calls = [asyncio.ensure_future(publisher.publish_batch([prepared(publisher, str(n))])) for n in range(50)]
        await asyncio.sleep(0)
        await rig.driver.aclose()
        assert all(isinstance(answer[0], Sent) for answer in await asyncio.gather(*calls))
        with pytest.raises(BusClosed) as caught:
            await publisher.publish_batch([prepared(publisher, "late")])
        assert rig.driver.fault(caught.value).kind is FaultKind.CANCELLED

    async def test_an_open_that_fails_leaves_no_connection(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        no_store(path)
        made: list[sqlite3.Connection] = []
        connect = sqlite3.connect

        def noted(*arguments: Any, **options: Any) -> sqlite3.Connection:
            made.append(connect(*arguments, **options))
            return made[-1]

        monkeypatch.setattr(sqlite3, "connect", noted)
        rig = rig_on(path)
        for _ in range(3):
            assert (await fault_of(rig, rig.publish("jobs", message("a")))).code == "SQLITE_NOTADB"
        assert len(made) == 3
        for connection in made:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")
        await rig.aclose()


async def test_a_body_of_any_size_together_with_others_stays_under_sqlites_limit(path: Path) -> None:
    """Batches that are written together are more than one of SQLite's values may hold, were they one."""
    async with opened(path) as rig:
        publisher = await rig.publisher("jobs")
        batches = [[prepared(publisher, "x" * 9_000_000) for _ in range(7)] for _ in range(2)]
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            first = asyncio.ensure_future(publisher.publish_batch([prepared(publisher, "first")]))
            await asyncio.sleep(0.05)
            calls = asyncio.gather(*(publisher.publish_batch(batch) for batch in batches))
            await asyncio.sleep(0.05)
            lock.execute("ROLLBACK")
        await first
        assert all(isinstance(one, Sent) for answer in await calls for one in answer)
        stats = await (await rig.admin()).stats(rig.entity("jobs"))
        assert stats.waiting == 15


async def test_a_look_reads_no_more_at_once_than_sqlite_can(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a hundred letters of 10 MiB is over its limit of one value, which is lower here."""
    connect = sqlite3.connect

    def limited(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
        return connection

    async with opened(path) as rig:
        for number in range(10):
            await rig.publish("jobs", message(b"%d" % number * 20_000))
        monkeypatch.setattr(claim, "MOST_BYTES", 64_000)
        monkeypatch.setattr(sqlite3, "connect", limited)
        admin, after, seen = await rig.admin(), None, []
        while page := await admin.peek(rig.entity("jobs"), 100, after):
            seen += [peeked.message.body[:1] for peeked in page]
            after = page[-1].position
        assert seen == [b"%d" % number for number in range(10)]
