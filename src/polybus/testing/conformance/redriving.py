"""D13: dead letters go back to where they came from."""

from __future__ import annotations

import msgspec
import pytest

from polybus.errors import BackendError, Fault, FaultKind
from polybus.message import Message
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment
from polybus.testing.faults import Operation

__all__ = ["Redriving"]

WHERE = (("jobs", "jobs"), ("serial", "serial"), ("events", "audit"), ("orders", "strict"), ("orders", "loose"))


class Redriving(Suite):
    """D13 to their own source and no other; at least once."""

    async def test_D13_a_letter_comes_back_as_it_was(self, env: Environment) -> None:
        for target, source in WHERE:
            listener = await env.shared(source)
            identity = await self._bury(env, target, source)
            assert await self._redrive(env, source, identity) == 1
            again = await listener.get(identity)
            await again.ack()
            assert (again.body, dict(again.attributes)) == (b"buried", {"region": "eu"})
            assert again.redelivered
            assert not await env.letters(source, identity)

    async def test_D13_no_other_subscription_sees_it(self, env: Environment) -> None:
        audit, billing = await env.shared("audit"), await env.shared("billing")
        identity = await self._bury(env, "events", "audit")
        await (await billing.get(identity)).ack()
        await self._redrive(env, "audit", identity)
        await (await audit.get(identity)).ack()
        await env.fence("events", billing)
        assert billing.count(identity) == 1

    async def test_D13_a_filter_does_not_keep_a_letter_out(self, env: Environment) -> None:
        """It passed the filter once; an edit may have changed what the filter looks at."""
        europe, tested = await env.shared("eu"), await env.shared("tested")
        identity = await env.bus.publish("filtered", b"buried", attributes={"region": "eu"})
        await (await europe.get(identity)).dead_letter("Buried")
        await env.letter("eu", identity)

        def edit(message: Message) -> Message:
            return msgspec.structs.replace(message, attributes={"region": "nowhere", "test": "yes"})

        assert await self._redrive(env, "eu", identity, edit=edit) == 1
        again = await europe.get(identity)
        await again.ack()
        assert dict(again.attributes) == {"region": "nowhere", "test": "yes"}
        marker = await env.bus.publish("filtered", b"marker", attributes={"test": "yes"})
        await (await tested.get(marker)).ack()
        assert tested.count(identity) == 0

    async def test_D13_a_letter_can_be_edited_and_keeps_its_id(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identity = await self._bury(env, "jobs", "jobs")
        edited = await self._redrive(
            env, "jobs", identity, edit=lambda message: msgspec.structs.replace(message, body=b"mended", id="")
        )
        assert edited == 1
        again = await jobs.get(identity)
        await again.ack()
        assert again.body == b"mended"

    async def test_D13_it_can_be_buried_and_redriven_again_and_again(self, env: Environment) -> None:
        """Within any window in which a cloud drops duplicates: each move has a dedup id of its own."""
        for target, source in (("jobs", "jobs"), ("serial", "serial"), ("orders", "strict")):
            listener = await env.shared(source)
            identity = await self._bury(env, target, source)
            for _ in range(2):
                assert await self._redrive(env, source, identity) == 1
                await (await listener.get(identity)).dead_letter("Again")
                assert (await env.letter(source, identity)).reason == "Again"
            assert await self._redrive(env, source, identity) == 1
            await (await listener.get(identity)).ack()

    async def test_D13_limit_and_progress_count_letters(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identities = {await self._bury(env, "jobs", "jobs") for _ in range(3)}
        seen: list[int] = []
        letters = env.bus.dead_letters("jobs")
        done = await env.hasten(
            letters.redrive(limit=2, match=lambda message: message.id in identities, progress=seen.append)
        )
        assert done == 2
        assert seen[-1] == 2
        done = await env.hasten(letters.redrive(match=lambda message: message.id in identities))
        assert done == 1
        await jobs.ack(identities)

    async def test_D13_what_is_not_chosen_stays(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        chosen, left = await self._bury(env, "jobs", "jobs"), await self._bury(env, "jobs", "jobs")
        assert await self._redrive(env, "jobs", chosen) == 1
        await (await jobs.get(chosen)).ack()
        letter = await env.letter("jobs", left)
        assert letter.reason == "Buried"
        await env.fence("jobs", jobs)
        assert jobs.count(left) == 1, "what wasn't chosen was put back"
        assert await self._redrive(env, "jobs", left) == 1
        await (await jobs.get(left)).ack()

    async def test_D13_what_cannot_be_put_back_stays(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identity = await self._bury(env, "jobs", "jobs")
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.DENIED, "no right to return"))
            with pytest.raises(BackendError, match="no right to return"):
                await env.hasten(peer.bus.dead_letters("jobs").redrive(match=lambda each: each.id == identity))
        await env.letter("jobs", identity)
        assert await self._redrive(env, "jobs", identity) == 1
        await (await jobs.get(identity)).ack()

    async def test_D13_a_crash_between_return_and_ack_loses_none(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identity = await self._bury(env, "jobs", "jobs")
        async with env.connect() as peer:
            peer.faults.fail(Operation.SETTLE, Fault(FaultKind.LEASE_LOST, "crashed"), times=100)
            assert await env.hasten(peer.bus.dead_letters("jobs").redrive(match=lambda each: each.id == identity)) == 1
        await (await jobs.get(identity)).ack()
        env.expect_repeats(identity)  # it is put back a second time
        await env.advance(env.binding.source("jobs").lease + 1)
        await env.letter("jobs", identity)
        assert await self._redrive(env, "jobs", identity) == 1
        await env.advance(1)

    async def _bury(self, env: Environment, target: str, source: str) -> str:
        listener = await env.shared(source)
        identity = await env.bus.publish(target, b"buried", attributes={"region": "eu"})
        await (await listener.get(identity)).dead_letter("Buried")
        await env.letter(source, identity)
        return identity

    async def _redrive(self, env: Environment, source: str, identity: str, **options: object) -> int:
        letters = env.bus.dead_letters(source)
        return await env.hasten(letters.redrive(match=lambda message: message.id == identity, **options))  # type: ignore[arg-type]
