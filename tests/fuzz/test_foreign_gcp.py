"""Whatever is on a Pub/Sub subscription, pulled or pushed, is delivered, dead-lettered and put back."""

from __future__ import annotations

from typing import Any

from google.pubsub_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from polybus.binding import Entity, Kind
from polybus.clouds.gcp.driver.wire import Wire, decode, encode, fill, why
from polybus.driver import Outgoing, Received
from polybus.envelope import Envelope
from polybus.message import Message

from .foreign import ENVELOPES, KEYS, TEXTS, a_message, a_wire_form
from .scale import cases

BILLING = Entity(
    kind=Kind.SUBSCRIPTION,
    name="billing",
    topic="orders",
    address="projects/p/subscriptions/billing",
    dead_letter="projects/p/subscriptions/billing-dead-letters",
    ordered=True,
    tag="1a2b3c4d",
    filter_attributes=("region",),
)
JOBS = Entity(kind=Kind.QUEUE, name="jobs", address="projects/p/subscriptions/jobs", dead_letter="projects/p/jobs-dead")

names = st.one_of(
    st.sampled_from(["region", "polybus.1", "polybus.2", "polybus_to", "CloudPubSubDeadLetterSourceDeliveryCount"]),
    TEXTS.filter(bool),
)
given_attributes = st.one_of(
    st.dictionaries(names, TEXTS | st.sampled_from(["v" * 1_024, "ä" * 512, ""]), max_size=6),
    st.integers(70, 99).map(lambda count: {f"a{n}": "v" * 200 for n in range(count)}),
)
messages = st.builds(
    lambda data, attributes, own, key, seconds, nanos: types.PubsubMessage.pb()(
        data=data,
        attributes=attributes if own is None else {**attributes, "polybus": own},
        ordering_key=key,
        message_id="2070443601311540",
        publish_time={"seconds": seconds, "nanos": nanos},
    ),
    st.binary(max_size=12),
    given_attributes,
    st.none() | ENVELOPES.map(lambda text: text[:1_024]),
    st.just("") | KEYS | TEXTS,
    st.sampled_from([0, 1, 1_763_830_000, 253_402_300_000]),
    st.sampled_from([0, 1, 999_999_999]),
)


def received(raw: Any, source: Entity) -> Received[None]:
    message, envelope = decode(raw, source)
    assert isinstance(envelope, Envelope)
    reason = why(envelope, source)
    one = Received(
        message, 1, 60.0, None, raw.ordering_key or None, False, envelope.moves, reason, None, raw.message_id
    )
    a_message(one)
    return one


def came(wire: Wire) -> Any:
    """Return what Pub/Sub would hand over of what was sent: the bytes of the request, read again."""
    request = types.PublishRequest.pb()()
    fill(request.messages, [wire])
    [raw] = types.PublishRequest.pb().FromString(request.SerializeToString()).messages
    raw.message_id, raw.publish_time.seconds = "17", 1_763_830_999
    return raw


def content(message: Message) -> tuple[object, ...]:
    return message.body, dict(message.attributes), message.id, message.ordering_key, message.content_type


@cases()
@given(messages, st.sampled_from([BILLING, JOBS]), TEXTS)
def test_a_foreign_message_lives_through_all_that_is_done_with_it(raw: Any, source: Entity, said: str) -> None:
    one = received(raw, source)
    moved = Outgoing(one.message, moves=one.moves + 1, token=one.token)
    wire = a_wire_form(encode(moved, source.dead_letters, reason=said or "unknown", description=said))
    if wire is None:
        return
    assert len(wire.attributes) <= 99
    letter = received(came(wire), source.dead_letters)
    assert content(letter.message) == content(one.message)
    assert letter.reason
    back = Outgoing(letter.message, moves=letter.moves + 1, token=letter.token)
    wire = a_wire_form(encode(back, source, to=source.tag))
    if wire is not None:
        assert content(received(came(wire), source).message) == content(one.message)
