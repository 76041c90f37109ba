"""O1 and O2 at the driver: what operators do, and what errors mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from polybus.binding import Entity, Kind
from polybus.driver import Ack, Driver, Nack, Outgoing, Prepared, ToDeadLetters
from polybus.errors import BackendError, Fault, FaultKind, UnsupportedFeature
from polybus.feature import Feature
from polybus.message import Message
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment
from polybus.testing.topology import LEASE

__all__ = ["DriverOperating"]

# Letters to look at: more than the largest batch of a receive, and of a page of the smallest cloud (SQS: 10).
MANY = 25


class Unheard(Exception):
    """An error that no SDK raises."""


class DriverOperating(Suite):
    """O1 ping, describe, stats, peek and purge, on what is missing too; O2 faults."""

    async def test_O1_ping_reaches_the_backend_or_raises(self, env: Environment) -> None:
        await env.within((await env.direct.admin()).ping())
        astray = env.rig.astray(env.binding)
        if astray is None:
            return
        driver = env.rig.driver(astray)
        try:
            fault = await self._fault(driver, lambda: self._ping(driver), "ping")
            assert fault.kind in (FaultKind.UNAVAILABLE, FaultKind.TIMEOUT, FaultKind.STORAGE), fault
        finally:
            await driver.aclose()

    async def test_O1_describe_says_what_is_there(self, env: Environment) -> None:
        admin = await env.direct.admin()
        for entity in (*_targets(env), *_sources(env)):
            described = await env.within(admin.describe(entity))
            assert described, f"{entity.name}: nothing is said of it"
            assert msgspec.json.encode(described), "not plain values"

    async def test_O1_what_is_missing_is_not_found(self, env: Environment) -> None:
        driver, admin = env.direct.driver(), await env.direct.admin()
        for entity in (*_targets(env), *_sources(env)):
            missing = _missing(entity)
            calls: dict[str, Callable[[], Awaitable[object]]] = {"describe": lambda e=missing: admin.describe(e)}  # type: ignore[misc]
            if entity.kind is Kind.TOPIC:  # a queue may be a topic and a subscription (Google)
                calls["publish"] = lambda e=missing: self._publish(driver, e)  # type: ignore[misc]
            if entity.consumable:
                calls["receive"] = lambda e=missing: self._receive(env, driver, e)  # type: ignore[misc]
                calls["purge"] = lambda e=missing: admin.purge(e)  # type: ignore[misc]
                if Feature.PEEK in driver.features(entity):
                    calls["peek"] = lambda e=missing: admin.peek(e, 1)  # type: ignore[misc]
                if Feature.COUNTS in driver.features(entity):
                    calls["stats"] = lambda e=missing: admin.stats(e)  # type: ignore[misc]
            for name, call in calls.items():
                where = f"{name} of a missing {entity.kind.value}"
                fault = await self._fault(driver, call, where)
                assert fault.kind is FaultKind.NOT_FOUND, f"{where}: {fault}"
                assert fault.detail, where

    async def test_O1_stats_count_what_waits_what_is_leased_and_what_is_dead(self, env: Environment) -> None:
        features, entity = env.bus.features("counted"), env.binding.source("counted")
        admin = await env.direct.admin()
        await self._clear(env, entity)
        ids = await env.direct.publish("counted", b"one", b"two", b"three", b"four")
        async with env.direct.hand(entity, window=2) as hand:
            first, second = await hand.receive(1), await hand.receive(1)
            leased, buried = (first + second) if first and second else await hand.take(ids[:2])
            await hand.settle(ToDeadLetters(buried, "Counted"))
            await env.advance(50)
            stats = await admin.stats(entity)
            dead = await admin.stats(entity.dead_letters)
            env.note("stats: how many wait", "no" if stats.waiting is None else "yes")
            env.note("stats: age of the oldest", "no" if stats.oldest_age is None else "yes")
            if Feature.COUNTS in features:
                # A driver that takes messages ahead of `receive_batch` holds them leased: they wait for nobody else.
                assert stats.waiting is not None
                assert dead.waiting == 1
                assert stats.dead in (None, 1)
                assert stats.leased in (None, 3 - stats.waiting)
                most = 3 if stats.leased is None else 2  # leased ones may be counted with those that wait
                assert 1 <= stats.waiting <= most
            else:
                assert stats.waiting is None, "it counts, and COUNTS isn't among its features"
            if Feature.AGE in features:
                assert stats.oldest_age is not None
                assert 49 <= stats.oldest_age <= 50 + env.rig.patience
            await hand.settle(Ack(leased))
        await self._clear(env, entity)
        if Feature.COUNTS in features:
            assert (await admin.stats(entity)).waiting == 0
            assert not (await admin.stats(entity)).leased

    async def test_O1_peek_shows_each_message_once_and_changes_nothing(self, env: Environment) -> None:
        """What waits, page by page where it isn't received for it, and all of it after each look."""
        entity, admin = env.binding.source("counted"), await env.direct.admin()
        await self._clear(env, entity)
        if Feature.PEEK not in env.bus.features("counted"):
            try:
                await admin.peek(entity, 1)
            except UnsupportedFeature:  # looking would count as an attempt
                env.note("looking at what waits", "refused")
                return
        assert not await admin.peek(entity, 10), "something is shown where nothing is"
        sent = [env.direct.message("counted", b"%d" % n, attributes={"n": str(n)}) for n in range(7)]
        await env.direct.publish("counted", *sent)
        for _ in range(2):
            shown = await self._look(env, entity, 3)
            assert sorted(each.id for each in shown) == sorted(each.id for each in sent)
            bodies = {each.id: (each.body, dict(each.attributes)) for each in shown}
            assert bodies == {each.id: (each.body, dict(each.attributes)) for each in sent}
        async with env.direct.hand(entity) as hand:
            got = await hand.take(each.id for each in sent)
            untouched = Feature.PEEK in env.bus.features("counted")
            if untouched:
                assert {each.attempt for each in got} == {1}, "looking counted as an attempt"
                assert [each.id for each in shown] == [each.id for each in sent], "not oldest first"
            await hand.settle(*(Ack(each) for each in got))
        env.note("looking at what waits", _looking(untouched))

    async def test_O1_peek_shows_every_dead_letter_once_with_its_reason(self, env: Environment) -> None:
        entity, admin = env.binding.source("counted"), await env.direct.admin()
        await self._clear(env, entity)
        sent = [env.direct.message("counted", b"%d" % n, content_type="application/x-own") for n in range(MANY)]
        await env.direct.publish("counted", *sent)
        async with env.direct.hand(entity, window=MANY) as hand:
            for each in await hand.take(each.id for each in sent):
                assert await hand.settle(ToDeadLetters(each, "Why", "because")) == [None]
        shown = await admin.peek(entity.dead_letters, 2 * MANY)
        assert sorted(each.message.id for each in shown) == sorted(each.id for each in sent)
        assert {(each.reason, each.description) for each in shown} == {("Why", "because")}
        assert {each.message.content_type for each in shown} == {"application/x-own"}
        assert len({each.position for each in shown}) == MANY
        assert len(await admin.peek(entity.dead_letters, 3)) == 3
        async with env.direct.hand(entity.dead_letters, window=MANY) as letters:
            got = await letters.take(each.id for each in sent)  # at once: looking left none of them leased
            untouched = Feature.PEEK in env.direct.driver().features(entity.dead_letters)
            if untouched:
                assert {each.attempt for each in got} == {1}, "looking counted as an attempt"
            env.note("looking at dead letters", _looking(untouched))
            await letters.settle(*(Ack(each) for each in got))

    async def test_O1_purge_deletes_what_waits_and_says_how_much(self, env: Environment) -> None:
        entity = env.binding.source("counted")
        await self._clear(env, entity)
        ids = await env.direct.publish("counted", *[b"%d" % number for number in range(5)])
        gone = await self._purge(env, entity)
        env.note("purge: how many went", "no" if gone is None else "yes")
        assert gone in (None, 5)
        async with env.direct.hand(entity) as hand:
            assert await hand.sift(ids) == [], "what was purged came"
            later = await env.direct.publish("counted", b"later")
            await hand.settle(Ack(await hand.one(later[0])))
        assert await self._purge(env, entity) in (None, 0)

    async def test_O1_what_is_purged_while_it_is_leased_can_be_settled_without_harm(self, env: Environment) -> None:
        """A purge may delete what is leased, or leave it to who has it; the others of the call have their answers."""
        entity = env.binding.source("counted")
        await self._clear(env, entity)
        ids = await env.direct.publish("counted", b"one", b"two", b"three")
        async with env.direct.hand(entity) as hand:
            held = await hand.take(ids)
            await self._purge(env, entity)
            kinds = await hand.settle(Ack(held[0]), Nack(held[1]), Ack(held[2]))
            assert set(kinds) <= {None, FaultKind.LEASE_LOST}
        await env.advance(LEASE + 1)
        async with env.direct.hand(entity) as hand:
            assert not {held[0].message.id, held[2].message.id} & set(await hand.sift(ids))
        await self._clear(env, entity)

    async def test_O1_raw_is_the_escape_hatch(self, env: Environment) -> None:
        for entity in (*_targets(env), *_sources(env)):
            assert env.direct.driver().raw(entity) is not None

    async def test_O2_errors_of_the_sdk_are_told_apart(self, env: Environment) -> None:
        driver = env.direct.driver()
        for error, kind in env.rig.errors():
            fault = driver.fault(error)
            assert fault.kind is kind, f"{type(error).__name__} ({error}): {fault}, not {kind.value}"
            assert fault.detail, f"{type(error).__name__}: nothing is said"

    async def test_O2_what_is_not_known_is_internal_and_named(self, env: Environment) -> None:
        for error in (Unheard("?"), ZeroDivisionError("?")):
            fault = env.direct.driver().fault(error)
            assert fault.kind is FaultKind.INTERNAL, fault
            assert fault.retryable
            assert type(error).__name__ in fault.detail

    async def _ping(self, driver: Driver) -> None:
        admin = await driver.open_admin()
        try:
            await admin.ping()
        finally:
            await admin.aclose()

    async def _publish(self, driver: Driver, target: Entity) -> None:
        publisher = await driver.open_publisher(target)
        try:
            key = "key" if target.ordered else None
            prepared = publisher.prepare(Outgoing(Message(b"nowhere", ordering_key=key, id="nowhere")))
            assert isinstance(prepared, Prepared)
            [outcome] = await publisher.publish_batch([prepared])
            if isinstance(outcome, Fault):
                raise BackendError(outcome)
        finally:
            await publisher.aclose()

    async def _receive(self, env: Environment, driver: Driver, source: Entity) -> None:
        consumer = await driver.open_consumer(source, prefetch=1, concurrency=1)
        try:
            for _ in range(5):  # the first may end before it is known
                await env.within(consumer.receive_batch(1, wait=1.0))
        finally:
            await env.hasten(consumer.stop())
            await consumer.aclose()

    async def _fault(self, driver: Driver, call: Callable[[], Awaitable[object]], what: str) -> Fault:
        """Return what a driver says of the error that a call must end with."""
        try:
            answer = await call()
        except Exception as error:
            if isinstance(error, AssertionError | pytest.fail.Exception):
                raise
            return error.fault if isinstance(error, BackendError) else driver.fault(error)
        raise AssertionError(f"{what}: it went well where nothing is, and gave {answer!r}")

    async def _purge(self, env: Environment, entity: Entity) -> int | None:
        """Purge; SQS allows that once a minute."""
        await env.advance(61)
        return await env.within((await env.direct.admin()).purge(entity))

    async def _clear(self, env: Environment, entity: Entity) -> None:
        """Empty a queue and its dead letters by receiving, which needs nothing of what is tested here."""
        for each in (entity, entity.dead_letters):
            async with env.direct.hand(each, window=50) as hand:
                while got := await env.hasten(hand.receive(50, wait=0.0 if _finds_all(env, each) else 2.0)):
                    await hand.settle(*(Ack(one) for one in got))

    async def _look(self, env: Environment, entity: Entity, page: int) -> list[Message]:
        """Look at what is there, page by page where the backend has pages."""
        admin = await env.direct.admin()
        if Feature.PEEK not in env.direct.driver().features(entity):
            return [each.message for each in await admin.peek(entity, 100)]
        shown: list[Message] = []
        after: str | None = None
        while found := await admin.peek(entity, page, after):
            assert len(found) <= page
            shown += [each.message for each in found]
            after = found[-1].position
            assert len(shown) <= 100, "the same ones again and again"
        return shown


def _looking(untouched: bool) -> str:
    return "without receiving" if untouched else "leased meanwhile"


def _finds_all(env: Environment, entity: Entity) -> bool:
    return Feature.CONSISTENT in env.direct.driver().features(entity)


def _targets(env: Environment) -> list[Entity]:
    return [env.binding.target(name) for name in ("events", "orders")]


def _sources(env: Environment) -> list[Entity]:
    return [env.binding.source(name) for name in ("audit", "strict", "counted", "bare-serial")]


def _missing(entity: Entity) -> Entity:
    """Return what is like an entity, and isn't there."""
    letters = None if entity.dead_letter is None else f"{entity.dead_letter}-missing"
    return msgspec.structs.replace(entity, address=f"{entity.address}-missing", dead_letter=letters)
