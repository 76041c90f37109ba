"""What Pub/Sub carries: docs/wire.md, held to byte by byte, and that nothing changes on the way."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from google.pubsub_v1 import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polybus.binding import Entity, Kind
from polybus.clouds.gcp.driver.wire import Wire, decode, encode, fill, why
from polybus.driver import Outgoing, Prepared
from polybus.errors import Fault, FaultKind
from polybus.message import Message

TOPIC = Entity(kind=Kind.TOPIC, name="orders", address="projects/p/topics/orders", filter_attributes=("region",))
LEDGER = Entity(kind=Kind.TOPIC, name="ledger", address="projects/p/topics/ledger", ordered=True)
BILLING = Entity(
    kind=Kind.SUBSCRIPTION,
    name="billing",
    address="projects/p/subscriptions/billing",
    dead_letter="projects/p/subscriptions/billing-dead-letters",
    ordered=True,
)
ID = "0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77"

# Whatever protobuf takes for a string.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=1_200)
NAMES = st.from_regex(r"[b-fB-F_][A-Za-z0-9_-]{0,20}", fullmatch=True)


def sent(message: Message, target: Entity = TOPIC, moves: int = 0, **more: Any) -> Prepared[Wire]:
    prepared = encode(Outgoing(message, moves=moves), target, **more)
    assert isinstance(prepared, Prepared), prepared
    return prepared


def refused(message: Message, target: Entity = TOPIC) -> Fault:
    fault = encode(Outgoing(message), target)
    assert isinstance(fault, Fault)
    return fault


def on_the_wire(prepared: Prepared[Wire]) -> Any:
    """The PubsubMessage of a request, as a subscription gets it."""
    request = types.PublishRequest.pb()()
    fill(request.messages, [prepared.wire])
    again = types.PublishRequest.pb().FromString(request.SerializeToString())
    [raw] = again.messages
    raw.message_id, raw.publish_time.seconds = "17", 1_763_830_000
    return raw


def reserved(prepared: Prepared[Wire]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(prepared.wire.attributes["polybus"])
    return found


@pytest.mark.parametrize("body", [b"", b'{"total": 9.5}', b"\x00\xff", "Zoë".encode()])
def test_a_body_travels_as_it_is(body: bytes) -> None:
    prepared = sent(Message(body, {"region": "eu", "empty": ""}, None, ID, None, "application/json"))
    raw = on_the_wire(prepared)
    assert raw.data == body
    assert dict(raw.attributes) == {
        "region": "eu",
        "empty": "",
        "polybus": json.dumps(reserved(prepared)).replace(" ", ""),
    }
    assert reserved(prepared) == {"i": ID, "c": "j"}
    assert raw.ordering_key == ""


def test_an_ordering_key_travels_as_pub_sub_s_own() -> None:
    raw = on_the_wire(sent(Message(b"", {}, "c7", ID), LEDGER))
    assert raw.ordering_key == "c7"
    assert decode(raw, BILLING)[0].ordering_key == "c7"


def test_values_that_pub_sub_refuses_are_folded() -> None:
    attributes = {"fits": "é" * 512, "long": "é" * 513}
    prepared = sent(Message(b"", attributes, None, ID))
    raw = on_the_wire(prepared)
    assert set(raw.attributes) == {"fits", "polybus", "polybus.1", "polybus.2", "polybus.3"}
    assert all(len(value.encode()) <= 1_024 for value in raw.attributes.values())
    message, _ = decode(raw, BILLING)
    assert dict(message.attributes) == attributes


def test_more_attributes_than_pub_sub_has_are_folded() -> None:
    attributes = {f"attribute{number}": str(number) for number in range(150)}
    raw = on_the_wire(sent(Message(b"", attributes, None, ID)))
    assert len(raw.attributes) <= 90  # 100, less room for dead-lettering and redrive
    assert dict(decode(raw, BILLING)[0].attributes) == attributes


def test_what_is_more_than_there_is_room_for_is_refused() -> None:
    fault = refused(Message(b"", {f"attribute{number}": "x" * 1_024 for number in range(120)}, None, ID))
    assert fault.kind is FaultKind.INVALID
    assert "120 attributes" in fault.detail
    assert "room for 91" in fault.detail


def test_what_a_filter_names_must_travel_natively() -> None:
    fault = refused(Message(b"", {"region": "x" * 1_025}, None, ID))
    assert fault.kind is FaultKind.INVALID
    assert "'region' is in a filter" in fault.detail
    crowded = {**{f"attribute{number}": "x" for number in range(80)}, "region": "eu"}
    assert on_the_wire(sent(Message(b"", crowded, None, ID))).attributes["region"] == "eu"


def test_the_size_is_never_less_than_what_is_sent() -> None:
    attributes = {"region": "eu", "long": "x" * 5_000, **{f"attribute{number}": "é" * 300 for number in range(20)}}
    prepared = sent(Message(b"x" * 100_000, attributes, "key", ID), LEDGER, to="1a2b3c4d")
    request = types.PublishRequest.pb()()
    fill(request.messages, [prepared.wire])
    assert request.ByteSize() <= prepared.size <= request.ByteSize() + 20 * len(prepared.wire.attributes)


def test_what_is_over_the_limit_is_refused() -> None:
    fault = refused(Message(b"x" * 10_000_000, {}, None, ID))
    assert fault.kind is FaultKind.TOO_LARGE
    assert "10000000" in fault.detail


def test_a_letter_keeps_all_but_its_place_in_the_order() -> None:
    message = Message(b"x", {"a": "b"}, "c7", ID, 1_763_800_000.5, "text/plain")
    prepared = sent(message, BILLING.dead_letters, 1, reason="Unpayable", description="ümlaut")
    raw = on_the_wire(prepared)
    assert raw.ordering_key == ""
    letter, envelope = decode(raw, BILLING.dead_letters)
    assert letter == message
    assert (envelope.reason, envelope.description, envelope.moves) == ("Unpayable", "ümlaut", 1)
    assert why(envelope, BILLING.dead_letters) == "Unpayable"


def test_any_message_can_become_a_letter() -> None:
    """The room that `encode` keeps is enough for the longest reason, whatever the attributes."""
    attributes = {f"attribute{number:02}": "é" * 1_000 for number in range(200)}
    while isinstance(prepared := encode(Outgoing(Message(b"", attributes, "c7", ID)), LEDGER), Fault):
        attributes.popitem()
    message, _ = decode(on_the_wire(prepared), BILLING)
    letter = sent(message, BILLING.dead_letters, 1, reason="r" * 128, description="\x00" * 1_024)
    assert len(letter.wire.attributes) + 5 <= 100
    assert dict(decode(on_the_wire(letter), BILLING.dead_letters)[0].attributes) == attributes


def test_what_pub_sub_itself_forwarded_is_a_letter_too() -> None:
    raw = on_the_wire(sent(Message(b"x", {"a": "b"}, None, ID)))
    for name, value in (("DeliveryCount", "21"), ("Subscription", "billing"), ("SubscriptionProject", "p")):
        raw.attributes[f"CloudPubSubDeadLetterSource{name}"] = value
    raw.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = "2026-01-01T00:00:00Z"
    letter, envelope = decode(raw, BILLING.dead_letters)
    assert (letter.id, dict(letter.attributes)) == (ID, {"a": "b"})
    assert why(envelope, BILLING.dead_letters) == "MaxAttemptsExceeded"


def test_the_tag_of_a_redriven_message_is_not_the_user_s() -> None:
    raw = on_the_wire(sent(Message(b"x", {"a": "b"}, "c7", ID), LEDGER, 2, to="1a2b3c4d"))
    assert raw.attributes["polybus_to"] == "1a2b3c4d"
    message, envelope = decode(raw, BILLING)
    assert (dict(message.attributes), message.ordering_key, envelope.moves) == ({"a": "b"}, "c7", 2)


@pytest.mark.parametrize("text", ["", "not JSON", '{"i": 7}', "[]"])
def test_a_foreign_message_is_delivered_whatever_it_carries(text: str) -> None:
    raw = types.PubsubMessage.pb()(data=b"\xff", attributes={"polybus": text, "a": "b"}, message_id="17")
    raw.publish_time.seconds = 1_763_830_000
    message, envelope = decode(raw, BILLING)
    assert (message.body, message.id, message.published_at) == (b"\xff", "17", 1_763_830_000)
    assert message.attributes == {"polybus": text, "a": "b"}
    assert (envelope.moves, message.ordering_key) == (0, None)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.binary(max_size=300), attributes=st.dictionaries(NAMES, TEXTS, max_size=12))
def test_nothing_changes_on_the_way(body: bytes, attributes: dict[str, str]) -> None:
    prepared = encode(Outgoing(Message(body, attributes, None, ID)), LEDGER)
    assert isinstance(prepared, Prepared)
    message, _ = decode(on_the_wire(prepared), BILLING)
    assert (message.body, dict(message.attributes), message.id) == (body, attributes, ID)


@pytest.mark.parametrize("name", ["polybus", "polybus.1", "polybus.2", "CloudPubSubDeadLetterSourceDeliveryCount"])
def test_reserved_names_of_a_foreign_producer_are_kept_in_its_letter(name: str) -> None:
    raw = types.PubsubMessage.pb()(data=b"x", attributes={name: "mine", "a": "b"}, message_id="17")
    message, _ = decode(raw, BILLING)
    letter, envelope = decode(on_the_wire(sent(message, moves=1, reason="Failed")), BILLING.dead_letters)
    assert (dict(letter.attributes), envelope.moves, envelope.reason) == ({name: "mine", "a": "b"}, 1, "Failed")


@pytest.mark.parametrize("text", ["{}", '{"i":"","k":""}'])
def test_an_envelope_without_an_id_or_a_key_leaves_the_cloud_s(text: str) -> None:
    raw = on_the_wire(sent(Message(b"x", {}, "c7", ID), LEDGER))
    raw.attributes["polybus"] = text
    message, _ = decode(raw, BILLING)
    assert (message.id, message.ordering_key) == ("17", "c7")


@pytest.mark.parametrize("name", ["awsRegion", "1st", "with space"])
def test_what_a_foreign_producer_named_otherwise_can_be_dead_lettered_and_put_back(name: str) -> None:
    refused(Message(b"ours", {name: "value"}, None, ID))
    message = Message(b"foreign", {name: "value"}, None, ID)
    assert sent(message, moves=1, reason="Failed").wire.attributes[name] == "value"
    assert sent(message, moves=2, to="tag").wire.attributes[name] == "value"


FULL = [
    Message(b"x" * 9_999_800, {"a": "b"}, "two words", "17"),
    Message(b"x", {f"attribute{number}": "v" * 1_024 for number in range(100)}, "two words", "17"),
    Message(b"x", {f"attribute{number}": "v" * 1_024 for number in range(95)}, "two words", "17"),
]


@pytest.mark.parametrize("message", FULL, ids=["bytes", "attributes", "most attributes"])
def test_a_foreign_message_that_is_full_has_a_letter_and_comes_back(message: Message) -> None:
    queue = msgspec.structs.replace(BILLING, kind=Kind.QUEUE, ordered=True)
    letter = encode(Outgoing(message, moves=1, token="17"), queue.dead_letters, reason="Failed", description="d" * 999)
    assert isinstance(letter, Prepared)
    raw = on_the_wire(letter)
    found, envelope = decode(raw, queue.dead_letters)
    assert (found.body, dict(found.attributes), found.ordering_key) == (
        message.body,
        message.attributes,
        message.ordering_key,
    )
    assert why(envelope, queue.dead_letters) == "MaxAttemptsExceeded" if envelope.reason == "" else "Failed"
    assert len(raw.attributes) <= 100
    back = encode(Outgoing(found, moves=2, token="17"), queue, to="tag")
    assert isinstance(back, Prepared)
    again, _ = decode(on_the_wire(back), queue)
    assert (again.body, dict(again.attributes), again.ordering_key) == (
        message.body,
        message.attributes,
        message.ordering_key,
    )


@pytest.mark.parametrize("text", ["d", "я", "漢", "\x01", '"', "😀"])
def test_a_letter_is_fitted_into_what_is_left_for_it(text: str) -> None:
    empty = sent(Message(b"", {}, None, ID))
    message = Message(b"." * (10_000_000 - 2048 - empty.size), {}, None, ID, 1_763_800_000.5)
    sent(message)
    letter = sent(message, moves=1, reason="Failed", description=text * 1_000_000, room=9_999_900)
    # What is left over is less than one more character takes, and what its parts of 1,024 bytes are counted with.
    assert 9_999_900 - 12 - 3 * 21 <= letter.size <= 9_999_900
    _, envelope = decode(on_the_wire(letter), BILLING.dead_letters)
    assert envelope.reason == "Failed"
    assert envelope.description in text * 2_000


def test_a_foreign_key_can_be_dead_lettered_and_put_back() -> None:
    refused(Message(b"ours", {}, "two words", ID), LEDGER)
    message = Message(b"foreign", {}, "two words", ID)
    sent(message, LEDGER, moves=1, reason="Failed")
    assert sent(message, LEDGER, moves=2, to="tag").wire.key == "two words"


def test_a_letter_that_had_just_enough_room_goes_back_to_where_it_came_from() -> None:
    small = Entity(kind=Kind.TOPIC, name="small", address="projects/p/topics/small", max_size=4096)
    empty = sent(Message(b".", {}, None, ID), small)
    message = Message(b"." * (4096 - 2048 - empty.size + 1), {}, None, ID)
    sent(message, small)
    sent(message, small, moves=1, reason="Failed", description="d" * 1024)
    sent(message, small, moves=2, to="tag")
