"""P4: what is over a limit fails before any network call."""

from __future__ import annotations

from typing import Any

import msgspec

from polybus.errors import Fault, FaultKind, PolybusError, PublishFailed
from polybus.testing import matrix
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment, Peer
from polybus.testing.faults import Operation

__all__ = ["Limits"]

BAD_NAMES = ("", "1st", "with space", "a..b", "end.", "grüße", "aws.x", "Amazon-x", "googclient", "POLYBUS", "n" * 129)
BAD_KEYS = ("", "with space", "ümlaut", "tab\there", "k" * 129)


async def refusal(env: Environment, peer: Peer, target: str, body: bytes, **more: Any) -> str:
    """Publish what must be refused; return what the error says, after checking that no call was made for it."""
    before = peer.faults.calls[Operation.PUBLISH]
    try:
        await env.within(peer.bus.publish(target, body, **more))
    except PublishFailed as error:
        [fault] = error.faults
        assert fault.kind in (FaultKind.TOO_LARGE, FaultKind.INVALID), fault
        text = fault.detail
    except (PolybusError, TypeError, ValueError) as error:
        text = str(error)
    else:
        raise AssertionError(f"{target}: {len(body)} bytes, {list(more)}: accepted")
    assert peer.faults.calls[Operation.PUBLISH] == before, "it was sent"
    return text


class Limits(Suite):
    """P4 limits are known here, and name themselves and the cloud."""

    async def test_P4_a_body_over_the_limit_is_refused_before_any_call(self, env: Environment) -> None:
        async with env.connect() as peer:
            for target in ("jobs", "events"):
                limit = env.rig.limit_of(env.binding.target(target))
                text = await refusal(env, peer, target, b"x" * limit)
                assert str(limit) in text.replace(",", ""), text
                assert env.binding.backend in text, text
                assert target in text, text

    async def test_P4_room_for_dead_lettering_is_kept_free(self, env: Environment) -> None:
        async with env.connect() as peer:
            await refusal(env, peer, "jobs", b"x" * (env.rig.max_message - 1_500))
            identity = await env.within(peer.bus.publish("jobs", b"x" * (env.rig.max_message - 8 * 1024)))
        jobs = await env.shared("jobs")
        delivery = await jobs.get(identity)
        await delivery.dead_letter("r" * 128, "d" * 1024)
        letters = await env.letters("jobs", identity)
        assert [len(letter.message.body) for letter in letters] == [env.rig.max_message - 8 * 1024]
        await env.bus.dead_letters("jobs").purge()
        matrix.note_size(env.rig.name, env.rig.max_message)

    async def test_P4_attributes_count_towards_the_size(self, env: Environment) -> None:
        many = {f"attribute.{number}": "v" * 1_000 for number in range(env.rig.max_message // 1_000 + 1)}
        async with env.connect() as peer:
            await refusal(env, peer, "jobs", b"", attributes=many)

    async def test_P4_one_message_over_the_limit_fails_alone(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        bodies = [b"small", b"x" * env.rig.max_message, b"small too"]
        first, second, third = await env.bus.publish_many("jobs", bodies, outcomes=True)
        assert isinstance(second, Fault)
        assert second.kind is FaultKind.TOO_LARGE
        assert not isinstance(first, Fault)
        assert not isinstance(third, Fault)
        await jobs.ack([first.id, third.id])

    async def test_P4_attribute_names_that_a_cloud_refuses_are_refused_everywhere(self, env: Environment) -> None:
        async with env.connect() as peer:
            for name in BAD_NAMES:
                assert repr(name)[:20] in await refusal(env, peer, "jobs", b"", attributes={name: "v"})

    async def test_P4_attribute_values_are_text(self, env: Environment) -> None:
        async with env.connect() as peer:
            for value in (1, None, b"bytes", "\ud800"):
                assert "wrong" in await refusal(env, peer, "jobs", b"", attributes={"wrong": value})

    async def test_P4_ordering_keys_that_a_cloud_refuses_are_refused_everywhere(self, env: Environment) -> None:
        async with env.connect() as peer:
            for key in BAD_KEYS:
                assert "ordering key" in await refusal(env, peer, "serial", b"", ordering_key=key)

    async def test_P4_limits_are_those_of_the_target(self, env: Environment) -> None:
        """A topic that declares less than its cloud allows holds its publishers to it."""
        small = msgspec.structs.replace(env.binding.queues["jobs"], max_size=8192)
        binding = msgspec.structs.replace(env.binding, queues={**env.binding.queues, "jobs": small})
        async with env.connect(binding=binding) as peer:
            assert "8192" in (await refusal(env, peer, "jobs", b"x" * 8192)).replace(",", "")
