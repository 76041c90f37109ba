"""What SNS and SQS carry: docs/wire.md, held to byte by byte, and that nothing changes on the way."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polybus.binding import Entity, Kind
from polybus.clouds.aws.driver.wire import decode, encode, group_id
from polybus.driver import Outgoing, Prepared
from polybus.errors import Fault, FaultKind
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.message import Message

QUEUE = Entity(kind=Kind.QUEUE, name="jobs", address="url", dead_letter="letters")
TOPIC = Entity(kind=Kind.TOPIC, name="orders", address="arn", filter_attributes=("region",))
FIFO = Entity(kind=Kind.QUEUE, name="keyed", address="url.fifo", dead_letter="letters.fifo", ordered=True)
ID = "0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77"


def sent(message: Message, target: Entity = QUEUE, **more: Any) -> Prepared[Any]:
    prepared = encode(Outgoing(message), target, **more)
    assert isinstance(prepared, Prepared), prepared
    return prepared


def refused(message: Message, target: Entity = QUEUE) -> Fault:
    fault = encode(Outgoing(message), target)
    assert isinstance(fault, Fault)
    return fault


def reserved(prepared: Prepared[Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(prepared.wire.attributes["polybus"]["StringValue"])
    return found


def received(prepared: Prepared[Any], group: str | None = None) -> dict[str, Any]:
    """What SQS would give for it."""
    system = {"SentTimestamp": "1763830000123", "ApproximateReceiveCount": "1"}
    if group is not None:
        system["MessageGroupId"] = group
    return {
        "MessageId": "of-sqs",
        "Body": prepared.wire.body,
        "MessageAttributes": prepared.wire.attributes,
        "Attributes": system,
    }


def test_text_travels_as_it_is() -> None:
    prepared = sent(
        Message('{"total": 9.5, "name": "Zoë"}'.encode(), {"region": "eu"}, None, ID, None, "application/json")
    )
    assert prepared.wire.body == '{"total": 9.5, "name": "Zoë"}'
    assert prepared.wire.attributes["region"] == {"DataType": "String", "StringValue": "eu"}
    assert reserved(prepared) == {"i": ID, "c": "j"}


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a\x00b", b"\x1b[0m", "\ufffe".encode(), b"\xed\xa0\x80"])
def test_what_sqs_refuses_in_a_body_travels_as_base64(body: bytes) -> None:
    prepared = sent(Message(body, {}, None, ID))
    assert base64.b64decode(prepared.wire.body) == body
    assert reserved(prepared) == {"i": ID, "e": "b"}
    assert decode(received(prepared), QUEUE)[0].body == body


def test_an_empty_body_travels_as_one_space() -> None:
    prepared = sent(Message(b"", {}, None, ID))
    assert (prepared.wire.body, reserved(prepared)) == (" ", {"i": ID, "e": "s"})
    assert decode(received(prepared), QUEUE)[0].body == b""
    assert decode(received(sent(Message(b" ", {}, None, ID))), QUEUE)[0].body == b" "


def test_attributes_over_sqs_s_count_are_folded() -> None:
    attributes = {f"a{n}": str(n) for n in range(14)}
    prepared = sent(Message(b"x", attributes, None, ID))
    native = prepared.wire.attributes
    assert len(native) == 9  # with the reserved one; the tenth is kept free for dead-lettering
    assert reserved(prepared)["a"] == {f"a{n}": str(n) for n in range(8, 14)}
    assert decode(received(prepared), QUEUE)[0].attributes == attributes


def test_what_a_filter_names_is_never_folded() -> None:
    attributes = {**{f"a{n}": str(n) for n in range(12)}, "region": "eu"}
    prepared = sent(Message(b"x", attributes, None, ID), TOPIC)
    assert prepared.wire.attributes["region"]["StringValue"] == "eu"
    assert "region" not in reserved(prepared)["a"]
    for value in ("", "a\x00"):
        fault = refused(Message(b"x", {"region": value}, None, ID), TOPIC)
        assert fault.kind is FaultKind.INVALID
        assert "'region' is in a filter" in fault.detail


@pytest.mark.parametrize("value", ["", "\x00", "\x1f", "tab\tis legal\x7f\x0b", "\uffff"])
def test_values_that_sqs_refuses_are_folded(value: str) -> None:
    prepared = sent(Message(b"x", {"odd": value, "even": "2"}, None, ID))
    assert prepared.wire.attributes.keys() == {"even", "polybus"}
    assert reserved(prepared)["a"] == {"odd": value}
    assert prepared.wire.attributes["polybus"]["StringValue"].isascii()
    assert decode(received(prepared), QUEUE)[0].attributes == {"odd": value, "even": "2"}


def test_the_size_is_what_sqs_counts() -> None:
    """Body, and of every attribute its name, its type and its value (SQS developer guide, message metadata)."""
    prepared = sent(Message("ä".encode() * 10, {"région".replace("é", "e"): "ü"}, None, ID))
    envelope = prepared.wire.attributes["polybus"]["StringValue"]
    attributes = len("region") + len("String") + 2 + len("polybus") + len("String") + len(envelope)
    assert prepared.size == 20 + attributes
    limit = 1024 * 1024
    room = limit - 2048 - len("polybus") - len("String") - len(json.dumps({"i": ID}, separators=(",", ":")))
    assert sent(Message(b"x" * room, {}, None, ID)).size == limit - 2048
    assert refused(Message(b"x" * (room + 1), {}, None, ID)).kind is FaultKind.TOO_LARGE


def test_a_dead_letter_fits_whatever_was_sent() -> None:
    """The 2 KiB and the one attribute that are kept free are enough for the longest reason and description."""
    room = 1024 * 1024 - 2048 - len("polybusString") - len(json.dumps({"i": ID}, separators=(",", ":")))
    message = Message(b"x" * room, {}, None, ID)
    sent(message)
    letter = encode(Outgoing(message, moves=1), QUEUE.dead_letters, reason="r" * 100, description="d" * 1024)
    assert isinstance(letter, Prepared)
    assert (reserved(letter)["m"], reserved(letter)["r"]) == (1, "r" * 100)


FULL = 64 * 1024
SMALL = msgspec.structs.replace(QUEUE, max_size=FULL)


def largest() -> Message:
    """The largest message to SMALL that is accepted, with an ordering key beside its body."""
    message = Message(b"", {"region": "eu"}, None, ID, None, "application/octet-stream")
    room = FULL - 2048 - sent(msgspec.structs.replace(message, body=b"x"), SMALL).size + 1
    return msgspec.structs.replace(message, body=b"x" * room, ordering_key='"' * 128)


@pytest.mark.parametrize("text", ["x", '"', "\x01", "ж", "订", "\U0001f600", "\uffff", "\ud800"])
def test_a_letter_fits_in_any_script(text: str) -> None:
    """What is kept free is counted as it is sent; reason and description give way, nothing else does."""
    letter = Outgoing(msgspec.structs.replace(largest(), published_at=1763830000.123), moves=1, token="of-sqs")
    prepared = encode(letter, SMALL.dead_letters, reason=text * 128, description=text * 1024)
    assert isinstance(prepared, Prepared), prepared
    assert FULL - 7 < prepared.size <= FULL or len(reserved(prepared)["d"]) == 1024
    shown = text.replace("\ud800", "\ufffd")
    assert len(reserved(prepared)["r"]) > 0
    assert reserved(prepared)["r"] in shown * 128
    assert reserved(prepared).get("d", "") in shown * 1024
    message, envelope = decode(received(prepared), SMALL.dead_letters)
    assert message == letter.message
    back = encode(Outgoing(message, moves=envelope.moves + 1, token="of-letter"), SMALL)
    assert isinstance(back, Prepared), back
    assert decode(received(back), SMALL)[0] == letter.message


def test_reason_and_description_of_any_script_fit_as_the_bus_cuts_them() -> None:
    """128 characters and 1,024 bytes (docs/contract.md, D7), where nothing in them has to be escaped."""
    for text in ("x", "ж", "订", "\U0001f600"):
        description = text * (1024 // len(text.encode()))
        letter = Outgoing(largest(), moves=1)
        prepared = encode(letter, SMALL.dead_letters, reason=text * 128, description=description)
        assert isinstance(prepared, Prepared)
        assert (reserved(prepared)["r"], reserved(prepared)["d"]) == (text * 128, description)


@pytest.mark.parametrize("spare", [0, 20, 60, 100, 200, 400])
def test_a_foreign_message_of_the_full_size_has_a_letter_and_comes_back(spare: int) -> None:
    """It kept no room free: what polybus would add to it gives way, in the end all of it."""
    attributes = {f"a{n}": {"DataType": "String", "StringValue": "v"} for n in range(10)}
    body = "x" * (FULL - spare - sum(len(f"a{n}Stringv") for n in range(10)))
    raw = foreign(body, attributes)
    raw["Attributes"]["MessageGroupId"] = "customer-7"
    fifo = msgspec.structs.replace(FIFO, max_size=FULL)
    message, envelope = decode(raw, fifo)
    letter = encode(Outgoing(message, moves=1, token=message.id), fifo.dead_letters, reason="Failed", description="why")
    assert isinstance(letter, Prepared), letter
    assert letter.size <= FULL
    again, envelope = decode(received(letter, letter.wire.group or "of-the-letter"), fifo.dead_letters)
    whole = (message.body, message.attributes, message.ordering_key)
    assert (again.body, again.attributes, again.ordering_key) == whole
    back = encode(Outgoing(again, moves=envelope.moves + 1, token="of-sqs"), fifo)
    assert isinstance(back, Prepared), back
    assert back.size <= FULL
    returned, _ = decode(received(back, "customer-7"), fifo)
    assert (returned.body, returned.attributes, returned.ordering_key) == whole


def test_a_letter_that_would_lose_something_is_refused() -> None:
    ours = Message(b"x" * FULL, {}, None, ID)
    assert isinstance(encode(Outgoing(ours, moves=1, token="of-sqs"), SMALL, reason="Failed"), Fault)


def test_dedup_ids_count_the_moves() -> None:
    message = Message(b"x", {}, "k", ID)
    assert Outgoing(message).dedup_id == ID
    assert Outgoing(message, moves=2).dedup_id == f"{ID}.2"


def test_a_letter_keeps_the_time_of_its_message() -> None:
    message = Message(b"x", {}, None, ID, 1763820000.5)
    letter = encode(Outgoing(message, moves=1, token="of-sqs"), QUEUE.dead_letters, reason="Failed")
    assert isinstance(letter, Prepared)
    assert decode(received(letter), QUEUE.dead_letters)[0] == message


def test_a_fifo_queue_s_group_is_the_key() -> None:
    prepared = sent(Message(b"x", {}, "customer-7", ID), FIFO)
    assert "k" not in reserved(prepared)
    assert decode(received(prepared, "customer-7"), FIFO)[0].ordering_key == "customer-7"


def test_the_key_of_a_topic_s_message_travels_along() -> None:
    """A subscription that keeps no order gets no group from SNS."""
    ordered = Entity(kind=Kind.TOPIC, name="ledger", address="arn.fifo", ordered=True)
    prepared = sent(Message(b"x", {}, "customer-7", ID), ordered)
    assert reserved(prepared)["k"] == "customer-7"
    assert decode(received(prepared), QUEUE)[0].ordering_key == "customer-7"


# Foreign messages -----------------------------------------------------------------------------------------------------


def foreign(body: str, attributes: dict[str, Any] | None = None) -> dict[str, Any]:
    system = {"SentTimestamp": "1763830000123", "ApproximateReceiveCount": "1"}
    return {"MessageId": "of-sqs", "Body": body, "MessageAttributes": attributes or {}, "Attributes": system}


def test_a_foreign_message_is_read() -> None:
    native = {"n": {"DataType": "Number", "StringValue": "7"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\x01"}}
    message, envelope = decode(foreign("plain", native), QUEUE)
    assert (message.body, message.attributes) == (b"plain", {"n": "7", "b": "AAE="})
    assert (message.id, message.published_at, message.content_type) == ("of-sqs", 1763830000.123, None)
    assert envelope.moves == 0


ARN = "arn:aws:sns:us-east-1:0:t"


def enveloped(text: str, topic: str = ARN, **attributes: dict[str, str]) -> str:
    """What SNS sends where a subscription has no raw delivery."""
    document = {
        "Type": "Notification",
        "MessageId": "of-sns",
        "TopicArn": topic,
        "Message": text,
        "Timestamp": "2026-01-02T03:04:05.678Z",
        "SignatureVersion": "1",
        "Signature": "x",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/x.pem",
        "UnsubscribeURL": f"https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={topic}:1",
    }
    return json.dumps({**document, "MessageAttributes": attributes} if attributes else document)


@pytest.mark.parametrize("stamp", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now", ""])
def test_an_envelope_with_a_time_that_is_none_has_none(stamp: str) -> None:
    text = enveloped("hello").replace("2026-01-02T03:04:05.678Z", stamp)
    message, _ = decode(foreign(text), QUEUE, frozenset({ARN}))
    assert (message.body, message.published_at) == (b"hello", None)


def test_an_sns_envelope_is_opened() -> None:
    attributes = {
        "region": {"Type": "String", "Value": "eu"},
        "n": {"Type": "Number", "Value": "5"},
        "b": {"Type": "Binary", "Value": "AAE="},
    }
    message, envelope = decode(foreign(enveloped("hello", **attributes)), QUEUE, frozenset({ARN}))
    assert message == Message(b"hello", {"region": "eu", "n": "5", "b": "AAE="}, None, "of-sns", 1767323045.678, None)
    assert envelope.moves == 0


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"text", b'{"a": 1}'])
def test_what_polybus_published_is_the_same_in_an_envelope(body: bytes) -> None:
    sent = Message(body, {f"a{n}": str(n) for n in range(20)} | {"empty": ""}, None, ID, None, "application/x-test")
    prepared = encode(Outgoing(sent), TOPIC)
    assert isinstance(prepared, Prepared)
    attributes = {
        name: {"Type": value["DataType"], "Value": value["StringValue"]}
        for name, value in prepared.wire.attributes.items()
    }
    message, _ = decode(foreign(enveloped(prepared.wire.body, **attributes)), QUEUE, frozenset({ARN}))
    assert msgspec.structs.replace(message, published_at=None) == sent


def test_a_payload_that_is_a_notification_itself_stays_as_it_is() -> None:
    relayed = enveloped("inner", "arn:aws:sns:us-east-1:0:other")
    for raw in (foreign(relayed), foreign(enveloped("inner"), {"a": {"DataType": "String", "StringValue": "raw"}})):
        assert decode(raw, QUEUE, frozenset({ARN}))[0].body == raw["Body"].encode()
    assert decode(foreign(enveloped("inner")), QUEUE)[0].body == enveloped("inner").encode()


@pytest.mark.parametrize(
    "body", ['{"TopicArn": "no envelope"}', '{"TopicArn"', '{"TopicArn": 1, "Type": "Notification"}']
)
def test_what_only_looks_like_an_sns_envelope_stays_as_it_is(body: str) -> None:
    assert decode(foreign(body), QUEUE, frozenset({ARN}))[0].body == body.encode()


@pytest.mark.parametrize("value", ["not json", "[]", '{"i": 7}', ""])
def test_a_reserved_attribute_that_is_not_ours_makes_a_message_foreign(value: str) -> None:
    message, _ = decode(foreign("x", {"polybus": {"DataType": "String", "StringValue": value}}), QUEUE)
    assert (message.body, message.id, message.attributes) == (b"x", "of-sqs", {"polybus": value})
    letter = encode(Outgoing(message, moves=1, token="of-sqs"), QUEUE, reason="Failed")
    assert isinstance(letter, Prepared)
    assert decode(received(letter), QUEUE)[0].attributes == {"polybus": value}


def test_base64_that_was_changed_on_the_way_is_delivered_as_it_is() -> None:
    value = json.dumps({"i": ID, "e": "b"})
    message, _ = decode(foreign("!!", {"polybus": {"DataType": "String", "StringValue": value}}), QUEUE)
    assert (message.body, message.id) == (b"!!", ID)


# Any message, through the server --------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,20}", fullmatch=True).filter(
    lambda name: not name.lower().startswith(("aws", "amazon", "goog", "polybus"))
)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
BODIES = st.binary(max_size=60) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(str.encode)
MESSAGES = st.builds(
    Message,
    BODIES,
    st.dictionaries(NAMES, VALUES, max_size=14),
    st.none(),
    st.uuids().map(str),
    st.none(),
    st.none() | st.sampled_from(["application/json", "text/plain", "application/octet-stream", "image/png; q=ü"]),
)


@pytest.fixture(scope="module")
def local() -> Iterator[tuple[Any, Entity]]:
    """An SQS client with botocore's validation on, and a queue."""
    with running_in_thread(AwsServer()) as server:
        client = boto3.client(
            "sqs",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        url = client.create_queue(QueueName="any")["QueueUrl"]
        yield client, Entity(kind=Kind.QUEUE, name="any", address=url, dead_letter=url)
        client.close()


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=10, unique_by=lambda message: message.id))
def test_any_message_comes_back_as_it_was(local: tuple[Any, Entity], messages: list[Message]) -> None:
    client, queue = local
    entries = []
    for place, message in enumerate(messages):
        wire = sent(message, queue).wire
        entries.append({"Id": str(place), "MessageBody": wire.body, "MessageAttributes": wire.attributes})
    assert "Failed" not in client.send_message_batch(QueueUrl=queue.address, Entries=entries)
    found: dict[str, Message] = {}
    while len(found) < len(messages):
        answer = client.receive_message(
            QueueUrl=queue.address,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        for raw in answer["Messages"]:
            message, _ = decode(raw, queue)
            found[message.id] = message
            client.delete_message(QueueUrl=queue.address, ReceiptHandle=raw["ReceiptHandle"])
    for message in messages:
        other = found[message.id]
        assert (other.body, other.attributes, other.content_type) == (
            message.body,
            message.attributes,
            message.content_type,
        )


def test_a_letter_has_room_where_its_message_had_just_enough() -> None:
    limit = 4096
    small = Entity(kind=Kind.QUEUE, name="jobs", address="url", dead_letter="letters", max_size=limit)
    empty = sent(Message(b".", {}, None, ID), small)
    message = Message(b"." * (limit - 2048 - empty.size + 1), {}, None, ID)
    assert sent(message, small).size == limit - 2048
    assert isinstance(encode(Outgoing(message, moves=1), small, reason="Failed", description="d" * 1024), Prepared)
    assert isinstance(encode(Outgoing(message, moves=2), small), Prepared), "it can't go back to where it came from"


@pytest.mark.parametrize("name", ["awsRegion", "1st", "google_id"])
def test_what_a_foreign_producer_named_otherwise_can_be_dead_lettered_and_put_back(name: str) -> None:
    refused(Message(b"ours", {name: "value"}, None, ID))
    message = Message(b"foreign", {name: "value"}, None, ID)
    for outgoing, reason in ((Outgoing(message, moves=1), "Failed"), (Outgoing(message, moves=2), "")):
        prepared = encode(outgoing, QUEUE, reason=reason)
        assert isinstance(prepared, Prepared), prepared
        assert decode(received(prepared), QUEUE)[0].attributes == {name: "value"}


def test_a_letter_that_was_edited_into_something_untyped_is_refused() -> None:
    edited = Message(b"edited", {"count": 1}, None, ID)  # type: ignore[dict-item]
    assert isinstance(encode(Outgoing(edited, moves=2), QUEUE), Fault)


# Anything that anyone can put into a queue ----------------------------------------------------------------------------

LEGAL = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00\x01\x0b\x1f\ufffe\uffff"), max_size=30
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | LEGAL
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LEGAL, inner, max_size=3))
ENVELOPES = st.dictionaries(st.sampled_from("iceaktmrdx"), JSON, max_size=8).map(json.dumps) | LEGAL
ATTRIBUTE = LEGAL.filter(bool).map(lambda value: {"DataType": "String", "StringValue": value}) | st.binary(
    min_size=1, max_size=20
).map(lambda value: {"DataType": "Binary", "BinaryValue": value})
NOTIFICATIONS = st.builds(
    lambda text, topic, more, reserved: enveloped(
        text, topic, **{**more, "polybus": {"Type": "String", "Value": reserved}}
    ),
    LEGAL,
    st.sampled_from([ARN, "arn:aws:sns:us-east-1:0:other"]),
    st.dictionaries(NAMES, st.fixed_dictionaries({"Type": LEGAL, "Value": LEGAL}), max_size=12),
    ENVELOPES,
)
RAW = st.builds(
    lambda body, attributes, reserved, group: {
        "MessageId": "of-sqs",
        "Body": body,
        "MessageAttributes": {**attributes, **({} if reserved is None else {"polybus": reserved})},
        "Attributes": {"SentTimestamp": "1763830000123", "ApproximateReceiveCount": "1", "MessageGroupId": group},
    },
    LEGAL.filter(bool) | JSON.map(json.dumps) | NOTIFICATIONS,
    st.dictionaries(NAMES | st.sampled_from(["awsRegion", "1st", "polybus.1"]), ATTRIBUTE, max_size=9),
    st.none() | ENVELOPES.filter(bool).map(lambda value: {"DataType": "String", "StringValue": value}),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raw=RAW, source=st.sampled_from([QUEUE, FIFO]))
def test_whatever_is_in_a_queue_is_delivered_dead_lettered_and_put_back(raw: dict[str, Any], source: Entity) -> None:
    message, envelope = decode(raw, source, frozenset({ARN}))
    assert isinstance(message.body, bytes)
    assert all(isinstance(part, str) for item in message.attributes.items() for part in item)
    moves = envelope.moves
    letter = encode(Outgoing(message, moves=moves + 1, token="of-sqs"), source.dead_letters, reason="Failed")
    assert isinstance(letter, Prepared), letter
    again, envelope = decode(received(letter, letter.wire.group), source.dead_letters)
    assert (again, envelope.moves, envelope.reason) == (message, min(moves + 1, 1_000_000), "Failed")
    back = encode(Outgoing(again, moves=moves + 2, token="of-sqs"), source)
    assert isinstance(back, Prepared), back
    key = message.ordering_key
    returned, _ = decode(received(back, None if key is None else group_id(key)), source, frozenset({ARN}))
    assert returned == message
