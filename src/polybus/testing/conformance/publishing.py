"""P1 to P3: accepted means accepted, per message, and unchanged."""

from __future__ import annotations

import asyncio

import pytest

from polybus.errors import Fault, FaultKind, PublishFailed
from polybus.message import Message, Sent
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment
from polybus.testing.faults import Operation

__all__ = ["Publishing"]

BODIES = (
    b"",
    b" ",
    b"\x00",
    b"\n",
    bytes(range(256)),
    b"\xff\xfe not UTF-8 \xc3\x28",
    "text: grüße, 日本語, \U0001f680".encode(),
    "not legal in SQS: \x01 \x0b \ufffe \uffff".encode(),
    b'{"json": true}',
    b"<xml attribute='&amp;'>]]></xml>",
    b"aGVsbG8=",
    b"\r\n keep \t these \r\n",
    b"0123456789abcdef" * 6_400,
    bytes(range(256)) * 256,
)

VALUES = {
    "empty": "",
    "space": " ",
    "nul": "\x00",
    "control": "\x01\x02\x1b\x7f\x85",
    "lines": "one\r\ntwo\n",
    "unicode": "grüße, 日本語, \U0001f680",
    "not_a_character": "\ufffe\uffff",
    "json": '{"a": [1, "b"]}',
    "long": "long value, " * 250,
    "number": "12",
    "_under.score-dash": "name",
}


class Publishing(Suite):
    """P1 durable acceptance, P2 outcomes per message, P3 identity of bodies and attributes."""

    async def test_P1_publish_returns_the_id_of_what_is_delivered(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identity = await env.bus.publish("jobs", b"hello", attributes={"a": "b"})
        delivery = await jobs.get(identity)
        await delivery.ack()
        assert (delivery.body, dict(delivery.attributes), delivery.id) == (b"hello", {"a": "b"}, identity)
        assert delivery.message.published_at is not None

    async def test_P1_publish_returns_only_when_the_backend_has_accepted(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            gate = peer.faults.hold(Operation.PUBLISH)
            publishing = asyncio.create_task(peer.bus.publish("jobs", b"held"))
            await env.within(gate.reached.wait())
            await env.fence("jobs", jobs)
            assert not publishing.done()
            gate.open()
            await (await jobs.get(await env.within(publishing))).ack()

    async def test_P1_what_was_accepted_outlives_its_publisher(self, env: Environment) -> None:
        async with env.connect() as peer:
            queued = await peer.bus.publish("jobs", b"to a queue")
            copied = await peer.bus.publish("events", b"to a topic")
        await (await (await env.shared("jobs")).get(queued)).ack()
        await (await (await env.shared("audit")).get(copied)).ack()

    async def test_P1_closing_waits_for_what_is_being_sent(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            gate = peer.faults.hold(Operation.PUBLISH)
            publishing = asyncio.create_task(peer.bus.publish("jobs", b"on its way"))
            await env.within(gate.reached.wait())
            closing = asyncio.create_task(peer.bus.aclose())
            await env.fence("jobs", jobs)
            await env.advance(20)
            await env.fence("jobs", jobs)
            assert not closing.done(), "it is closed, and what was published isn't sent"
            gate.open()
            await env.within(closing)
            identity = await env.within(publishing)
        await (await jobs.get(identity)).ack()

    async def test_P1_publish_raises_what_the_backend_refuses(self, env: Environment) -> None:
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.DENIED, "no right to publish"))
            fault = await env.refused(peer.bus.publish("jobs", b"refused"))
            assert fault.kind is FaultKind.DENIED
            assert "no right to publish" in fault.detail

    async def test_P2_each_message_has_its_own_outcome(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.INVALID, "bad"), when=lambda each: each.body == b"1")
            outcomes = await peer.bus.publish_many("jobs", [b"0", b"1", b"2"], outcomes=True)
        first, second, third = outcomes
        assert isinstance(second, Fault)
        assert second.kind is FaultKind.INVALID
        assert isinstance(first, Sent)
        assert isinstance(third, Sent)
        assert {each.body for each in await jobs.ack([first.id, third.id])} == {b"0", b"2"}

    async def test_P2_a_failed_batch_raises_with_all_outcomes(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.INVALID, "bad"), when=lambda each: each.body == b"1")
            with pytest.raises(PublishFailed) as failed:
                await peer.bus.publish_many("jobs", [b"0", b"1", b"2"])
        outcomes = failed.value.outcomes
        assert [type(outcome) for outcome in outcomes] == [Sent, Fault, Sent]
        await jobs.ack([outcome.id for outcome in outcomes if isinstance(outcome, Sent)])

    async def test_P2_only_what_failed_is_tried_again(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        async with env.connect() as peer:
            busy = Fault(FaultKind.UNAVAILABLE, "try again")
            peer.faults.fail(Operation.PUBLISH, busy, times=2, when=lambda each: each.body == b"1")
            sending = asyncio.create_task(peer.bus.publish_many("jobs", [b"0", b"1", b"2"]))
            identities = await env.within(sending)
            assert [peer.faults.sent(identity) for identity in identities] == [1, 3, 1]
        assert sorted(each.body for each in await jobs.ack(identities)) == [b"0", b"1", b"2"]
        await env.fence("jobs", jobs)
        assert [jobs.count(identity) for identity in identities] == [1, 1, 1]

    async def test_P3_any_bytes_come_back_identical(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identities = await env.bus.publish_many("jobs", BODIES)
        bodies = {message.id: message.body for message in await jobs.ack(identities)}
        for identity, body in zip(identities, BODIES, strict=True):
            assert bodies[identity] == body

    async def test_P3_any_unicode_attributes_come_back_identical(self, env: Environment) -> None:
        """Eleven attributes and 3,000 bytes in one: more than SQS and Google carry natively."""
        for target, source in (("jobs", "jobs"), ("events", "audit")):
            listener = await env.shared(source)
            for body in (b"", b"\x00\xff", b"text"):
                identity = await env.bus.publish(target, body, attributes=VALUES)
                [message] = await listener.ack([identity])
                assert dict(message.attributes) == VALUES
                assert message.body == body

    async def test_P3_many_attributes_come_back_identical(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        attributes = {f"attribute.{number}": str(number) for number in range(120)}
        identity = await env.bus.publish("jobs", b"many", attributes=attributes)
        [message] = await jobs.ack([identity])
        assert dict(message.attributes) == attributes

    @needs_order
    async def test_P3_ordered_messages_come_back_identical(self, env: Environment) -> None:
        serial = await env.shared("serial")
        key = "!key/with:every-printable~" + env.name("k")
        identities = [await env.bus.publish("serial", body, attributes=VALUES, ordering_key=key) for body in BODIES[:5]]
        for identity, body in zip(identities, BODIES, strict=False):
            [message] = await serial.ack([identity])
            assert (message.body, message.ordering_key, dict(message.attributes)) == (body, key, VALUES)

    async def test_P3_the_content_type_says_what_the_body_is(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        bodies = [b"bytes", "text", {"json": 1}, Message(b"own", content_type="application/x-own")]
        types = ["application/octet-stream", "text/plain", "application/json", "application/x-own"]
        identities = await env.bus.publish_many("jobs", bodies)
        found = {message.id: message.content_type for message in await jobs.ack(identities)}
        assert [found[identity] for identity in identities] == types

    async def test_P3_text_stays_readable_on_the_wire(self, env: Environment) -> None:
        for body in ("grüße, 日本語", '{"order": 17}'):
            await env.bus.publish("tasks", body, attributes={"region": "eu"})
            raw, attributes = await env.within(env.rig.receive_foreign(env.binding.source("tasks")))
            assert raw == body.encode()
            assert attributes["region"] == "eu"
