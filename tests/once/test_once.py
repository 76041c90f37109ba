"""Handlers that are declared with `once`: duplicates, failures, lost leases, and their own transactions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import polybus
from databases import POSTGRESQL_MISSING, Postgresql
from polybus import App, Delivery
from polybus.claims import Busy, Claim, Done
from polybus.once import ClaimLost, MemoryStore, Once, SqlStore, current_claim
from polybus.testing import run
from polybus.topology.file import loads

TOPOLOGY = loads(
    '[bus]\nname = "once"\n[queues.bills]\nmax_attempts = 4\nbackoff = { initial = "1s", maximum = "1s" }\n',
    source="polybus.toml",
)
effects = sa.Table("effects", sa.MetaData(), sa.Column("bill", sa.String(50)))


def of_bill(delivery: Delivery) -> str:
    return delivery.body.decode()


class TestClaims:
    async def test_n1_a_duplicate_is_acked_and_not_handled(self) -> None:
        app, handled = App(), []

        @app.handler("bills", once=Once(MemoryStore(), key=of_bill))
        async def bill(body: str) -> None:
            handled.append((body, current_claim().token))

        async with run(app, TOPOLOGY) as t:
            for body in ("a", "a", "b", "a"):
                await t.publish("bills", body)
                await t.idle()
            stats = await t.bus.stats("bills")
        assert handled == [("a", 1), ("b", 1)]
        assert (stats.waiting, stats.leased, stats.dead) == (0, 0, 0)
        with pytest.raises(LookupError):
            current_claim()

    async def test_the_key_is_the_messages_id_and_the_scope_its_source(self) -> None:
        app, store = App(), MemoryStore()

        @app.handler("bills", once=store)
        async def bill(body: str) -> None: ...

        async with run(app, TOPOLOGY) as t:
            id = await t.publish("bills", "a")
            await t.idle()
        assert await store.claim("bills", id, 1.0) == Done()

    async def test_n2_what_another_owner_works_on_comes_again(self) -> None:
        app, handled = App(), []
        began, go_on = asyncio.Event(), asyncio.Event()

        @app.handler("bills", once=Once(MemoryStore(), key=of_bill))
        async def bill(body: str) -> None:
            handled.append(body)
            began.set()
            await go_on.wait()

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await began.wait()
            await t.publish("bills", "a")
            await t.clock.settle()
            go_on.set()
            await t.idle()
            await t.advance(120)
            assert (await t.bus.stats("bills")).dead == 0
        assert handled == ["a"]

    async def test_n2_a_duplicate_of_long_work_is_no_dead_letter(self) -> None:
        clock = polybus.ManualClock()
        app, handled = App(), []
        began, go_on = asyncio.Event(), asyncio.Event()

        @app.handler("bills", once=Once(MemoryStore(clock=clock), key=of_bill, clock=clock), concurrency=2)
        async def bill(body: str) -> None:
            handled.append(body)
            began.set()
            await go_on.wait()

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await began.wait()
            await t.publish("bills", "a")
            for _ in range(10):
                await t.clock.advance(61)
                await clock.advance(10)
            assert (await t.bus.stats("bills")).dead == 0
            go_on.set()
            await t.clock.settle()
            await clock.advance(10)
            await t.idle()
            stats = await t.bus.stats("bills")
        assert (stats.waiting, stats.leased, stats.dead) == (0, 0, 0)
        assert handled == ["a"]

    @pytest.mark.parametrize("end", [ValueError("no"), polybus.Retry(after=1)])
    async def test_n5_after_a_failure_it_is_done_again(self, end: Exception) -> None:
        app, handled = App(), []

        @app.handler("bills", once=MemoryStore())
        async def bill(body: str, delivery: Delivery) -> None:
            handled.append(delivery.attempt)
            if delivery.attempt < 3:
                raise end

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await t.idle()
            await t.advance(20)
        assert handled == [1, 2, 3]

    async def test_n5_what_the_handler_gives_back_by_itself_is_done_again(self) -> None:
        app, handled = App(), []

        @app.handler("bills", once=MemoryStore())
        async def bill(body: str, delivery: Delivery) -> None:
            handled.append(delivery.attempt)
            if delivery.attempt == 1:
                await delivery.nack(delay=1)

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await t.idle()
            await t.advance(20)
        assert handled == [1, 2]

    async def test_n4_a_lost_lease_loses_the_claim(self) -> None:
        app, store = App(), MemoryStore()
        began = asyncio.Event()

        @app.handler("bills", once=Once(store, key=of_bill), max_lease=10)
        async def bill(body: str, delivery: Delivery) -> None:
            if delivery.attempt == 1:
                began.set()
                await asyncio.Event().wait()

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await began.wait()
            assert isinstance(await store.claim("bills", "a", 1.0), Busy)
            await t.advance(200)
        assert await store.claim("bills", "a", 1.0) == Done()

    async def test_n4_a_claim_that_another_took_fails_the_handler(self, caplog: pytest.LogCaptureFixture) -> None:
        class Lapsing(MemoryStore):
            async def confirm(self, claim: Claim) -> bool:
                return await super().confirm(claim) and claim.token > 1

        app, handled = App(), []

        @app.handler("bills", once=Lapsing())
        async def bill(body: str) -> None:
            handled.append(body)

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await t.idle()
        assert any(record.exc_info and record.exc_info[0] is ClaimLost for record in caplog.records)

    async def test_n8_a_claim_is_renewed_while_its_handler_runs(self) -> None:
        clock = polybus.ManualClock()
        store = MemoryStore(clock=clock)
        app, go_on, began = App(), asyncio.Event(), asyncio.Event()

        @app.handler("bills", once=Once(store, key=of_bill, lease=30, clock=clock))
        async def bill(body: str) -> None:
            began.set()
            await go_on.wait()

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await began.wait()
            for _ in range(20):
                await clock.advance(5)
            assert isinstance(await store.claim("bills", "a", 1.0), Busy)
            go_on.set()
            await t.idle()
        assert await store.claim("bills", "a", 1.0) == Done()

    async def test_a_store_that_fails_for_a_moment_is_told_again(self) -> None:
        class Failing(MemoryStore):
            failures = 0

            async def confirm(self, claim: Claim) -> bool:
                self.failures += 1
                if self.failures < 3:
                    raise ConnectionError("the test cut the way")
                return await super().confirm(claim)

        class AtOnce(polybus.SystemClock):
            async def sleep(self, delay: float) -> None:
                await asyncio.sleep(0 if delay < 1 else delay)

        app, handled = App(), []

        @app.handler("bills", once=Once(Failing(), clock=AtOnce()))
        async def bill(body: str) -> None:
            handled.append(body)

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await t.idle()
            assert (await t.bus.stats("bills")).delayed in (0, None)
        assert handled == ["a"]

    async def test_it_goes_with_blocking_handlers(self) -> None:
        app, handled = App(), []

        @app.handler("bills", once=Once(MemoryStore(), key=of_bill))
        def bill(body: str) -> None:
            handled.append((body, current_claim().key, threading.current_thread() is threading.main_thread()))

        async with run(app, TOPOLOGY) as t:
            for body in ("a", "a"):
                await t.publish("bills", body)
                await t.idle()
        assert handled == [("a", "a", False)]

    async def test_keys_that_are_long_are_hashed_and_keys_that_are_none_fail(self) -> None:
        app, store = App(), MemoryStore()
        keys: list[Any] = ["x" * 300, None]

        @app.handler("bills", once=Once(store, key=lambda delivery: keys[int(delivery.body)], scope="all"))
        async def bill(body: str) -> None: ...

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "0")
            await t.publish("bills", "1")
            await t.idle()
            await t.advance(60)
            [letter] = await t.dead_letters("bills")
        assert letter.reason == "TypeError"
        [(scope, key)] = store._rows
        assert (scope, key[:7], len(key)) == ("all", "sha256:", 71)

    def test_what_is_no_store_is_refused(self) -> None:
        for wrong in (MemoryStore, "store", object()):
            with pytest.raises(polybus.ConfigError, match=r"a store of polybus\.once"):
                App().handler("bills", once=wrong)(_bill)  # type: ignore[arg-type]


async def _bill(body: str) -> None: ...


# Handlers in their own transaction ------------------------------------------------------------------------------------


@pytest.fixture(params=["aiosqlite", *([] if POSTGRESQL_MISSING else ["asyncpg"])])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    if request.param == "asyncpg":
        server: Postgresql = request.getfixturevalue("postgresql")
        url = server.url(server.database(), "asyncpg")
    else:
        url = f"sqlite+aiosqlite:///{tmp_path / 'effects.db'}"
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(effects.metadata.create_all)
    yield engine
    await engine.dispose()


@pytest.fixture
async def store(engine: AsyncEngine) -> SqlStore:
    store = SqlStore(engine)
    await store.create_tables()
    return store


async def done(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return sorted(row.bill for row in await connection.execute(sa.select(effects)))


class TestTransactions:
    async def test_n6_the_effect_and_the_key_are_committed_together(self, store: SqlStore, engine: AsyncEngine) -> None:
        app = App()

        @app.handler("bills", once=Once(store, key=of_bill))
        async def bill(body: str, tx: AsyncSession, delivery: Delivery) -> None:
            assert delivery.source == "bills"
            await tx.execute(sa.insert(effects).values(bill=body))

        async with run(app, TOPOLOGY) as t:
            for body in ("a", "a", "b", "a"):
                await t.publish("bills", body)
                await t.idle()
        assert await done(engine) == ["a", "b"]
        assert await store.claim("bills", "a", 1.0) == Done()

    async def test_n6_a_rollback_leaves_neither(self, store: SqlStore, engine: AsyncEngine) -> None:
        app, attempts = App(), []

        @app.handler("bills", once=store)
        async def bill(body: str, tx: AsyncSession, delivery: Delivery) -> None:
            await tx.execute(sa.insert(effects).values(bill=f"{body}{delivery.attempt}"))
            attempts.append(delivery.attempt)
            if delivery.attempt == 1:
                raise ValueError("no")
            if delivery.attempt == 2:
                await delivery.nack(delay=1)

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await t.idle()
            assert await done(engine) == []
            await t.advance(2)
            await t.advance(2)
        assert attempts == [1, 2, 3]
        assert await done(engine) == ["a3"]

    async def test_n4_a_lost_lease_rolls_back(self, store: SqlStore, engine: AsyncEngine) -> None:
        app, began = App(), asyncio.Event()

        @app.handler("bills", once=store, max_lease=10)
        async def bill(body: str, tx: AsyncSession, delivery: Delivery) -> None:
            await tx.execute(sa.insert(effects).values(bill=f"{body}{delivery.attempt}"))
            if delivery.attempt == 1:
                began.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    return  # though it has swallowed its cancellation

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await began.wait()
            await t.advance(61)
        assert await done(engine) == ["a2"]

    async def test_n2_of_many_at_once_one_has_its_effect(self, store: SqlStore, engine: AsyncEngine) -> None:
        app = App()

        @app.handler("bills", once=Once(store, key=of_bill), concurrency=6)
        async def bill(body: str, tx: AsyncSession) -> None:
            await tx.execute(sa.insert(effects).values(bill=body))
            await asyncio.sleep(0.01)

        async with run(app, TOPOLOGY) as t:
            await t.bus.publish_many("bills", ["a", "b"] * 6)
            await t.idle()
            await t.advance(2)
            await t.advance(2)
            assert (await t.bus.stats("bills")).dead == 0
        assert await done(engine) == ["a", "b"]

    async def test_n3_a_claim_that_was_left_without_a_transaction_is_taken_over(
        self, store: SqlStore, engine: AsyncEngine
    ) -> None:
        await store.release(await _claim(store, "bills", "a"))
        await _claim(store, "bills", "b")
        app = App()

        @app.handler("bills", once=Once(store, key=of_bill))
        async def bill(body: str, tx: AsyncSession) -> None:
            await tx.execute(sa.insert(effects).values(bill=body))

        async with run(app, TOPOLOGY) as t:
            await t.publish("bills", "a")
            await t.publish("bills", "b")
            await t.idle()
        assert await done(engine) == ["a"]  # the other's owner may live

    @pytest.mark.parametrize("blocking", [False, True])
    async def test_n2_at_the_last_attempt_it_waits_for_another_owner(self, tmp_path: Path, blocking: bool) -> None:
        url = f"{'' if blocking else '+aiosqlite'}:///{tmp_path / 'effects.db'}"
        engine: Any = sa.create_engine(f"sqlite{url}") if blocking else create_async_engine(f"sqlite{url}")
        store = SqlStore(engine)
        await store.create_tables()
        app, handled = App(), []

        async def bill(body: str, tx: AsyncSession) -> None:
            handled.append(body)

        def bill_blocking(body: str, tx: Session) -> None:
            handled.append(body)

        app.handler("bills", once=Once(store, key=of_bill))(bill_blocking if blocking else bill)
        topology = loads('[bus]\nname = "once"\n[queues.bills]\nmax_attempts = 1\n', source="polybus.toml")
        async with run(app, topology) as t:
            assert isinstance(await store.claim("bills", "a", 0.5), Claim)
            await t.publish("bills", "a")
            await t.idle()
            stats = await t.bus.stats("bills")
        await engine.dispose() if not blocking else engine.dispose()
        assert (handled, stats.waiting, stats.dead) == (["a"], 0, 0)

    async def test_blocking_handlers_have_a_blocking_session_in_their_thread(self, tmp_path: Path) -> None:
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'effects.db'}")
        effects.metadata.create_all(engine)
        store = SqlStore(engine)
        await store.create_tables()
        app, threads = App(), []

        @app.handler("bills", once=Once(store, key=of_bill))
        def bill(body: str, *, tx: Session) -> None:
            threads.append(threading.current_thread() is threading.main_thread())
            tx.execute(sa.insert(effects).values(bill=body))
            if body == "fails":
                raise ValueError("no")

        async with run(app, TOPOLOGY) as t:
            for body in ("a", "a", "fails"):
                await t.publish("bills", body)
                await t.idle()
        with engine.connect() as connection:
            assert [row.bill for row in connection.execute(sa.select(effects))] == ["a"]
        engine.dispose()
        assert threads == [False, False]

    async def test_transactions_that_cannot_be_are_refused(self, store: SqlStore) -> None:
        async def bill(body: str, tx: AsyncSession) -> None: ...

        def bill_in_thread(body: str, tx: AsyncSession) -> None: ...

        async def bill_blocking(body: str, tx: Session) -> None: ...

        for handler, once, why in (
            (bill, MemoryStore(), "nothing fills"),
            (bill, None, "nothing fills"),
            (bill_in_thread, store, "is for handlers that are `async def`"),
            (bill_blocking, store, "has a AsyncEngine, which gives no Session"),
        ):
            with pytest.raises(polybus.ConfigError, match=why):
                App().handler("bills", once=once)(handler)  # type: ignore[arg-type]
        with pytest.raises(polybus.ConfigError, match="a transaction of this process"):
            App().handler("bills", once=store, executor="process")(bill)  # type: ignore[arg-type]


async def _claim(store: SqlStore, scope: str, key: str) -> Claim:
    claim = await store.claim(scope, key, 600.0)
    assert isinstance(claim, Claim)
    return claim
