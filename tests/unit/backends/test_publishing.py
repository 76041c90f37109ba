"""What is accepted, refused, and who gets it, of both embedded backends at the driver (docs/contract.md)."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from polybus.driver import Ack, Outgoing, ToDeadLetters
from polybus.embedded.rules import DEFAULT_MAX_SIZE
from polybus.errors import BackendError, Fault, FaultKind
from polybus.message import Message

from .conftest import Rig, bodies, message, take


class TestPublishing:
    async def test_what_is_published_is_received_as_it_was(self, rig: Rig) -> None:
        odd = random.Random(7).randbytes(3_000)
        sent = [
            Message(b"", {}, None, "id-1"),
            Message(b"\x00\xff\x00", {"a": "", "b": "\x00\n\t\u20ac\U0001f600", "c": " "}, None, "id-2", None, "x/y"),
            Message(odd, {"long": "x" * 70_000}, None, "id-3"),
        ]
        assert await rig.publish("jobs", *sent) == ["id-1", "id-2", "id-3"]
        received = await take(await rig.consumer("jobs"))
        assert [(r.message.id, r.message.body, dict(r.message.attributes)) for r in received] == [
            (m.id, m.body, dict(m.attributes)) for m in sent
        ]
        assert [r.message.content_type for r in received] == [None, "x/y", None]
        assert {r.message.published_at for r in received} == {rig.clock.time()}
        assert [(r.attempt, r.redelivered, r.moves, r.group) for r in received] == [(1, False, 0, None)] * 3

    async def test_a_message_without_an_id_gets_one(self, rig: Rig) -> None:
        (given,) = await rig.publish("jobs", Message(b"foreign"))
        (received,) = await take(await rig.consumer("jobs"))
        assert received.message.id == given != ""

    async def test_attributes_that_change_after_publishing_change_nothing(self, rig: Rig) -> None:
        attributes = {"region": "eu"}
        publisher = await rig.publisher("jobs")
        prepared = publisher.prepare(Outgoing(Message(b"a", attributes, None, "a")))
        assert not isinstance(prepared, Fault)
        attributes["region"] = "us"
        await publisher.publish_batch([prepared])
        (received,) = await take(await rig.consumer("jobs"))
        assert received.message.attributes == {"region": "eu"}

    async def test_each_subscription_gets_what_its_filter_passes(self, rig: Rig) -> None:
        await rig.publish(
            "orders",
            message("a", region="eu"),
            message("b", region="us"),
            message("c", region="uk", test="1"),
            message("d"),
            message("e", region="uk"),
        )
        assert bodies(await take(await rig.consumer("all"))) == [b"a", b"b", b"c", b"d", b"e"]
        assert bodies(await take(await rig.consumer("eu"))) == [b"a", b"e"]

    @pytest.mark.parametrize("size", [10, 5_000, 300_000])
    async def test_copies_are_independent(self, rig: Rig, size: int) -> None:
        await rig.publish("orders", message(b"x" * size, region="eu"), message(b"y" * size, region="eu"))
        everything, eu = await rig.consumer("all"), await rig.consumer("eu")
        first = await take(everything)
        assert await everything.settle_batch([Ack(one) for one in first]) == [None, None]
        second = await take(eu)
        assert bodies(second) == [b"x" * size, b"y" * size]
        assert await eu.settle_batch([ToDeadLetters(second[0], "why"), Ack(second[1])]) == [None, None]
        (letter,) = await take(await rig.consumer("eu", dead=True))
        assert letter.message.body == b"x" * size

    @pytest.mark.parametrize(
        ("target", "outgoing", "kind", "words"),
        [
            ("tiny", Message(b"x" * 2_049), FaultKind.TOO_LARGE, "2049 bytes"),
            ("tiny", Message(b"", {"a": "\u20ac" * 683}), FaultKind.TOO_LARGE, "2050 bytes"),
            ("jobs", Message(b"x" * (DEFAULT_MAX_SIZE - 2_047)), FaultKind.TOO_LARGE, "the limit on"),
            ("jobs", Message(b"", {"aws.x": "1"}), FaultKind.INVALID, "aws.x"),
            ("jobs", Message(b"", {"a b": "1"}), FaultKind.INVALID, "a b"),
            ("jobs", Message(b"", {"n": 1}), FaultKind.INVALID, "'n'"),  # type: ignore[dict-item]
            ("jobs", Message(b"", {"n": "\ud800"}), FaultKind.INVALID, "'n'"),
            ("jobs", Message(b"", {}, "key"), FaultKind.INVALID, "not ordered"),
            ("lines", Message(b""), FaultKind.INVALID, "no ordering key"),
            ("lines", Message(b"", {}, "a key"), FaultKind.INVALID, "without spaces"),
            ("lines", Outgoing(Message(b"", {}, "key"), delay=61), FaultKind.INVALID, "max_delay"),
            ("jobs", Outgoing(Message(b""), delay=901), FaultKind.INVALID, "max_delay"),
            ("tiny", Outgoing(Message(b""), delay=1), FaultKind.INVALID, "max_delay"),
        ],
    )
    async def test_what_can_not_be_carried_is_refused(
        self, rig: Rig, target: str, outgoing: Any, kind: FaultKind, words: str
    ) -> None:
        fault = await rig.refused(target, outgoing)
        assert fault.kind is kind
        assert words in fault.detail
        assert target in fault.detail

    async def test_the_largest_message_fits(self, rig: Rig) -> None:
        await rig.publish("tiny", Message(b"x" * 2_000, {"name": "v" * 44}, None, "id"))
        assert len(bodies(await take(await rig.consumer("tiny")))[0]) == 2_000

    async def test_a_repeated_publish_is_accepted_once(self, rig: Rig) -> None:
        again = message("once")
        assert await rig.publish("orders", again) == await rig.publish("orders", again) == [again.id]
        assert bodies(await take(await rig.consumer("all"))) == [b"once"]
        await rig.clock.advance(1_000)
        await rig.publish("orders", again)
        assert len(await take(await rig.consumer("eu"))) == 0
        await rig.clock.advance(601)
        await rig.publish("orders", again)
        assert bodies(await take(await rig.consumer("all"))) == [b"once"] * 3

    async def test_an_address_that_is_not_there_is_not_found(self, rig: Rig) -> None:
        elsewhere = msgspec.structs.replace(rig.entity("jobs"), address="nowhere")
        with pytest.raises(BackendError) as caught:
            await rig.driver.open_consumer(elsewhere, prefetch=1, concurrency=1)
        assert rig.driver.fault(caught.value).kind is FaultKind.NOT_FOUND
