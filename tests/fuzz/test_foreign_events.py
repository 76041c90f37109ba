"""Whatever a foreign producer puts into an event of a function ends in an answer, or in an error of polybus's own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from azure.functions import ServiceBusMessage
from azure.functions.meta import Datum
from azure.functions.servicebus import ServiceBusMessageInConverter
from hypothesis import example, given
from hypothesis import strategies as st

from polybus import App, Delivery
from polybus.binding import Binding, Entity, Kind
from polybus.errors import PolybusError
from polybus.serverless import aws_lambda, azure_functions, cloud_run

from .foreign import ENVELOPES, JSON_TEXTS, KEYS, NUMBERS, TEXTS, VALUES
from .scale import cases

ARN = "arn:aws:sns:us-east-2:123456789012:shop-orders"
SUBSCRIPTION = "projects/p/subscriptions/shop-billing"
ADDRESSES = {
    "aws": (ARN, "https://sqs.us-east-2.amazonaws.com/123456789012/shop-billing"),
    "azure": ("orders", "orders/Subscriptions/billing"),
    "gcp": ("projects/p/topics/shop-orders", SUBSCRIPTION),
}
SETTINGS = {
    "aws": {"region": "us-east-2"},
    "azure": {"namespace": "shop.servicebus.windows.net"},
    "gcp": {"project": "p"},
}


def binding(backend: str, *, push: bool = False) -> Binding:
    topic, billing = ADDRESSES[backend]
    return Binding(
        backend=backend,
        bus="shop",
        settings=SETTINGS[backend],
        topics={"orders": Entity(kind=Kind.TOPIC, name="orders", address=topic)},
        subscriptions={
            "billing": Entity(kind=Kind.SUBSCRIPTION, name="billing", topic="orders", address=billing, push=push)
        },
    )


class Handled(App):
    """An app that looks at all of what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.handler("billing")(self.look)

    async def look(self, delivery: Delivery) -> None:
        published = delivery.message.published_at or 0.0
        good = [
            isinstance(delivery.body, bytes),
            all(isinstance(part, str) for pair in delivery.attributes.items() for part in pair),
            delivery.attempt >= 1,
            0 <= published < 253_402_300_800,  # the years that dates have
        ]
        if not all(good):
            WRONG.append((good, delivery))


WRONG: list[object] = []


def taken(found: list[object]) -> list[object]:
    """Return what was found, and forget it: it is one case's."""
    copy = found.copy()
    found.clear()
    return copy


# AWS Lambda -----------------------------------------------------------------------------------------------------------

bodies = TEXTS | JSON_TEXTS
sqs_attributes = st.dictionaries(
    TEXTS.filter(bool),
    st.one_of(
        TEXTS.map(lambda value: {"stringValue": value, "dataType": "String"}),
        st.binary(max_size=9).map(lambda v: {"binaryValue": base64.b64encode(v).decode(), "dataType": "Binary"}),
    ),
    max_size=4,
)
sqs_records = st.builds(
    lambda body, attributes, own, count: {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEB",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(count), "SentTimestamp": "1545082649183"},
        "messageAttributes": attributes
        if own is None
        else {**attributes, "polybus": {"stringValue": own, "dataType": "String"}},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:shop-billing",
    },
    bodies,
    sqs_attributes,
    st.none() | ENVELOPES,
    st.sampled_from([1, 2, 1_000]),
)
sns_attributes = st.dictionaries(
    TEXTS.filter(bool),
    st.one_of(
        st.builds(lambda kind, value: {"Type": kind, "Value": value}, st.sampled_from(["String", "Number"]), TEXTS),
        st.binary(max_size=9).map(lambda v: {"Type": "Binary", "Value": base64.b64encode(v).decode()}),
    ),
    max_size=4,
)
sns_records = st.builds(
    lambda body, attributes, own: {
        "EventSource": "aws:sns",
        "Sns": {
            "Timestamp": "2019-01-02T12:45:07.000Z",
            "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
            "Message": body,
            "MessageAttributes": attributes
            if own is None
            else {**attributes, "polybus": {"Type": "String", "Value": own}},
            "TopicArn": ARN,
        },
    },
    bodies,
    sns_attributes,
    st.none() | ENVELOPES,
)


@pytest.fixture(scope="module")
def lambdas() -> Iterator[dict[str, Any]]:
    app = Handled()
    made = {"aws:sqs": aws_lambda(app, binding("aws")), "aws:sns": aws_lambda(Handled(), binding("aws", push=True))}
    yield made
    for each in made.values():
        each.close()


@cases(1 / 4)  # of the platforms'; as many are no events of Lambda's
@given(st.one_of(sqs_records, sns_records))
def test_a_record_of_a_lambda_event_is_handled(lambdas: dict[str, Any], record: dict[str, Any]) -> None:
    origin = record.get("eventSource", "aws:sns")
    answer = lambdas[origin](json.loads(json.dumps({"Records": [record]})))
    assert answer == ({"batchItemFailures": []} if origin == "aws:sqs" else None)
    assert taken(WRONG) == []


spoiled = st.builds(
    lambda record, name, value: {"Records": [{**record, name: value}]},
    st.one_of(sqs_records, sns_records),
    st.sampled_from(["messageId", "body", "attributes", "messageAttributes", "eventSource", "eventSourceARN", "Sns"]),
    VALUES,
)
junk = st.dictionaries(st.sampled_from(["Records", "x"]), VALUES | st.lists(VALUES, max_size=2), max_size=2)


@cases(1 / 4)
@given(st.one_of(spoiled, junk))
@example({"Records": True})
@example({"Records": ["x"]})
@example({"Records": [{"eventSource": "aws:sqs"}]})
@example({"Records": [{"EventSource": "aws:sns", "Sns": []}]})
def test_what_is_no_event_is_refused(lambdas: dict[str, Any], event: dict[str, Any]) -> None:
    for function in lambdas.values():
        with contextlib.suppress(PolybusError):
            function(event)


# Azure Functions ------------------------------------------------------------------------------------------------------

user_properties = st.one_of(
    st.dictionaries(TEXTS, VALUES, max_size=4), ENVELOPES.map(lambda text: {"polybus": text, "polybus.1": ""})
)


def of_functions(body: bytes, properties: dict[str, Any], said: dict[str, Any]) -> ServiceBusMessage:
    """Return a message as the worker makes it of what the host says, by the library's own converter."""
    given = {"ApplicationProperties": properties, "UserProperties": properties, **said}
    try:
        datum = Datum(body.decode(), "string") if body else None
    except UnicodeDecodeError:
        datum = Datum(body, "bytes")
    metadata = {
        name: Datum(value, "string") if isinstance(value, str) else Datum(json.dumps(value), "json")
        for name, value in given.items()
    }
    found = ServiceBusMessageInConverter.decode(datum, trigger_metadata=metadata)
    assert isinstance(found, ServiceBusMessage)
    return found


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all cases: an app is opened on the first's, and stays open."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def function(runner: asyncio.Runner) -> Iterator[Any]:
    made = azure_functions(Handled(), binding("azure"))
    yield made
    runner.run(made.close())


said = st.fixed_dictionaries(
    {},
    optional={
        "MessageId": TEXTS,
        "ContentType": TEXTS,
        "SessionId": TEXTS,
        "DeliveryCount": st.sampled_from([0, 1, 2**31 - 1]),
        "SequenceNumber": st.sampled_from([0, 17, 2**63 - 1]),
        "EnqueuedTimeUtc": st.sampled_from(["2024-05-01T12:00:00.1234567", "2024-05-01T12:00:00Z"]),
    },
)


@cases(1 / 4)
@given(st.binary(max_size=12) | JSON_TEXTS.map(str.encode), user_properties, said)
def test_a_message_of_a_function_is_handled(
    runner: asyncio.Runner, function: Any, body: bytes, properties: dict[str, Any], said: dict[str, Any]
) -> None:
    runner.run(function(of_functions(body, properties, said)))
    assert taken(WRONG) == []


# Pushed by Pub/Sub, and by SNS ----------------------------------------------------------------------------------------

headers = st.dictionaries(
    st.sampled_from(
        [
            "content-type",
            "polybus",
            "polybus.1",
            "region",
            "x-goog-pubsub-message-id",
            "x-goog-pubsub-publish-time",
            "x-goog-pubsub-ordering-key",
            "x-goog-pubsub-delivery-attempt",
            "x-goog-pubsub-subscription-name",
            "content-length",
        ]
    ),
    st.one_of(
        TEXTS,
        ENVELOPES,
        st.sampled_from([SUBSCRIPTION, "2021-02-26T19:13:55.749Z", "0001-01-01", "7", "-1", "9" * 5_000, "²", "1e9"]),
    ),
    max_size=5,
)
pushes = st.builds(
    lambda message, more: json.dumps({"message": message, "subscription": SUBSCRIPTION, **more}).encode(),
    st.fixed_dictionaries(
        {"messageId": TEXTS, "publishTime": st.sampled_from(["2021-02-26T19:13:55.749Z", "0001-01-01", "x"])},
        optional={
            "data": st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode()) | TEXTS,
            "attributes": st.dictionaries(TEXTS, TEXTS, max_size=3) | ENVELOPES.map(lambda text: {"polybus": text}),
            "orderingKey": TEXTS | KEYS,
        },
    ),
    st.dictionaries(st.sampled_from(["deliveryAttempt", "message", "subscription", "x"]), VALUES | NUMBERS, max_size=1),
)
notifications = st.builds(
    lambda document, more: json.dumps({**document, **more}).encode(),
    st.fixed_dictionaries(
        {
            "Type": st.sampled_from(["Notification", "UnsubscribeConfirmation"]),
            "MessageId": TEXTS,
            "TopicArn": st.just(ARN),
            "Message": TEXTS | JSON_TEXTS,
            "Timestamp": st.sampled_from(["NOW", "0001-01-01", "9999-12-31T23:59:59-14:00"]),
            "SignatureVersion": st.just("1"),
            "Signature": st.just("x"),
            "SigningCertURL": st.just("https://sns.us-east-2.amazonaws.com/x.pem"),
            "MessageAttributes": sns_attributes
            | VALUES
            | ENVELOPES.map(lambda t: {"polybus": {"Type": "", "Value": t}}),
        }
    ),
    st.dictionaries(st.sampled_from(["Type", "Message", "Timestamp", "x"]), VALUES, max_size=1),
)
requests = st.one_of(
    st.tuples(headers, st.one_of(pushes, pushes, st.binary(max_size=30), JSON_TEXTS.map(str.encode))),
    st.tuples(headers.map(lambda given: {**given, "x-amz-sns-message-type": "Notification"}), notifications),
)


async def posted(application: Any, given: dict[str, str], body: bytes) -> int:
    sent: list[Any] = []
    head = [(name.encode(), value.encode()) for name, value in {"authorization": "Bearer x", **given}.items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application({"type": "http", "method": "POST", "path": "/", "headers": head}, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.fixture(scope="module")
def applications(runner: asyncio.Runner) -> Iterator[dict[str, Any]]:
    made = {
        backend: cloud_run(
            Handled(),
            binding(backend, push=backend == "aws"),
            verify=lambda token: None,
            verify_sns=lambda document: None,
        )
        for backend in ("gcp", "aws")
    }
    yield made
    for each in made.values():
        runner.run(each.close())


@cases(1 / 4)
@given(st.sampled_from(["gcp", "aws"]), requests)
@example(
    "gcp",
    ({}, b'{"message":{"messageId":"7","publishTime":"2021-02-26T19:13:55Z","data":"\xc2\x80"},"subscription":""}'),
)
@example("gcp", ({"x-goog-pubsub-message-id": "7", "x-goog-pubsub-delivery-attempt": "9" * 5_000}, b"x"))
@example("gcp", ({"x-goog-pubsub-message-id": "7", "x-goog-pubsub-publish-time": "0001-01-01T00:00:00+14:00"}, b"x"))
def test_a_pushed_request_is_answered(
    runner: asyncio.Runner, applications: dict[str, Any], backend: str, request_: tuple[dict[str, str], bytes]
) -> None:
    headers, body = request_
    now = datetime.datetime.now(datetime.UTC).isoformat().encode()
    status = runner.run(posted(applications[backend], headers, body.replace(b"NOW", now)))
    assert status in (200, 204, 400, 403, 413, 500, 503)
    assert taken(WRONG) == []
