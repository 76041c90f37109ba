"""Whatever is in an SQS queue, raw or as SNS puts it there, is delivered, dead-lettered and put back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from polybus.binding import Entity, Kind
from polybus.clock import ManualClock
from polybus.clouds.aws.driver.consume import SqsConsumer
from polybus.clouds.aws.driver.publish import SqsPublisher
from polybus.driver import Ack, Nack, Outgoing, Received, ToDeadLetters

from .foreign import ENVELOPES, JSON_TEXTS, KEYS, TEXTS, VALUES, a_message, a_wire_form
from .scale import cases

TOPIC = "arn:aws:sns:us-east-1:000000000000:orders"
QUEUE = Entity(kind=Kind.QUEUE, name="jobs", address="https://sqs/0/jobs", dead_letter="https://sqs/0/jobs-dead")
ORDERED = Entity(
    kind=Kind.SUBSCRIPTION,
    name="billing",
    topic="orders",
    address="https://sqs/0/billing.fifo",
    dead_letter="https://sqs/0/billing-dead.fifo",
    ordered=True,
    filter_attributes=("region",),
)

# SQS's own alphabet (SendMessage in its API reference).
legal = TEXTS.map(lambda text: "".join(each for each in text if each in "\t\n\r" or (each >= " " and each < "\ufffe")))
names = st.sampled_from(
    ["region", "awsRegion", "1st", "polybus.1", "polybus_to", "a.b", "traceparent"]
) | st.from_regex("[A-Za-z0-9_.-]{1,20}", fullmatch=True)
strings = st.builds(
    lambda kind, value: {"DataType": kind, "StringValue": value},
    st.sampled_from(["String", "Number", "String.Array", "String.x"]),
    legal.filter(bool),
)
binaries = st.binary(min_size=1, max_size=20).map(lambda value: {"DataType": "Binary.png", "BinaryValue": value})
reserved = ENVELOPES.map(lambda text: {"DataType": "String", "StringValue": text or "x"})
stamps = st.sampled_from(
    ["2026-01-02T03:04:05.678Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "", "0"]
)
notifications = st.builds(
    lambda document, more: json.dumps({**document, **more}),
    st.fixed_dictionaries(
        {
            "Type": st.just("Notification"),
            "MessageId": TEXTS,
            "TopicArn": st.sampled_from([TOPIC, "arn:aws:sns:us-east-1:000000000000:other"]),
            "Message": TEXTS | JSON_TEXTS,
            "Timestamp": stamps | TEXTS,
            "UnsubscribeURL": st.sampled_from([f"https://sns/?SubscriptionArn={TOPIC}:1", ""]),
            "MessageAttributes": st.dictionaries(
                names, st.fixed_dictionaries({"Type": TEXTS, "Value": TEXTS}), max_size=3
            )
            | ENVELOPES.map(lambda text: {"polybus": {"Type": "String", "Value": text}}),
        }
    ),
    st.dictionaries(
        st.sampled_from(["Type", "Message", "MessageAttributes", "Subject", "Timestamp"]), VALUES, max_size=1
    )
    | st.just({}),
)
messages = st.builds(
    lambda body, attributes, own, group, sent, count: {
        "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274",
        "ReceiptHandle": "handle",
        "Body": body or " ",
        "MessageAttributes": attributes if own is None else {**attributes, "polybus": own},
        "Attributes": {"SentTimestamp": str(sent), "ApproximateReceiveCount": str(count), "MessageGroupId": group},
    },
    legal | JSON_TEXTS | notifications | notifications,
    st.dictionaries(names, strings | binaries, max_size=9),
    st.none() | reserved,
    KEYS,
    st.sampled_from([0, 1_763_830_000_123]),
    st.sampled_from([1, 2, 1_000]),
)


class Sqs:
    """A queue that hands one message over and notes what is sent."""

    long_poll = 20

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message
        self.sent: list[dict[str, Any]] = []

    async def receive(self, arguments: dict[str, Any], wait: int, left: object) -> dict[str, Any]:
        return {"Messages": [self.message]}

    async def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        entries = arguments.get("Entries", [])
        if operation == "SendMessageBatch":
            self.sent += entries
        return {"Successful": [{"Id": entry["Id"]} for entry in entries]}


def came(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what SQS would hand over of what was sent."""
    return {
        "MessageId": "d1a8a0c2-7f5b-4b7a-b7f9-6d0a3b7f9b11",
        "ReceiptHandle": "handle",
        "Body": entry["MessageBody"],
        "MessageAttributes": entry["MessageAttributes"],
        "Attributes": {
            "SentTimestamp": "1763830000999",
            "ApproximateReceiveCount": "1",
            "MessageGroupId": entry.get("MessageGroupId", "0"),
        },
    }


async def received(sqs: Sqs, source: Entity) -> tuple[Any, Received[str]]:
    consumer = SqsConsumer(sqs, source, ManualClock(), topics=frozenset({TOPIC}))  # type: ignore[arg-type]
    [one] = await consumer.receive_batch(1, wait=0.0)
    a_message(one)
    return consumer, one


@cases()
@given(messages, st.sampled_from([QUEUE, ORDERED]), TEXTS)
async def test_a_foreign_message_lives_through_all_that_is_done_with_it(
    raw: dict[str, Any], source: Entity, said: str
) -> None:
    sqs = Sqs(raw)
    consumer, one = await received(sqs, source)
    assert await consumer.settle_batch([Nack(one, 3.0)]) == [None]
    consumer, one = await received(sqs, source)  # by a receipt that gave it back it can't be settled again
    [fault] = await consumer.settle_batch([ToDeadLetters(one, said, said)])
    if fault is not None:
        assert not sqs.sent
        assert await consumer.settle_batch([Ack(one)]) == [None]
        return
    [entry] = sqs.sent
    dead, letter = await received(Sqs(came(entry)), source.dead_letters)
    assert (letter.message.body, letter.message.attributes) == (one.message.body, one.message.attributes)
    assert (letter.message.id, letter.message.ordering_key) == (one.message.id, one.message.ordering_key)
    assert letter.reason
    assert await dead.settle_batch([Ack(letter)]) == [None]
    publisher = SqsPublisher(sqs, source)  # type: ignore[arg-type]
    prepared = publisher.prepare(Outgoing(letter.message, moves=letter.moves + 1, token=letter.token))
    if a_wire_form(prepared) is not None:
        back = {"MessageBody": prepared.wire.body, "MessageAttributes": prepared.wire.attributes}
        key = letter.message.ordering_key
        _, again = await received(Sqs(came(back if key is None else {**back, "MessageGroupId": key})), source)
        assert (again.message.body, again.message.attributes) == (one.message.body, one.message.attributes)
