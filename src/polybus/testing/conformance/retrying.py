"""P5 and P7: retries end, and what is outstanding is bounded."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator

import msgspec

from polybus.bus.options import PublisherOptions
from polybus.bus.retry import RetryPolicy
from polybus.errors import Fault, FaultKind
from polybus.message import Message
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment
from polybus.testing.faults import Operation

__all__ = ["Retrying"]

UNAVAILABLE = Fault(FaultKind.UNAVAILABLE, "the way to the cloud is down")
RETRYABLE = (FaultKind.THROTTLED, FaultKind.UNAVAILABLE, FaultKind.TIMEOUT, FaultKind.INTERNAL)
FINAL = (FaultKind.DENIED, FaultKind.INVALID, FaultKind.NOT_FOUND, FaultKind.UNAUTHENTICATED, FaultKind.TOO_LARGE)

# Waits that no test run outlasts by itself: only `advance` ends them.
PATIENT = PublisherOptions(deadline=10_000.0, retry=RetryPolicy(initial=100.0, maximum=400.0))


class Retrying(Suite):
    """P5 what is retried, when and until when; P7 how much may be outstanding."""

    async def test_P5_retryable_faults_are_retried_with_the_same_id(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            for kind in RETRYABLE:
                peer.faults.fail(Operation.PUBLISH, Fault(kind, "for now"), times=1)
                identity = await env.within(peer.bus.publish("jobs", kind.value))
                assert peer.faults.sent(identity) == 2
                await (await jobs.get(identity)).ack()

    async def test_P5_a_call_that_fails_as_a_whole_is_retried(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            peer.faults.cut(Operation.PUBLISH, UNAVAILABLE, times=2)
            identities = await env.within(peer.bus.publish_many("jobs", [b"a", b"b"]))
            assert peer.faults.calls[Operation.PUBLISH] >= 3
        await jobs.ack(identities)

    async def test_P5_a_retry_whose_first_try_was_done_loses_nothing(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            peer.faults.cut(Operation.PUBLISH, UNAVAILABLE, done=True)
            identity = await env.within(peer.bus.publish("jobs", b"sent twice, perhaps"))
            assert peer.faults.sent(identity) == 2
        if not env.rig.deduplicates(env.binding.target("jobs")):
            env.expect_repeats(identity)
        await (await jobs.get(identity)).ack()
        await env.fence("jobs", jobs)

    async def test_P5_a_received_message_that_is_published_again_is_a_new_one(self, env: Environment) -> None:
        """Put back at the end of its queue, or handed on through another: a publish is a publish."""
        for target, source in (("jobs", "jobs"), ("serial", "serial"), ("events", "audit")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, b"later", attributes={"a": "b"})
            delivery = await listener.get(identity)
            again = await env.within(env.bus.publish(target, delivery.message))
            assert again != identity, "it was taken for the message that it came from"
            await delivery.ack()
            copy = await listener.get(again)
            await copy.ack()
            assert (copy.body, dict(copy.attributes)) == (b"later", {"a": "b"})

    async def test_P5_one_id_in_two_publishes_is_two_messages(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("serial", "serial"), ("events", "audit")):
            listener = await env.shared(source)
            message = Message(b"first", id=str(uuid.uuid4()))
            env.expect_repeats(message.id)
            bodies = [b"first", b"second", b"third"]
            messages = [msgspec.structs.replace(message, body=body) for body in bodies]
            assert await env.within(env.bus.publish(target, messages[0])) == message.id
            assert await env.within(env.bus.publish_many(target, messages[1:])) == [message.id] * 2
            got = []
            for _ in bodies:
                delivery = await listener.get(message.id)
                got.append(delivery.body)
                await delivery.ack()
            assert sorted(got) == sorted(bodies), f"{target}: one was swallowed"

    async def test_P5_other_faults_are_not_retried(self, env: Environment) -> None:
        async with env.connect() as peer:
            for kind in FINAL:
                before = len(peer.faults.tries)
                peer.faults.fail(Operation.PUBLISH, Fault(kind, "final"), times=1)
                fault = await env.refused(peer.bus.publish("jobs", kind.value))
                assert fault.kind is kind
                assert len(peer.faults.tries) == before + 1

    async def test_P5_backoff_grows_between_tries(self, env: Environment) -> None:
        """At least half of 100, 200, 400 and 400 seconds: the other half may be jitter."""
        least = (50, 100, 200, 200)
        jobs = await env.shared("jobs")
        async with env.connect(publisher=PATIENT) as peer:
            peer.faults.fail(Operation.PUBLISH, UNAVAILABLE, times=len(least))
            sending = asyncio.create_task(peer.bus.publish("jobs", b"later"))
            for tries, seconds in enumerate(least, 1):
                await env.until(lambda tries=tries: len(peer.faults.tries) >= tries, f"try {tries}")  # type: ignore[misc]
                last = peer.faults.tries[tries - 1].at
                await _reach(env, last + seconds - 10)
                await env.fence("jobs", jobs)  # a try that comes too early is made now
                await _reach(env, last + 2 * seconds + 10)
            await (await jobs.get(await env.within(sending))).ack()
            gaps = [after.at - before.at for before, after in itertools.pairwise(peer.faults.tries)]
        assert len(gaps) == len(least)
        assert all(gap >= seconds for gap, seconds in zip(gaps, least, strict=True)), f"tried too early: {gaps}"

    async def test_P5_backoff_waits_as_long_as_the_cloud_asks(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect(publisher=PublisherOptions(deadline=1_000.0)) as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.THROTTLED, "slow down", retry_after=200.0))
            sending = asyncio.create_task(peer.bus.publish("jobs", b"throttled"))
            await env.until(lambda: len(peer.faults.tries) == 1, "the first try")
            await env.advance(190)
            await env.fence("jobs", jobs)
            assert len(peer.faults.tries) == 1
            await env.advance(20)
            await (await jobs.get(await env.within(sending))).ack()

    async def test_P5_retries_end_at_the_deadline(self, env: Environment) -> None:
        options = PublisherOptions(deadline=300.0, retry=RetryPolicy(initial=100.0, maximum=100.0))
        async with env.connect(publisher=options) as peer:
            peer.faults.fail(Operation.PUBLISH, UNAVAILABLE, times=1_000)
            sending = asyncio.create_task(peer.bus.publish("jobs", b"never"))
            for tries in range(1, 4):
                await env.until(lambda tries=tries: len(peer.faults.tries) >= tries or sending.done(), "a try")  # type: ignore[misc]
                await env.advance(101)
            fault = await env.refused(sending)
            assert fault.kind in (FaultKind.DEADLINE, FaultKind.TIMEOUT)
            assert 3 <= len(peer.faults.tries) <= 6

    async def test_P7_outstanding_messages_are_bounded(self, env: Environment) -> None:
        taken = 0

        def endless() -> Iterator[bytes]:
            nonlocal taken
            for number in range(200):
                taken += 1
                yield b"%d" % number

        jobs = await env.shared("jobs")
        async with env.connect(publisher=PublisherOptions(max_outstanding=10)) as peer:
            gate = peer.faults.hold(Operation.PUBLISH)
            sending = asyncio.create_task(peer.bus.publish_many("jobs", endless()))
            await env.within(gate.reached.wait())
            await env.fence("jobs", jobs)
            assert not sending.done()
            assert taken <= 11, "more was taken than may be outstanding"
            gate.open()
            identities = await env.within(sending)
        assert len(set(identities)) == 200
        await jobs.ack(identities)

    async def test_P7_outstanding_bytes_are_bounded(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        size = 20_000
        async with env.connect(publisher=PublisherOptions(max_outstanding_bytes=100_000)) as peer:
            gate = peer.faults.hold(Operation.PUBLISH)
            bodies = [b"x" * size for _ in range(20)]
            sending = [asyncio.create_task(peer.bus.publish("jobs", body)) for body in bodies]
            await env.within(gate.reached.wait())
            await env.fence("jobs", jobs)
            assert not any(each.done() for each in sending)
            assert len(peer.faults.tries) * size <= 100_000
            gate.open()
            identities = await env.within(asyncio.gather(*sending))
        await jobs.ack(identities)


async def _reach(env: Environment, at: float) -> None:
    """Let time pass until the clock's `monotonic` gives `at`."""
    if (left := at - env.clock.monotonic()) > 0:
        await env.advance(left)
