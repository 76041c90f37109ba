"""What is assembled by hand must be what protobuf reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polybus.localcloud.pubsub.encoding import ACK_ID_LENGTH, decode, encode, publish_stamp, received_messages, varint
from polybus.localcloud.pubsub.message import Message
from polybus.localcloud.pubsub.protocol import PubsubMessage, PullResponse, seconds
from polybus.localcloud.pubsub.state import Entry

texts = st.text(max_size=20)


@given(st.integers(0, 2**63 - 1))
def test_varints(number):
    assert PullResponse.FromString(b"\x78" + varint(number)).ByteSize() == 1 + len(varint(number))


@given(
    st.binary(max_size=300),
    st.dictionaries(texts, texts, max_size=3),
    texts,
    st.integers(1, 2**62),
    st.floats(0, 4e9),
    st.integers(0, 1000),
    st.booleans(),
)
def test_a_delivery_is_what_was_published(data, attributes, key, number, published, failures, with_attempts):
    original = PubsubMessage(data=data, attributes=attributes, ordering_key=key)
    wire = encode(original, number, publish_stamp(published))
    entry = Entry(Message(number, wire, key, published), failures)
    entry.ack_id = "a" * ACK_ID_LENGTH
    first, second = PullResponse.FromString(received_messages([entry, entry], with_attempts)).received_messages
    assert first == second
    assert first.ack_id == entry.ack_id
    assert first.delivery_attempt == (failures + 1 if with_attempts else 0)
    assert first.message == decode(wire)
    assert first.message.message_id == str(number)
    assert abs(seconds(first.message.publish_time) - published) < 1e-5
    first.message.ClearField("message_id")
    first.message.ClearField("publish_time")
    assert first.message == original
