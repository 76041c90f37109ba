"""What an outbox keeps, clause by clause (docs/contract.md, O1 to O7), in each database."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from places import DIALECTS, Database, step, transact

import polybus
from polybus.bus.resolve import find
from polybus.clock import ManualClock, SystemClock
from polybus.driver import Outgoing
from polybus.errors import Fault, FaultKind
from polybus.middleware import Middleware, Publication
from polybus.outbox import Outbox, Relay
from polybus.outbox.opening import open_store
from polybus.registry import load
from polybus.testing.faults import Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.topology.model import Topology


def kind_of(database: Database) -> str:
    return "sqlite3" if database.dialect == "sqlite" else "psycopg"


async def publish(
    outbox: Outbox, database: Database, *bodies: object, commit: bool = True, **options: Any
) -> list[Any]:
    """Publish orders in one transaction."""
    steps = [step("publish", "orders", body, **{"ordering_key": "ada", **options}) for body in bodies]
    return await transact(outbox, database, kind_of(database), steps, commit=commit)


async def arrived(bus: polybus.Bus, source: str, count: int) -> list[str]:
    """Take so many messages; return their bodies as text."""
    found = []
    async with bus.consume(source) as deliveries:
        async for delivery in deliveries:
            async with delivery:
                found.append(delivery.body.decode())
            if len(found) == count:
                break
    return found


async def peeked(bus: polybus.Bus, source: str) -> list[str]:
    return [each.message.body.decode() async for each in bus.peek(source, 1_000)]


class Passing(Middleware):
    """Changes nothing, late."""

    async def publish(self, outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
        await asyncio.sleep(0)
        return await proceed(outgoing)


class Broken:
    """A bus on a driver that fails on demand; `outgoing` is what it prepared."""

    def __init__(self, topology: Topology, middleware: Middleware | None = None) -> None:
        self.outgoing: list[Outgoing] = []
        clock = SystemClock()
        binding = find(topology).binding
        self.driver = FaultyDriver(load("memory")(binding, clock), clock)
        driver: Any = self.driver
        self._note_what_is_prepared()
        self.bus = polybus.connect(binding, driver=driver, middleware=[] if middleware is None else [middleware])

    def _note_what_is_prepared(self) -> None:
        open_publisher = self.driver.open_publisher

        async def opened(target: polybus.Entity) -> Any:
            publisher: Any = await open_publisher(target)
            prepare = publisher.prepare

            def noted(outgoing: Outgoing) -> Any:
                self.outgoing.append(outgoing)
                return prepare(outgoing)

            publisher.prepare = noted
            return publisher

        self.driver.open_publisher = opened


class TestOutbox:
    async def test_O1_what_is_committed_is_sent_and_nothing_else(self, database: Database, topology: Topology) -> None:
        outbox = Outbox(topology)
        async with polybus.connect(topology) as bus, outbox.relay(bus, database.url):
            await publish(outbox, database, "a")
            await publish(outbox, database, "b", commit=False)
            await publish(outbox, database, "c", "d")
            assert await arrived(bus, "billing", 3) == ["a", "c", "d"]
        assert database.rows() == []

    async def test_O1_nothing_is_sent_before_the_commit(self, database: Database, topology: Topology) -> None:
        outbox = Outbox(topology)
        async with polybus.connect(topology) as bus, aclosing(outbox.relay(bus, database.url)) as relay:
            with contextlib.closing(database.connect()) as connection:
                outbox.publish_sync(connection, "orders", "a", ordering_key="ada")
                assert await relay.send_due() == 0
                assert await peeked(bus, "billing") == []
                connection.commit()
            assert await relay.send_due() == 1
            assert await peeked(bus, "billing") == ["a"]

    async def test_O2_a_receiver_sees_the_id_that_publish_gave(self, database: Database, topology: Topology) -> None:
        outbox = Outbox(topology)
        given = polybus.Message(b"b", id="mine")
        ids = await publish(outbox, database, "a", given)
        assert ids[1] == "mine"
        async with (
            polybus.connect(topology) as bus,
            outbox.relay(bus, database.url),
            bus.consume("billing") as deliveries,
        ):
            for expected in ids:
                async with await anext(aiter(deliveries)) as delivery:
                    assert delivery.id == expected

    @pytest.mark.parametrize("through", [False, True], ids=["", "middleware"])
    async def test_O3_what_is_sent_again_is_the_same_publish(
        self, database: Database, topology: Topology, through: bool
    ) -> None:
        """A relay that ends between the backend's answer and the deletion leaves a row, which is sent as it was."""
        outbox = Outbox(topology)
        await publish(outbox, database, "a", polybus.Message(b"b", id="mine"), ordering_key=None)
        await publish(outbox, database, "c")
        sent: list[set[tuple[str, str | None]]] = []
        for _ in range(2):
            broken = Broken(topology, Passing() if through else None)
            gate = broken.driver.faults.hold(Operation.PUBLISH, after=True)
            async with broken.bus as bus, aclosing(outbox.relay(bus, database.url)) as relay:
                sending = asyncio.create_task(relay.send_due())
                await gate.reached.wait()
                sending.cancel()
                await asyncio.wait([sending])
                gate.open()
            sent.append({(each.dedup_id, each.message.ordering_key) for each in broken.outgoing})
        assert len(database.rows()) == 3
        assert sent[0] == sent[1]
        assert len(sent[0]) == 3

    async def test_O4_the_order_of_a_key_is_that_of_its_commits(self, database: Database, topology: Topology) -> None:
        outbox = Outbox(topology)
        written: list[str] = []

        async def shop(name: str) -> None:
            for number in range(20):
                body = f"{name}{number}"
                await asyncio.to_thread(self._write, outbox, database, body, written)

        async with polybus.connect(topology) as bus, outbox.relay(bus, database.url), outbox.relay(bus, database.url):
            await asyncio.gather(*(shop(name) for name in "abcd"))
            found = await arrived(bus, "billing", 80)
        assert found == [row for row in self._committed(database) if row in set(written)]

    @staticmethod
    def _write(outbox: Outbox, database: Database, body: str, written: list[str]) -> None:
        """Publish, and then note it in a table whose one row every transaction takes: the order of commits."""
        with contextlib.closing(database.connect()) as connection:
            if database.dialect == "sqlite":
                connection.execute("PRAGMA busy_timeout = 60000")
            outbox.publish_sync(connection, "orders", body, ordering_key="ada")
            connection.execute(f"INSERT INTO orders (id) VALUES ('{body}')")
            connection.commit()
        written.append(body)

    @staticmethod
    def _committed(database: Database) -> list[str]:
        # The transactions of a key follow each other, so that their rows are in the order of the commits.
        with contextlib.closing(database.connect()) as connection:
            return [id for (id,) in connection.execute("SELECT id FROM orders").fetchall()]

    async def test_O4_two_transactions_with_one_key_go_one_after_the_other(
        self, database: Database, topology: Topology
    ) -> None:
        """Else the second could commit first, and a relay that sees it alone would send it first."""
        outbox = Outbox(topology)
        locked = (psycopg.errors.LockNotAvailable, sqlite3.OperationalError)
        with contextlib.closing(database.connect()) as first, contextlib.closing(database.connect()) as second:
            second.execute("PRAGMA busy_timeout = 50" if database.dialect == "sqlite" else "SET lock_timeout = '50ms'")
            second.commit()
            outbox.publish_sync(first, "orders", "a", ordering_key="ada")
            with pytest.raises(locked):
                outbox.publish_sync(second, "orders", "b", ordering_key="ada")
            second.rollback()
            first.commit()
            outbox.publish_sync(second, "orders", "b", ordering_key="ada")
            second.commit()
        assert [bytes(row["body"]) for row in database.rows()] == [b"a", b"b"]

    async def test_O4_of_two_relays_one_sends_a_key(self, database: Database, topology: Topology) -> None:
        """While one is at it, which may be long, the other sends nothing of the key, and what came after it neither."""
        outbox = Outbox(topology)
        broken = Broken(topology)
        gate = broken.driver.faults.hold(Operation.PUBLISH)
        await publish(outbox, database, "a")
        async with (
            broken.bus as slow,
            polybus.connect(topology) as quick,
            aclosing(outbox.relay(slow, database.url)) as first,
            aclosing(outbox.relay(quick, database.url)) as second,
        ):
            sending = asyncio.create_task(first.send_due())
            try:
                await gate.reached.wait()
                await publish(outbox, database, "b")
                assert await second.send_due() == 0
            finally:
                gate.open()
                await sending
            assert await peeked(quick, "billing") == ["a", "b"]

    async def test_O5_what_is_refused_is_kept_and_holds_up_its_key(
        self, database: Database, topology: Topology
    ) -> None:
        outbox = Outbox(topology)
        broken = Broken(topology)
        ids = await publish(outbox, database, "a", "bad", "c")
        await publish(outbox, database, "d", ordering_key="bob")
        no = Fault(FaultKind.INVALID, "not like this")
        broken.driver.faults.fail(Operation.PUBLISH, no, when=lambda message: message.body == b"bad")
        store = open_store(database.url)
        async with broken.bus as bus, aclosing(outbox.relay(bus, database.url)) as relay:
            assert await relay.send_due() == 2
            assert await relay.send_due() == 0
            assert sorted(await peeked(bus, "billing")) == ["a", "d"]
            (kept,) = await store.kept(10, every=False)
            assert (kept.id, kept.state, kept.reason) == (ids[1], "failed", "invalid: not like this")
            assert [each.state for each in await store.kept(10, every=True)] == ["failed", "waiting"]
            await publish(outbox, database, "e")
            assert await relay.send_due() == 0
            assert await store.retry([ids[1]]) == 1
            assert await relay.send_due() == 3
            assert sorted(await arrived(bus, "billing", 5)) == ["a", "bad", "c", "d", "e"]
        await store.aclose()

    async def test_O5_what_is_discarded_lets_its_key_go_on(self, database: Database, topology: Topology) -> None:
        outbox = Outbox(topology)
        broken = Broken(topology)
        await publish(outbox, database, "bad", "b")
        no = Fault(FaultKind.TOO_LARGE, "too much")
        broken.driver.faults.fail(Operation.PUBLISH, no, when=lambda message: message.body == b"bad")
        store = open_store(database.url)
        async with broken.bus as bus, aclosing(outbox.relay(bus, database.url)) as relay:
            await relay.send_due()
            assert await store.discard(None) == 1
            await relay.send_due()
            assert await arrived(bus, "billing", 1) == ["b"]
        await store.aclose()

    async def test_O5_what_can_t_be_encoded_holds_up_its_key_behind_what_is_sent(
        self, database: Database, topology: Topology
    ) -> None:
        outbox = Outbox(topology)
        await publish(outbox, database, "a")
        await publish(outbox, database, "b", attributes={"no name": ""})
        await publish(outbox, database, "c")
        async with polybus.connect(topology) as bus, aclosing(outbox.relay(bus, database.url)) as relay:
            await relay.send_due()
            await relay.send_due()
            assert await peeked(bus, "billing") == ["a"]
            assert [(row["attempts"], row["failed_at"] is None) for row in database.rows()] == [(1, False), (0, True)]

    @pytest.mark.parametrize("through", [False, True], ids=["", "middleware"])
    async def test_O6_what_fails_for_the_moment_is_tried_again_in_order(
        self, database: Database, topology: Topology, through: bool
    ) -> None:
        outbox = Outbox(topology)
        broken = Broken(topology, Passing() if through else None)
        await publish(outbox, database, *"abc")
        broken.driver.faults.fail(Operation.PUBLISH, Fault(FaultKind.DENIED, "not you"))
        store = open_store(database.url)
        async with broken.bus as bus, aclosing(outbox.relay(bus, database.url)) as relay:
            assert await relay.send_due() == 0
            assert relay.problem is not None
            assert [each.state for each in await store.kept(10, every=True)] == ["retrying", "waiting", "waiting"]
            assert await relay.send_due() == 3
            assert relay.problem is None
            assert await peeked(bus, "billing") == ["a", "b", "c"]
        await store.aclose()

    async def test_O6_a_target_that_fails_holds_up_no_other(self, database: Database, topology: Topology) -> None:
        outbox = Outbox(topology)
        broken = Broken(topology)
        gate = broken.driver.faults.hold(Operation.OPEN)
        await publish(outbox, database, "a")
        async with broken.bus as bus, outbox.relay(bus, database.url):
            await gate.reached.wait()
            other = polybus.connect(topology)
            await transact(outbox, database, kind_of(database), [step("publish", "mails", "m")])
            async with other:
                gate.open()
                assert await arrived(other, "mails", 1) == ["m"]
                assert await arrived(other, "billing", 1) == ["a"]

    async def test_O7_what_is_scheduled_is_sent_at_its_time(self, database: Database, topology: Topology) -> None:
        clock = ManualClock(1_000.0)
        outbox = Outbox(topology, clock=clock)
        steps = [
            step("schedule", "orders", "third", in_="1d", ordering_key="ada"),
            step("schedule", "orders", "second", at=datetime.fromtimestamp(1_100, UTC), ordering_key="ada"),
            step("schedule", "orders", "cancelled", in_=100, ordering_key="ada"),
            step("schedule", "orders", "first", in_=99, ordering_key="ada"),
        ]
        ids = await transact(outbox, database, kind_of(database), steps)
        store = open_store(database.url)
        assert [each.id for each in await store.later(10)] == [ids[3], ids[1], ids[2], ids[0]]
        assert await store.cancel([ids[2]]) == 1
        async with polybus.connect(topology, clock=clock) as bus:
            relay = Relay(bus, database.url)
            assert await relay.send_due() == 0
            await clock.advance(100.0)
            assert await relay.send_due() == 2
            assert await peeked(bus, "billing") == ["first", "second"]
            await clock.advance(86_400.0)
            assert await relay.send_due() == 1
            assert await peeked(bus, "billing") == ["first", "second", "third"]
            await relay.aclose()
        await store.aclose()


# With SQLite one relay at a time moves anything.
@pytest.mark.parametrize("database", [each for each in DIALECTS if each != "sqlite"], indirect=True)
async def test_what_another_relay_moves_is_not_overtaken_by_what_is_due_after_it(
    database: Database, topology: Topology
) -> None:
    clock = ManualClock(1_000.0)
    outbox = Outbox(topology, clock=clock)
    steps = [
        step("schedule", "orders", "first", in_=10, ordering_key="ada"),
        step("schedule", "orders", "second", in_=20, ordering_key="ada"),
        step("schedule", "orders", "another", in_=20, ordering_key="bob"),
    ]
    ids = await transact(outbox, database, kind_of(database), steps)
    store = open_store(database.url)
    with contextlib.closing(database.connect()) as other:
        other.execute("SELECT seq FROM polybus_outbox_later WHERE id = %s FOR UPDATE", [ids[0]])
        assert (await store.promote(1_030.0, 500)).moved == 1
        assert [row["id"] for row in database.rows()] == [ids[2]]
        other.rollback()
    assert (await store.promote(1_030.0, 500)).moved == 2
    assert [row["id"] for row in database.rows()] == [ids[2], ids[0], ids[1]]
    await store.aclose()


async def test_a_relay_without_tables_says_what_to_do(database: Database, topology: Topology) -> None:
    async with polybus.connect(topology) as bus:
        with pytest.raises(polybus.ConfigError, match=r"no table other: create it with Outbox\.create_tables"):
            async with Relay(bus, database.url, table="other"):
                pass
