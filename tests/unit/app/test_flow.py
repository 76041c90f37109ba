"""Rate limits and breakers of handlers: what they hold up stays with the backend, and costs no attempt."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

import polybus
import polybus.telemetry
from polybus import App, Binding, Delivery, Entity
from polybus.binding import Kind
from polybus.flow import Breaker, RateLimit
from polybus.prometheus import PrometheusHooks
from polybus.serverless import aws_lambda
from polybus.testing import RunningApp, run


def make_binding(*names: str, **changes: Any) -> Binding:
    return Binding(
        backend="memory",
        bus="shop",
        queues={
            name: Entity(
                kind=Kind.QUEUE,
                name=name,
                address=name,
                dead_letter=f"{name}!dead",
                lease=30.0,
                max_attempts=50,
                **changes,
            )
            for name in names or ("jobs",)
        },
    )


async def left(t: RunningApp) -> tuple[int, int, int]:
    """Return how many messages wait, are leased, and are put off."""
    stats = await t.bus.stats("jobs")
    return stats.waiting or 0, stats.leased or 0, stats.delayed or 0


@dataclasses.dataclass
class World:
    """What a handler needs, which may be down."""

    down: bool = False
    calls: list[tuple[float, int, bool]] = dataclasses.field(default_factory=list)

    async def __call__(self, t: RunningApp, delivery: Delivery) -> None:
        self.calls.append((t.clock.monotonic(), delivery.attempt, self.down))
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionError("the world is down")

    @property
    def failed(self) -> int:
        return sum(down for _, _, down in self.calls)


async def test_a_rate_limit_takes_its_burst_and_then_so_many_each_second_and_leases_no_more() -> None:
    app, done = App(), list[float]()

    @app.handler("jobs", rate_limit=RateLimit(per_second=2, burst=4))
    async def work(body: bytes) -> None:
        done.append(t.clock.monotonic())

    async with run(app, make_binding()) as t:
        began = t.clock.monotonic()
        await t.bus.publish_many("jobs", [b""] * 20)
        await t.idle()
        assert len(done) == 4
        assert await left(t) == (16, 0, 0)  # nothing of it is leased
        assert (app.consumers[0].not_taking, app.problem) == ("limit", None)
        for second in range(1, 8):
            await t.advance(1)
            assert len(done) == 4 + 2 * second
        await t.advance(10)
        assert len(done) == 20
    assert all(len([at for at in done if start <= at - began < start + 1]) <= 6 for start in range(20))


async def test_a_rate_limit_of_less_than_one_a_second() -> None:
    app, done = App(), list[bytes]()

    @app.handler("jobs", rate_limit=RateLimit(per_second=0.1))
    async def work(body: bytes) -> None:
        done.append(body)

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", [b"1", b"2", b"3"])
        await t.idle()
        assert done == [b"1"]
        await t.advance(9)
        assert done == [b"1"]
        await t.advance(1)
        assert done == [b"1", b"2"]
        await t.advance(10)
        assert done == [b"1", b"2", b"3"]


async def test_one_limit_for_two_handlers_counts_what_both_take() -> None:
    app, done, limit = App(), list[str](), RateLimit(per_second=1, burst=3)

    @app.handler("jobs", rate_limit=limit)
    async def work(body: bytes, delivery: Delivery) -> None:
        done.append(delivery.source)

    app.handler("mails", rate_limit=limit)(work)
    async with run(app, make_binding("jobs", "mails")) as t:
        for target in ("jobs", "mails"):
            await t.bus.publish_many(target, [b""] * 5)
        await t.idle()
        for _ in range(30):
            await t.advance(1)
        assert len(done) == 10
        assert {"jobs", "mails"} == set(done)


async def test_a_limit_takes_batches_and_a_drain_does_not_wait_for_it() -> None:
    app, sizes = App(), list[int]()

    @app.handler("jobs", max_batch=5, max_wait=0, rate_limit=RateLimit(per_second=0.001, burst=5))
    async def work(bodies: list[bytes]) -> None:
        sizes.append(len(bodies))

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", [b""] * 7)
        await t.idle()
        assert sum(sizes) == 5
        before = t.clock.monotonic()
        await app.drain(30)
        assert t.clock.monotonic() == before
        assert await left(t) == (2, 0, 0)


async def test_the_breaker_opens_gives_back_tries_one_message_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    app, world = App(), World()

    @app.handler("jobs", concurrency=2, prefetch=10, breaker=Breaker(failures=3, of=4, pause="30s"))
    async def work(delivery: Delivery) -> None:
        await world(t, delivery)

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", [b""] * 3)
        await t.idle()
        assert (world.failed, app.problem) == (0, None)
        world.down = True
        await t.bus.publish_many("jobs", [b""] * 20)
        await t.idle()
        failed = world.failed
        assert 3 <= failed <= 4  # one more may have begun beside the last
        waiting, leased, delayed = await left(t)
        assert (waiting + delayed, leased) == (20, 0)
        assert app.consumers[0].not_taking == "breaker"
        assert "jobs: the breaker is open, for 30 s at a time: 3 of the latest 4 attempts failed" in (app.problem or "")
        assert "ConnectionError: the world is down" in (app.problem or "")
        await t.advance(29)
        assert world.failed == failed
        await t.advance(1)
        assert world.failed == failed + 1  # the one that was tried
        await t.advance(30)
        assert world.failed == failed + 2
        world.down = False
        await t.advance(30)
        for _ in range(5):
            await t.advance(60)
        assert await left(t) == (0, 0, 0)
        assert (app.problem, app.consumers[0].not_taking) == (None, None)
        assert await t.dead_letters("jobs") == []
        # What was given back unbegun counts no attempt: each failure is one, and nothing else is.
        assert sum(attempt > 1 for _, attempt, _ in world.calls) == world.failed
    assert "the breaker opens, and nothing is taken for 30 s" in caplog.text
    assert "the breaker has one message tried" in caplog.text
    assert "the breaker closes" in caplog.text


async def test_what_is_about_one_message_alone_opens_no_breaker() -> None:
    app, calls = App(), list[bytes]()

    @app.handler("jobs", breaker=Breaker(failures=1, of=1))
    async def work(body: dict[str, int], delivery: Delivery) -> None:
        calls.append(delivery.body)
        raise polybus.DeadLetter("no good")

    async with run(app, make_binding()) as t:
        await t.publish("jobs", "no dict")
        for number in range(5):
            await t.publish("jobs", {"number": number})
        await t.idle()
        assert len(calls) == 5
        assert app.problem is None
        assert len(await t.dead_letters("jobs")) == 6


async def test_a_retry_that_is_asked_for_counts_as_a_failure() -> None:
    app = App()

    @app.handler("jobs", breaker=Breaker(failures=2, of=2))
    async def work(body: bytes) -> None:
        raise polybus.Retry(after=1)

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", [b""] * 2)
        await t.idle()
        assert "the breaker is open" in (app.problem or "")


async def test_the_breaker_counts_each_message_of_a_batch_and_gives_back_what_is_gathered() -> None:
    app, sizes = App(), list[int]()

    @app.handler("jobs", max_batch=4, max_wait=5, breaker=Breaker(failures=4, of=10, pause=30))
    async def work(bodies: list[bytes], deliveries: list[Delivery]) -> None:
        sizes.append(len(bodies))
        if len(bodies) == 4:
            raise ConnectionError

    async with run(app, make_binding()) as t:
        await t.bus.publish_many("jobs", [b""] * 6)
        await t.idle()
        assert sizes == [4]
        waiting, leased, delayed = await left(t)
        assert (waiting + delayed, leased) == (6, 0)
        await t.advance(36)
        assert sizes[1] == 1  # the one that is tried, after max_wait
        for _ in range(5):
            await t.advance(30)
        assert await left(t) == (0, 0, 0)


@pytest.mark.parametrize("ordered", [False, True])
async def test_nothing_is_lost_and_no_lease_runs_out_while_the_world_goes_up_and_down(ordered: bool) -> None:
    app, world, lost = App(), World(), list[str]()
    handled: dict[str | None, list[int]] = {}

    class Watch(polybus.telemetry.NoHooks):
        def lease_lost(self, event: polybus.telemetry.LeaseLostEvent) -> None:
            lost.append(event.message.id)

    app = App(hooks=[Watch()])

    @app.handler(
        "jobs",
        concurrency=3,
        breaker=Breaker(failures=3, of=5, pause=40),
        rate_limit=RateLimit(per_second=5, burst=10),
    )
    async def work(number: int, delivery: Delivery) -> None:
        await t.clock.sleep(0.5)
        await world(t, delivery)
        handled.setdefault(delivery.ordering_key, []).append(number)

    async with run(app, make_binding(ordered=ordered)) as t:
        for number in range(60):
            await t.publish("jobs", number, ordering_key=f"key{number % 4}" if ordered else None)
        for step in range(1200):
            if step % 60 == 0:
                world.down = step < 500 and not world.down
            await t.clock.advance(1)
        await t.idle()
        assert sorted(number for numbers in handled.values() for number in numbers) == list(range(60))
        if ordered:
            assert all(numbers == sorted(numbers) for numbers in handled.values())
        assert lost == []
        assert await left(t) == (0, 0, 0)
        world.down = True
        for number in range(5):
            await t.publish("jobs", number, ordering_key="key" if ordered else None)
        await t.clock.advance(2)
        before = t.clock.monotonic()
        draining = asyncio.ensure_future(app.drain(1))
        while not draining.done():
            await t.clock.advance(0.5)
        assert t.clock.monotonic() - before <= 11
        assert (await left(t))[1] == 0


async def test_metrics_say_why_a_consumer_takes_nothing() -> None:
    hooks = PrometheusHooks()
    app, world = App(hooks=[hooks]), World(down=True)

    @app.handler("jobs", breaker=Breaker(failures=1, of=1))
    async def work(delivery: Delivery) -> None:
        await world(t, delivery)

    @app.handler("mails", rate_limit=RateLimit(per_second=1))
    async def mail(body: bytes) -> None: ...

    gate = asyncio.Event()

    @app.handler("busy", concurrency=1, prefetch=1)
    async def busy(body: bytes) -> None:
        await gate.wait()

    def told() -> set[str]:
        lines = hooks.text().splitlines()
        return {line for line in lines if line.startswith("polybus_consumers_not_taking") and line.endswith(" 1")}

    def line(source: str, reason: str) -> str:
        labels = f'messaging_destination_name="{source}",polybus_reason="{reason}"'
        return f"polybus_consumers_not_taking{{{labels}}} 1"

    async with run(app, make_binding("jobs", "mails", "busy")) as t:
        for target in ("jobs", "mails", "busy"):
            await t.bus.publish_many(target, [b""] * 3)
        await t.clock.settle()
        await t.clock.settle()
        assert told() == {line("jobs", "breaker"), line("mails", "limit"), line("busy", "room")}
        gate.set()
        app.consumers[2].pause("somebody asked for it")
        await t.clock.settle()
        assert line("busy", "pause") in told()
        assert "busy: somebody asked for it" in (app.problem or "")
        app.consumers[2].resume()
        await t.idle()
        assert not any('"busy"' in each for each in told())
    assert told() == set()


def test_in_a_function_what_decides_how_much_is_taken_is_refused() -> None:
    app = App()

    @app.handler("jobs", breaker=Breaker())
    async def work(body: bytes) -> None: ...

    # A store of its own: those in memory are found by the bus's name.
    function = aws_lambda(app, msgspec.structs.replace(make_binding(), bus="functions"), handles="jobs")
    try:
        with pytest.raises(polybus.ConfigError, match="in a function the platform does"):
            function({"Records": [{"eventSource": "aws:sqs"}]})
    finally:
        function.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Breaker(failures=0), "at least one failure"),
        (lambda: Breaker(failures=6, of=5), "no more than the attempts"),
        (lambda: Breaker(pause=0), "pause=0"),
        (lambda: RateLimit(per_second=0), "per_second=0"),
        (lambda: RateLimit(per_second=1, burst=0), "burst=0"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
