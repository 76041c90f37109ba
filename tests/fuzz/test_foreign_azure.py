"""Whatever AMQP message is in a Service Bus entity is delivered, and fits to be put back from its dead letters.

The messages are bytes of AMQP, decoded by the library's own decoder: what comes out of it is what the driver gets.
"""

from __future__ import annotations

import struct

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus._pyamqp._decode import decode_payload
from hypothesis import given
from hypothesis import strategies as st

from polybus.binding import Entity, Kind
from polybus.clouds.azure.driver.consume import received
from polybus.clouds.azure.driver.wire import encode, sayable
from polybus.driver import Outgoing
from polybus.localcloud.servicebus.amqp import encode as e

from .foreign import ENVELOPES, TEXTS, a_message, a_wire_form
from .scale import cases

QUEUE = Entity(kind=Kind.QUEUE, name="jobs", address="shop-jobs", dead_letter="shop-jobs/$DeadLetterQueue")
ORDERED = Entity(
    kind=Kind.SUBSCRIPTION,
    name="billing",
    topic="orders",
    address="shop-orders/Subscriptions/billing",
    dead_letter="shop-orders/Subscriptions/billing/$DeadLetterQueue",
    ordered=True,
    filter_attributes=("region",),
)

# AMQP values of every type (AMQP 1.0, 1.6): text that is none and times that no calendar has among them.
times = st.sampled_from([0, -1, 1_763_830_000_123, 253_402_300_800_000, -(2**63), 2**63 - 1]).map(e.timestamp)
scalars = st.one_of(
    st.sampled_from([e.NULL, e.TRUE, e.FALSE, e.EMPTY_LIST, b"\x56\x00", b"\x43", b"\x44"]),
    st.integers(0, 2**32 - 1).map(e.uint),
    st.integers(0, 2**64 - 1).map(e.ulong),
    st.integers(-(2**63), 2**63 - 1).map(e.long),
    st.integers(0, 255).map(e.ubyte),
    st.integers(-128, 127).map(lambda value: b"\x51" + struct.pack(">b", value)),
    st.floats().map(e.double),
    st.floats(width=32).map(lambda value: b"\x72" + struct.pack(">f", value)),
    st.integers(0, 0x10FFFF).map(lambda value: b"\x73" + struct.pack(">I", value)),
    times,
    st.uuids().map(e.uuid),
    TEXTS.map(e.string),
    st.binary(max_size=12).map(e.binary),
    st.binary(max_size=12).map(lambda value: b"\xa1" + bytes([len(value)]) + value),
    st.sampled_from(["text/plain", "application/json", "x"]).map(e.symbol),
    st.binary(min_size=16, max_size=16).map(lambda value: b"\x94" + value),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3).map(e.items),
    st.lists(st.tuples(scalars, scalars), max_size=3).map(e.mapping),
    st.lists(st.lists(scalars, max_size=2).map(e.items), max_size=2).map(e.items),
    st.lists(st.integers(-5, 5), max_size=3).map(e.longs),
    st.lists(TEXTS, max_size=3).map(e.strings),
    scalars.map(lambda value: e.described(0x10, value)),
)
names = st.one_of(
    st.sampled_from(
        ["polybus", "polybus.1", "polybus_to", "region", "REGION", "DeadLetterReason", "DeadLetterErrorDescription"]
    ),
    TEXTS,
).map(e.string)
application = st.one_of(
    st.lists(st.tuples(names, scalars), max_size=5),
    ENVELOPES.map(lambda text: [(e.string("polybus"), e.string(text))]),
).map(lambda pairs: e.described(0x74, e.mapping(pairs)))
sections = st.tuples(
    st.one_of(st.just(b""), st.lists(scalars, max_size=5).map(lambda parts: e.described(0x70, e.items(parts)))),
    st.one_of(
        st.just(b""),
        st.lists(st.tuples(TEXTS.filter(str.isascii).map(e.symbol), values), max_size=2).map(
            lambda pairs: e.described(0x72, e.mapping(pairs))
        ),
    ),
    st.one_of(st.just(b""), st.lists(scalars, max_size=13).map(lambda parts: e.described(0x73, e.items(parts)))),
    st.one_of(st.just(b""), application, application),
    st.one_of(
        st.lists(st.binary(max_size=20).map(lambda data: e.described(0x75, e.binary(data))), max_size=2).map(b"".join),
        st.lists(st.lists(values, max_size=3).map(lambda v: e.described(0x76, e.items(v))), max_size=2).map(b"".join),
        values.map(lambda value: e.described(0x77, value)),
    ),
).map(b"".join)


def handed_over(payload: bytes) -> ServiceBusReceivedMessage | None:
    """Return the library's message, with what the service itself notes on each; None for what the library refuses."""
    try:
        message = decode_payload(memoryview(payload))
    except (ValueError, TypeError, IndexError, struct.error):
        return None  # the library's own: an error of the receive, which the driver turns into a fault
    noted = {**(message.message_annotations or {}), b"x-opt-sequence-number": 7, b"x-opt-enqueued-time": 1763830000123}
    header = message.header
    message = message._replace(message_annotations=noted, header=header and header._replace(delivery_count=1))
    return ServiceBusReceivedMessage(message, receiver=None)


@cases()
@given(sections, st.sampled_from([QUEUE, ORDERED]), st.none() | st.text(max_size=8))
def test_a_foreign_message_lives_through_all_that_is_done_with_it(
    payload: bytes, source: Entity, tag: str | None
) -> None:
    raw = handed_over(payload)
    if raw is None:
        return
    one = received(raw, source, 60.0, group="session" if source.ordered else None)
    a_message(one)
    letter = received(raw, source.dead_letters, 60.0)
    a_message(letter)
    assert letter.reason
    assert len(sayable(letter.reason)) <= 4_096
    back = a_wire_form(encode(Outgoing(letter.message, moves=letter.moves + 1, token=letter.token), source, to=tag))
    if back is not None:
        assert back.body is not None
