"""L: handlers of several messages, and what decides how much a handler takes, on a backend.

A class of its own beside the contract's: it is about what is built on the contract (docs/batches.md, docs/flow.md).
L1: each message of a batch has an outcome of its own. L2: in a batch, too, order is kept. L3: what no call has begun
with is given back at a drain. L4: a breaker holds nothing while it is open. L5: a rate limit leases no more than it
lets in. L6: a pause holds nothing, and ends. L7: where tenants are told apart, none waits behind all of another's.
L8: where room is short, what has priority is first. L9: no more of one key are handled at a time than may be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from polybus.app import App
from polybus.binding import Binding
from polybus.bus.delivery import Delivery
from polybus.errors import BatchFailed, DeadLetter, Retry, UnsupportedFeature
from polybus.feature import Feature
from polybus.flow import Breaker, PerKey, RateLimit, Room
from polybus.message import Message
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment, Peer
from polybus.testing.topology import fair_alone

__all__ = ["Flow"]

FAIRNESS = "fairness between tenants"
NOISY = 32
QUIET = ("among", "zero", "zone")  # before the noisy one and after it, were they sorted
# How many of others may come before three quiet ones: the one that was taken already, and one of each in its turn.
TURN = 3


@contextlib.asynccontextmanager
async def running(env: Environment, app: App) -> AsyncIterator[Peer]:
    """Run an app on a bus of its own; at the end time passes for its drain."""
    async with env.connect() as peer, contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(app.running(bus=peer.bus))
        try:
            yield peer
        finally:
            await env.hasten(session.drain(0.0))


def telling_apart(binding: Binding, source: str, by: str) -> Binding:
    """Return the binding with a queue whose messages are told apart by an attribute."""
    queue = msgspec.structs.replace(binding.queues[source], fairness_key=by)
    return msgspec.structs.replace(binding, queues={**binding.queues, source: queue})


async def refuses_fairness(env: Environment) -> None:
    """Tenants that can't be told apart are refused, by `check` and before anything is sent: never one line in silence.

    So they are where order is kept, on every backend.
    """
    problems = env.rig.check(fair_alone())
    assert any("fair.fairness_key" in problem for problem in problems), problems
    with pytest.raises(UnsupportedFeature, match=r"tasks\.fairness_key"):
        async with env.connect(binding=telling_apart(env.binding, "tasks", "tenant")):
            pass


class Flow(Suite):
    """L1 to L9; no test lets a lease end, so that what isn't given back isn't seen again."""

    async def test_L1_each_message_of_a_batch_has_an_outcome_of_its_own(self, env: Environment) -> None:
        app, seen, failing = App(), list[str](), set[str]()

        @app.handler("tasks", max_batch=5, max_wait=0.2)
        async def handle(deliveries: list[Delivery]) -> None:
            seen.extend(delivery.id for delivery in deliveries)
            if failed := {delivery: DeadLetter("no good") for delivery in deliveries if delivery.id in failing}:
                raise BatchFailed(failed)

        identities = await env.bus.publish_many("tasks", [b"1", b"2", b"3", b"4"])
        failing.add(identities[1])
        async with running(env, app) as peer:
            await env.hasten(env.until(lambda: set(identities) <= set(seen), "all four"))
            await env.until(lambda: not peer.faults.in_hand, "all settled")
        assert (await env.letter("tasks", identities[1])).reason == "no good"
        assert await env.letters("tasks", identities[0]) == []
        async with env.listen("tasks") as others:
            await env.fence("tasks", others)
            assert not any(others.count(identity) for identity in identities)

    @needs_order
    async def test_L2_in_a_batch_too_the_later_ones_of_a_key_wait_for_a_failed_one(self, env: Environment) -> None:
        app, begun, done = App(), list[bytes](), list[bytes]()
        key, other = env.name("key"), env.name("key")

        @app.handler("serial", max_batch=3, max_wait=0.2)
        async def handle(deliveries: list[Delivery]) -> None:
            failed = {}
            for delivery in deliveries:
                begun.append(delivery.body)
                if delivery.body == b"2" and begun.count(b"2") == 1:
                    failed[delivery] = Retry(after=5)
                elif delivery.ordering_key in (key, other):
                    done.append(delivery.body)
            if failed:
                raise BatchFailed(failed)

        for body in (b"1", b"2", b"3"):
            await env.bus.publish("serial", body, ordering_key=key)
        await env.bus.publish("serial", b"other", ordering_key=other)
        async with running(env, app):
            await env.hasten(env.until(lambda: len(done) >= 4, "all four"))
        assert [body for body in done if body != b"other"] == [b"1", b"2", b"3"]
        assert begun.count(b"2") == 2

    async def test_L3_a_drain_gives_back_what_its_batch_waits_with(self, env: Environment) -> None:
        app = App()

        @app.handler("tasks", max_batch=100, max_wait=300)
        async def handle(bodies: list[bytes]) -> None:
            raise AssertionError("it is not full")

        identities = await env.bus.publish_many("tasks", [b"1", b"2", b"3"])
        async with running(env, app) as peer:
            await env.until(lambda: len(peer.faults.in_hand) == 3, "all three in hand")
            draining = asyncio.create_task(app.drain(30))
            await env.until(lambda: not peer.faults.in_hand, "all given back before the grace is over")
            await env.hasten(draining)
        async with env.listen("tasks") as others:
            found = [await others.get(identity) for identity in identities]
            if Feature.ATTEMPTS in env.bus.features("tasks"):
                assert [delivery.attempt for delivery in found] == [1, 1, 1]
            for delivery in found:
                await delivery.ack()

    async def test_L4_an_open_breaker_holds_nothing_and_tries_one(self, env: Environment) -> None:
        app, begun, down = App(), list[str](), True

        @app.handler("tasks", concurrency=1, prefetch=6, breaker=Breaker(failures=2, of=2, pause=60))
        async def handle(delivery: Delivery) -> None:
            begun.append(delivery.id)
            if down:
                raise Retry(after=0)

        identities = await env.bus.publish_many("tasks", [b"1", b"2", b"3", b"4", b"5", b"6"])
        async with running(env, app) as peer:
            await env.until(lambda: app.consumers[0].not_taking == "breaker", "the breaker open")
            await env.until(lambda: not peer.faults.in_hand, "nothing in hand")
            assert len(begun) == 2
            async with env.listen("tasks") as others:
                rest = set(identities) - set(begun)
                await others.ack(rest)
                assert len(begun) == 2
            down = False
            await env.bus.publish("tasks", b"7")
            await env.hasten(env.until(lambda: len(begun) >= 3, "the one that is tried"))
            await env.hasten(env.until(lambda: not peer.faults.in_hand, "all settled"))

    async def test_L5_a_rate_limit_leases_no_more_than_it_lets_in(self, env: Environment) -> None:
        app, done = App(), list[str]()

        @app.handler("tasks", rate_limit=RateLimit(per_second=0.000_1, burst=3))
        async def handle(delivery: Delivery) -> None:
            done.append(delivery.id)

        identities = await env.bus.publish_many("tasks", [b"1", b"2", b"3", b"4", b"5"])
        async with running(env, app) as peer:
            await env.until(lambda: app.consumers[0].not_taking == "limit", "the limit reached")
            await env.until(lambda: not peer.faults.in_hand, "nothing in hand")
            assert len(done) == 3
            async with env.listen("tasks") as others:
                await others.ack(set(identities) - set(done))
            assert len(done) == 3

    async def test_L6_a_pause_holds_nothing_and_ends(self, env: Environment) -> None:
        app, begun, go = App(), list[str](), asyncio.Event()

        @app.handler("tasks", concurrency=1, prefetch=4)
        async def handle(delivery: Delivery) -> None:
            begun.append(delivery.id)
            await go.wait()

        identities = await env.bus.publish_many("tasks", [b"1", b"2", b"3", b"4"])
        async with running(env, app) as peer:
            await env.until(
                lambda: bool(begun) and len(peer.faults.in_hand) == 4, "all four in hand, and one begun with"
            )
            app.consumers[0].pause("for a while")
            await env.until(lambda: len(peer.faults.in_hand) == 1, "what is handled alone in hand")
            async with env.listen("tasks") as others:
                await others.ack(set(identities) - set(begun))
            go.set()
            await env.until(lambda: not peer.faults.in_hand, "nothing in hand")
            later = await env.bus.publish("tasks", b"5")
            app.consumers[0].resume()
            await env.hasten(env.until(lambda: later in begun, "the one after the pause"))

    async def test_L7_no_tenant_waits_behind_all_of_another(self, env: Environment) -> None:
        if Feature.FAIRNESS not in env.bus.features("tasks"):
            await refuses_fairness(env)
            env.note(FAIRNESS, "refused")
            return
        app, seen = App(), list[str]()

        @app.handler("tasks", concurrency=1, prefetch=1)
        async def handle(delivery: Delivery) -> None:
            seen.append(delivery.id)

        async with env.connect(binding=telling_apart(env.binding, "tasks", "tenant")) as peer:
            many = [Message(b"", {"tenant": "noisy"}) for _ in range(NOISY + 20)]
            noisy = await peer.bus.publish_many("tasks", many)
            # As many are held as a backend may need to see who is noisy (SQS: 30 in flight).
            async with env.listen("tasks", bus=peer.bus, prefetch=NOISY) as busy:
                await env.until(lambda: len(busy.seen) == NOISY, "what one consumer holds")
                quiet = [await peer.bus.publish("tasks", b"", attributes={"tenant": name}) for name in QUIET]
                async with app.running(bus=peer.bus) as session:
                    await env.until(lambda: len(seen) >= 20 + len(quiet), "the rest")
                    await env.hasten(session.drain(0.0))
                assert set(quiet) <= set(seen[: len(quiet) + TURN]), "the quiet ones wait for all of the noisy one's"
                await busy.ack(set(noisy) - set(seen))
        env.note(FAIRNESS, "kept")

    async def test_L8_what_has_priority_is_first_where_room_is_short(self, env: Environment) -> None:
        app, begun, room, go = App(), list[str](), Room(1), asyncio.Semaphore(1)

        async def handle(delivery: Delivery) -> None:
            begun.append(delivery.id)
            await go.acquire()

        app.handler("tasks", room=room, priority=1)(handle)
        app.handler("jobs", room=room)(handle)
        async with running(env, app) as peer:
            first = await env.bus.publish("jobs", b"")
            await env.until(lambda: begun == [first] and not peer.faults.in_hand, "the first, which tells the pace")
            low = await env.bus.publish_many("jobs", [b""] * 6)
            await env.until(lambda: len(begun) == 2, "one that keeps the room busy")
            high = await env.bus.publish_many("tasks", [b""] * 6)
            for step in range(6):

                def there() -> bool:
                    return any(each.message.id in set(high) - set(begun) for each in peer.faults.in_hand.values())

                await env.hasten(env.until(there, "what has priority waits"))
                go.release()
                await env.until(lambda step=step: len(begun) == step + 3, "the next one")  # type: ignore[misc]
            assert set(begun[2:8]) == set(high), "others went before what has priority"
            for _ in range(6):
                go.release()
            await env.hasten(env.until(lambda: set(begun) == {first, *low, *high}, "the others in the end"))
            await env.hasten(env.until(lambda: not peer.faults.in_hand, "all settled"))

    async def test_L9_no_more_of_a_key_are_handled_at_a_time_than_may_and_few_wait(self, env: Environment) -> None:
        app, begun, go, most, now = App(), list[str](), asyncio.Event(), 0, 0

        @app.handler("tasks", concurrency=2, per_key=PerKey(1, by="key", waiting=3))
        async def handle(delivery: Delivery) -> None:
            nonlocal most, now
            begun.append(delivery.id)
            now += 1
            most = max(most, now)
            await go.wait()
            await asyncio.sleep(0)
            now -= 1

        identities = await env.bus.publish_many("tasks", [Message(b"", {"key": "a"}) for _ in range(14)])
        async with running(env, app) as peer:
            await env.hasten(env.until(lambda: app.consumers[0].not_taking == "key", "as many as may wait"))
            here = {each.message.id for each in peer.faults.in_hand.values()}
            assert len(begun) == 1
            assert 4 <= len(here) <= 4 + 2 * 2, "what waits for its key isn't bounded"
            async with env.listen("tasks") as others:
                await env.hasten(others.ack(set(identities) - here))
            assert len(begun) == 1
            go.set()
            await env.hasten(env.until(lambda: not peer.faults.in_hand, "all settled"))
        assert most == 1
        assert set(begun) == here
