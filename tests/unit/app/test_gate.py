"""Which delivery begins next: of one key so many at a time, and in a room that is shared what has priority first."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

import polybus
from polybus import App, Delivery
from polybus.errors import ConfigError
from polybus.flow import Breaker, PerKey, RateLimit, Room
from polybus.serverless import aws_lambda
from polybus.telemetry import LeaseLostEvent, NoHooks
from polybus.testing import RunningApp, run

from .test_flow import make_binding


def messages(key: str, count: int) -> list[polybus.Message]:
    return [polybus.Message(f"{key} {number}".encode(), {"key": key}) for number in range(count)]


async def leased(t: RunningApp, source: str = "jobs") -> int:
    return (await t.bus.stats(source)).leased or 0


class Counts:
    """How many calls run, in all and of each key, and the most there ever were."""

    def __init__(self) -> None:
        self.now = Counter[str]()
        self.most = Counter[str]()
        self.done = list[bytes]()

    async def __call__(self, delivery: Delivery) -> None:
        names = ("all", delivery.attributes.get("key", ""))
        self.now.update(names)
        for name in names:
            self.most[name] = max(self.most[name], self.now[name])
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            self.now.subtract(names)
        self.done.append(delivery.body)


@pytest.mark.parametrize("most", [1, 2])
async def test_no_more_of_one_key_run_at_a_time_than_may_and_others_go_on(most: int) -> None:
    app, counts = App(), Counts()

    @app.handler("jobs", concurrency=6, per_key=PerKey(most, by="key"))
    async def work(delivery: Delivery) -> None:
        await counts(delivery)

    async with run(app, make_binding()) as t:
        sent = [message for key in ("a", "b", "c") for message in messages(key, 20)]
        await t.bus.publish_many("jobs", sent)
        await t.idle()
        assert sorted(counts.done) == sorted(message.body for message in sent)
        assert {key: counts.most[key] for key in ("a", "b", "c")} == dict.fromkeys(("a", "b", "c"), most)
        assert counts.most["all"] > most
        assert [body for body in counts.done if body.startswith(b"a")] == [
            m.body for m in messages("a", 20)
        ] or most > 1


async def test_what_has_no_key_waits_for_nobody() -> None:
    app, counts = App(), Counts()

    @app.handler("jobs", concurrency=4, per_key=PerKey(1, by=lambda message: message.attributes.get("none")))
    async def work(delivery: Delivery) -> None:
        await counts(delivery)

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", messages("a", 12))
        await t.idle()
        assert (len(counts.done), counts.most["a"]) == (12, 4)


async def test_what_waits_for_its_key_is_bounded_and_given_back_by_a_pause_as_no_attempt() -> None:
    app, go, attempts = App(), asyncio.Event(), list[int]()

    @app.handler("jobs", concurrency=4, per_key=PerKey(1, by="key", waiting=20))
    async def work(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        await go.wait()

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", messages("a", 300))
        await t.clock.settle()
        consumer = app.consumers[0]
        assert consumer.not_taking == "key"
        assert 20 <= await leased(t) <= 20 + 2 * 4
        consumer.pause("a look")
        await t.clock.settle()
        assert await leased(t) == 1
        go.set()
        consumer.resume()
        await t.idle()
        assert attempts == [1] * 300
        assert consumer.not_taking is None


async def test_a_key_that_can_not_be_told_is_a_failed_attempt() -> None:
    app = App()

    def key_of(message: polybus.Message) -> str:
        raise LookupError("no such customer")

    @app.handler("jobs", per_key=PerKey(1, by=key_of))
    async def work(body: bytes) -> None:
        raise AssertionError("it isn't called")

    async with run(app, make_binding()) as t:
        await t.publish("jobs", b"1")
        await t.advance("10h")
        [letter] = await t.dead_letters("jobs")
        assert "no such customer" in (letter.description or "")


async def test_what_waits_for_its_key_longer_than_its_lease_is_given_back_before_the_end() -> None:
    lost, app, hang = list[str](), App(hooks=[hooks := Lost()]), asyncio.Event()

    @app.handler("jobs", concurrency=2, max_lease=120, per_key=PerKey(1, by="key"))
    async def work(delivery: Delivery) -> None:
        if delivery.attempt == 1 and delivery.body == b"a 0":
            await hang.wait()
        lost.append(delivery.body.decode())

    async with run(app, make_binding()) as t:
        first, *_ = await t.bus.publish_many("jobs", messages("a", 3))
        await t.clock.settle()
        for _ in range(30):
            await t.clock.advance(5)
        await t.idle()
        assert hooks.lost == [first]
        assert sorted(lost) == ["a 0", "a 1", "a 2"]


class Lost(NoHooks):
    def __init__(self) -> None:
        self.lost: list[str] = []

    def lease_lost(self, event: LeaseLostEvent) -> None:
        self.lost.append(event.message.id)


def two(room: Room, begun: list[str], go: asyncio.Event | None = None, **options: Any) -> App:
    """Return an app with a handler each for `urgent` and `jobs`, in one room."""
    app = App()

    async def work_at_it() -> None:
        for _ in range(50):  # longer than a receive: else there is no more of it here, and room for the others
            await asyncio.sleep(0)
        if go is not None:
            await go.wait()

    @app.handler("urgent", room=room, priority=1, **options)
    async def urgent(delivery: Delivery) -> None:
        begun.append("urgent")
        await work_at_it()

    @app.handler("jobs", room=room, **options)
    async def work(delivery: Delivery) -> None:
        begun.append("jobs")
        await work_at_it()

    return app


@pytest.mark.parametrize("calls", [1, 3])
async def test_what_has_priority_is_first_and_one_call_in_ten_is_for_the_rest(calls: int) -> None:
    begun = list[str]()
    app = two(Room(calls), begun)
    async with run(app, make_binding("urgent", "jobs")) as t:
        for consumer in app.consumers:
            consumer.pause("until all waits")
        await t.bus.publish_many("urgent", [b""] * 200)
        await t.bus.publish_many("jobs", [b""] * 200)
        for consumer in app.consumers:
            consumer.resume()
        await t.idle()
        assert Counter(begun) == {"urgent": 200, "jobs": 200}
        while_both = begun[: begun.index("jobs", 150)]
        low = while_both.count("jobs")
        assert 10 <= low <= 2 * calls + len(while_both) // 10 + 1, begun
        waits = [at for at, name in enumerate(while_both) if name == "jobs"]
        assert max(b - a for a, b in pairwise(waits)) <= 10 + calls


async def test_while_what_has_priority_waits_no_more_of_the_rest_is_taken() -> None:
    begun, go = list[str](), asyncio.Event()
    app = two(Room(2), begun, go)
    async with run(app, make_binding("urgent", "jobs")) as t:
        await t.bus.publish_many("urgent", [b""] * 20)
        await t.clock.settle()
        assert (begun, await leased(t, "urgent")) == (["urgent"] * 2, 2)  # none ahead: nothing is known of its pace
        go.set()
        await t.idle()
        go.clear()
        await t.bus.publish_many("urgent", [b""] * 20)
        await t.clock.settle()
        assert await leased(t, "urgent") == 4
        await t.bus.publish_many("jobs", [b""] * 20)
        await t.clock.advance(3)
        assert await leased(t) <= 2  # what the receive that was under way had asked for
        assert app.consumers[1].not_taking == "priority"
        go.set()
        await t.idle()
        assert begun.count("jobs") == 20


async def test_those_of_one_priority_take_turns_and_never_run_more_than_the_room_has() -> None:
    app, counts, room, order = App(), Counts(), Room(3), list[str]()
    for name in ("a", "b", "c"):

        def declare(name: str) -> None:
            @app.handler(name, room=room)
            async def work(delivery: Delivery) -> None:
                order.append(name)
                await counts(delivery)

        declare(name)
    async with run(app, make_binding("a", "b", "c")) as t:
        for consumer in app.consumers:
            consumer.pause("until all waits")
        for name in ("a", "b", "c"):
            await t.bus.publish_many(name, messages(name, 60))
        for consumer in app.consumers:
            consumer.resume()
        await t.idle()
        assert (len(counts.done), counts.most["all"]) == (180, 3)
        first = Counter(order[:90])
        assert max(first.values()) - min(first.values()) <= 15, order


async def test_a_drain_gives_back_at_once_what_waits_for_its_place() -> None:
    begun, go = list[str](), asyncio.Event()
    app = two(Room(2), begun, go, per_key=PerKey(1, by="key"))
    async with run(app, make_binding("urgent", "jobs")) as t:
        await t.bus.publish_many("urgent", messages("a", 10))
        await t.clock.settle()
        assert await leased(t, "urgent") > 1
        draining = asyncio.ensure_future(t._session.drain(30))
        await t.clock.settle()
        assert await leased(t, "urgent") == 1
        go.set()
        await t.clock.settle()
        while not draining.done():
            await t.clock.advance(0.1)
        await draining
        assert (await t.bus.stats("urgent")).waiting == 9


async def test_a_limit_and_a_breaker_hold_beside_it() -> None:
    app, counts, down = App(), Counts(), True

    @app.handler(
        "jobs",
        per_key=PerKey(1, by="key"),
        rate_limit=RateLimit(per_second=1, burst=5),
        breaker=Breaker(failures=2, of=2, pause=60),
    )
    async def work(delivery: Delivery) -> None:
        if down:
            raise ConnectionError
        await counts(delivery)

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", [*messages("a", 4), *messages("b", 4)])
        await t.idle()
        assert (app.consumers[0].not_taking, await leased(t)) == ("breaker", 0)
        down = False
        await t.advance(61)
        for _ in range(60):
            await t.advance(1)
        assert len(counts.done) == 8
        assert counts.most["a"] == 1


async def test_a_running_service_is_told_how_many_calls_there_are() -> None:
    begun, go = list[str](), asyncio.Event()
    app = two(Room(1), begun, go)
    async with run(app, make_binding("urgent", "jobs")) as t:
        await t.bus.publish_many("urgent", [b""] * 20)
        await t.clock.settle()
        assert len(begun) == 1
        t._session.set_concurrency(1, 4)
        await t.clock.settle()
        assert (len(begun), t._session.concurrency(0)) == (4, 4)
        t._session.set_concurrency(0, 2)
        go.set()
        await t.idle()
        assert len(begun) == 20


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_meanwhile_all_is_handled_and_nothing_is_left_behind(seed: int) -> None:
    chance, app, done = random.Random(seed), App(), Counter[str]()
    room, running = Room(4), Counter[str]()

    def declare(source: str, priority: int) -> None:
        @app.handler(source, room=room, priority=priority, per_key=PerKey(1, by="key", waiting=5))
        async def work(delivery: Delivery) -> None:
            key = source + delivery.attributes["key"]
            running.update((key, "all"))
            assert (running[key] == 1) & (running["all"] <= 6)
            try:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if chance.random() < 0.3 and delivery.attempt < 20:
                    raise polybus.Retry(after=chance.choice([0, 1, 5]))
            finally:
                running.subtract((key, "all"))
            done[delivery.id] += 1

    declare("urgent", 3)
    declare("jobs", 0)
    sent = list[str]()
    async with run(app, make_binding("urgent", "jobs")) as t:
        for _ in range(60):
            at = chance.randrange(2)
            match chance.randrange(6):
                case 0:
                    app.consumers[at].pause("chance")
                case 1:
                    t._session.set_concurrency(at, chance.randrange(1, 7))
                case 2:
                    await t.clock.advance(chance.choice([0.1, 1, 7]))
                case _:
                    given = messages(chance.choice("abc"), chance.randrange(6))
                    sent += await t.bus.publish_many(chance.choice(["urgent", "jobs"]), given)
            if chance.random() < 0.5:
                app.consumers[at].resume()
            for _ in range(chance.randrange(8)):
                await asyncio.sleep(0)
        for consumer in app.consumers:
            consumer.resume()
        for _ in range(30):
            await t.advance(6)
        gates = t._session._gates.values()
        assert done == Counter(sent)
        assert [(gate._keys, gate._behind, list(gate.ready), gate._waiting) for gate in gates] == [({}, 0, [], {})] * 2
        assert {gate._slots.running for gate in gates} == {0}


class TestRefusals:
    def refused(self, says: str, **options: Any) -> None:
        with pytest.raises(ConfigError, match=says):

            @App().handler("jobs", **options)
            async def work(bodies: list[bytes]) -> None: ...

    def test_what_does_not_go_together(self) -> None:
        self.refused("room says how many calls", room=Room(2), concurrency=3)
        self.refused("share a room", priority=1)
        self.refused("per_key and max_batch", per_key=PerKey(1, by="key"), max_batch=5)
        self.refused("room and max_batch", room=Room(2), max_batch=5)
        self.refused("how many are taken", per_key=PerKey(1, by="key"), prefetch=50)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: PerKey(0, by="key"),
            lambda: PerKey(1),
            lambda: PerKey(1, by="key", waiting=0),
            lambda: Room(0),
            lambda: Room(1, turns=1),
        ],
    )
    def test_what_can_not_be_meant(self, make: Any) -> None:
        with pytest.raises(ValueError, match=r"at least|by="):
            make()

    async def test_where_order_is_kept_each_key_has_its_turn(self) -> None:
        app = App()

        @app.handler("jobs", per_key=PerKey(1, by="key"))
        async def work(body: bytes) -> None: ...

        with pytest.raises(ConfigError, match="is ordered"):
            async with run(app, make_binding(ordered=True)):
                pass

    def test_in_a_function_the_platform_takes(self) -> None:
        app = App()

        @app.handler("jobs", room=Room(3))
        async def work(body: bytes) -> None: ...

        # A store of its own: those in memory are found by the bus's name.
        function = aws_lambda(app, msgspec.structs.replace(make_binding(), bus="functions"), handles="jobs")
        try:
            with pytest.raises(ConfigError, match="per_key and room"):
                function({"Records": [{"eventSource": "aws:sqs"}]})
        finally:
            function.close()
