"""What a message looks like on Service Bus, and what is read of those that others send."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus._pyamqp._decode import decode_payload
from azure.servicebus.amqp import AmqpAnnotatedMessage

from polybus.binding import Entity, Kind
from polybus.clouds.azure.driver.wire import decode, encode, message_limit, sayable
from polybus.driver import Outgoing, Prepared
from polybus.errors import Fault, FaultKind
from polybus.localcloud.servicebus.amqp import encode as e
from polybus.message import Message

TOPIC = Entity(kind=Kind.TOPIC, name="orders", address="shop-orders", filter_attributes=("region",))
QUEUE = Entity(kind=Kind.QUEUE, name="jobs", address="shop-jobs", max_delay=900.0)
KIB = 1024


def message(body: bytes = b"x", attributes: Mapping[str, str] | None = None, **more: Any) -> Message:
    return Message(body, attributes or {}, id=str(uuid.uuid4()), **more)


def sent(outgoing: Outgoing, target: Entity = QUEUE, **more: Any) -> AmqpAnnotatedMessage:
    prepared = encode(outgoing, target, **more)
    assert isinstance(prepared, Prepared), prepared
    wire = prepared.wire
    return wire.raw_amqp_message if isinstance(wire, ServiceBusMessage) else wire


def refused(outgoing: Outgoing, target: Entity = QUEUE, **more: Any) -> Fault:
    fault = encode(outgoing, target, **more)
    assert isinstance(fault, Fault)
    return fault


def test_an_ordinary_message_is_native_throughout() -> None:
    plain = message(b"\x00 any bytes \xff", {"region": "eu"}, content_type="text/plain", ordering_key="c7")
    wire = sent(Outgoing(plain), TOPIC)
    assert b"".join(wire.body) == plain.body
    assert wire.application_properties == {"region": "eu"}
    properties = wire.properties
    assert properties is not None
    assert (properties.message_id, properties.group_id, properties.content_type) == (plain.id, "c7", "text/plain")


def test_a_redriven_message_carries_its_id_and_has_an_id_of_its_own_for_each_subscription() -> None:
    letter = message(b"again")
    one, other = (sent(Outgoing(letter, moves=2), TOPIC, to=tag) for tag in ("aaaa", "bbbb"))
    assert one.properties is not None
    assert other.properties is not None
    assert one.properties.message_id == f"{letter.id}.2.aaaa"
    assert other.properties.message_id == f"{letter.id}.2.bbbb"
    assert one.application_properties is not None
    assert one.application_properties["polybus_to"] == "aaaa"
    assert letter.id in str(one.application_properties["polybus"])


def test_a_message_id_that_would_be_too_long_is_hashed() -> None:
    wire = sent(Outgoing(Message(b"", id="f" * 128), moves=1))
    assert wire.properties is not None
    assert len(str(wire.properties.message_id)) == 64


def test_a_delay_is_native() -> None:
    wire = sent(Outgoing(message(), delay=60.0), now=1_700_000_000.0)
    assert wire.annotations is not None
    [due] = wire.annotations.values()
    assert due.timestamp() == 1_700_000_060.0


@pytest.mark.parametrize("name", ["DeadLetterReason", "deadlettererrordescription"])
def test_names_that_dead_lettering_would_overwrite_are_folded(name: str) -> None:
    wire = sent(Outgoing(message(attributes={name: "mine", "other": "native"})))
    given = wire.application_properties
    assert given is not None
    assert given["other"] == "native"
    assert name not in given
    assert "mine" in str(given["polybus"])


def test_a_value_over_the_limit_of_one_property_is_folded_in_parts() -> None:
    wire = sent(Outgoing(message(attributes={"long": "v" * 40 * KIB})))
    given = wire.application_properties
    assert given is not None
    assert set(given) == {"polybus", "polybus.1"}
    assert all(len(str(value)) <= 32 * KIB for value in given.values())


def test_attributes_over_the_limit_of_all_are_refused_by_name() -> None:
    fault = refused(Outgoing(message(attributes={f"a{n}": "v" * 1_000 for n in range(64)})))
    assert fault.kind is FaultKind.TOO_LARGE
    assert "65536" in fault.detail
    assert "azure" in fault.detail


def test_a_filters_attribute_that_is_too_long_is_refused() -> None:
    fault = refused(Outgoing(message(attributes={"region": "v" * 33 * KIB})), TOPIC)
    assert fault.kind is FaultKind.INVALID
    assert "'region'" in fault.detail


@pytest.mark.parametrize("name", ["Region", "REGION"])
def test_a_name_that_differs_from_a_filters_only_in_case_is_refused(name: str) -> None:
    fault = refused(Outgoing(message(attributes={name: "eu"})), TOPIC)
    assert fault.kind is FaultKind.INVALID
    assert repr(name) in fault.detail
    assert "'region'" in fault.detail


def test_the_limit_is_the_bindings_or_the_standard_tiers() -> None:
    assert message_limit(QUEUE) == 256 * KIB
    fault = refused(Outgoing(message(b"x" * 255 * KIB)))
    assert fault.kind is FaultKind.TOO_LARGE
    assert str(256 * KIB) in fault.detail


def test_what_a_foreign_producer_named_otherwise_can_be_put_back() -> None:
    message = Message(b"foreign", {"with space": "value"}, None, "some id")
    refused(Outgoing(message))
    assert sent(Outgoing(message, moves=1)).application_properties["with space"] == "value"


def test_a_letter_that_had_just_enough_room_goes_back_to_where_it_came_from() -> None:
    small = Entity(kind=Kind.QUEUE, name="small", address="small", max_size=8 * KIB)
    empty = encode(Outgoing(Message(b"", {}, None, "id")), small)
    assert isinstance(empty, Prepared)
    message = Message(b"." * (8 * KIB - 2 * KIB - empty.size), {}, None, "id")
    sent(Outgoing(message), small)
    sent(Outgoing(message, moves=1), small)


def test_each_call_has_an_id_of_its_own_and_the_readers_id_travels_along() -> None:
    again = message()
    wire = sent(Outgoing(again, token="call-7"))
    assert wire.properties is not None
    assert wire.properties.message_id == "call-7"
    assert again.id in str((wire.application_properties or {})["polybus"])


@pytest.mark.parametrize("identity", ["order 17", "ÄÖÜ", "f" * 200])
def test_an_id_that_service_bus_cant_carry_is_hashed_and_travels_along(identity: str) -> None:
    wire = sent(Outgoing(Message(b"", id=identity)))
    assert wire.properties is not None
    assert str(wire.properties.message_id).isascii()
    assert len(str(wire.properties.message_id)) <= 128
    assert "polybus" in (wire.application_properties or {})


def test_a_letter_whose_attributes_had_just_enough_room_goes_back() -> None:
    """The room that was kept free in the header is there to be used, and what polybus adds gives way."""
    mine = {"a": "v" * 31 * KIB, "b": "v" * 31 * KIB}
    sent(Outgoing(message(attributes=mine), moves=2), TOPIC, to="tag")
    full = {**mine, "c": "v" * 1_950}
    refused(Outgoing(message(attributes=full)))
    wire = sent(Outgoing(message(attributes=full), moves=2), TOPIC, to="tag")
    assert wire.application_properties is not None
    assert wire.application_properties["polybus_to"] == "tag"
    assert "polybus" not in wire.application_properties


def test_a_foreign_message_of_full_size_goes_back_without_what_polybus_adds() -> None:
    small = Entity(kind=Kind.QUEUE, name="small", address="small", max_size=8 * KIB)
    native = len("an id") + 60  # what the service counts beside the body of such a message, and a little
    foreign = Message(b"." * (8 * KIB - native), {}, None, "an id")
    refused(Outgoing(foreign), small)
    wire = sent(Outgoing(foreign, moves=2, token="1f-18d"), small)
    assert not wire.application_properties


def test_what_is_said_of_a_letter_is_always_sayable() -> None:
    assert sayable("a \ud800 b") == "a ? b"
    assert len(sayable("x" * 1_000_000)) == 4_096


# What others send -----------------------------------------------------------------------------------------------------


def read(*sections: bytes) -> Message:
    raw = decode_payload(memoryview(b"".join(sections)))
    return decode(ServiceBusReceivedMessage(raw, receiver=None), QUEUE)[0]


@pytest.mark.parametrize(
    ("value", "body"),
    [(e.long(-7), b"-7"), (e.double(0.5), b"0.5"), (e.items([e.uint(1)]), b"[1]"), (e.string("x"), b"x")],
)
def test_a_body_may_be_a_described_value(value: bytes, body: bytes) -> None:
    timespan = b"\x00" + e.symbol("com.microsoft:timespan") + value
    assert read(e.described(0x77, timespan)).body == body
    assert read(e.described(0x77, e.mapping([(e.string("a"), timespan)]))).body.startswith(b'{"a":')


def test_a_content_type_and_a_session_that_are_no_text_are_shown() -> None:
    given = [e.NULL] * 6 + [b"\xa3\x02\xff\xfe", e.NULL, e.NULL, e.NULL, e.uint(7)]
    found = read(e.described(0x73, e.items(given)), e.described(0x75, e.binary(b"x")))
    assert (found.content_type, found.ordering_key) == ("data:;base64,//4=", "7")
