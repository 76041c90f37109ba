"""Lambda's SQS event source mapping, played against the local AWS server: receive, invoke, delete what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from shop import Order, Shop

from polybus import App, Binding, SteppedClock, sync
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.serverless import AwsLambda, aws_lambda
from polybus.topology.file import loads

TOPOLOGY = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
max_attempts = 2
lease = "60s"
[queues.packing]
ordered = true
max_attempts = 2
lease = "60s"
"""
REGION = "us-east-1"


class Mapping:
    """An event source mapping with ReportBatchItemFailures.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    def __init__(self, sqs: Any, url: str, function: AwsLambda) -> None:
        self._sqs = sqs
        self._url = url
        self._function = function
        account, name = url.split("/")[-2:]
        self.arn = f"arn:aws:sqs:{REGION}:{account}:{name}"

    def poll(self, wait: int = 1) -> list[str]:
        """Receive, invoke, delete what succeeded; return the bodies that were handed over."""
        messages = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not messages:
            return []
        event = json.loads(json.dumps({"Records": [self._record(message) for message in messages]}))
        answer = self._function(event)
        assert answer is not None
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        assert failed <= {message["MessageId"] for message in messages}
        for message in messages:
            if message["MessageId"] not in failed:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages]

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {
                name: {
                    "stringValue": value["StringValue"],
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": value["DataType"],
                }
                for name, value in message.get("MessageAttributes", {}).items()
            },
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self.arn,
            "awsRegion": REGION,
        }


class Stack:
    """A stack on the local server, and a function with its binding."""

    def __init__(self, server: AwsServer, clock: SteppedClock, shop: Shop) -> None:
        made = realise(plan(loads(TOPOLOGY, source="shop.toml"), AwsSettings(region=REGION)), endpoint=server.url)
        self.binding: Binding = msgspec.structs.replace(
            made, settings={**made.settings, "endpoint": server.url, "validate": True, "long_poll": 1}
        )
        self.clock = clock
        self.shop = shop
        self.sqs = boto3.client("sqs", endpoint_url=server.url, region_name=REGION)
        self.function = aws_lambda(shop.app, self.binding)
        self.bus = sync.connect(self.binding)

    def mapping(self, name: str) -> Mapping:
        return Mapping(self.sqs, self.binding.source(name).address, self.function)

    def waiting(self, address: str | None) -> int:
        found = self.sqs.get_queue_attributes(QueueUrl=address, AttributeNames=["All"])["Attributes"]
        return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])

    def letters(self, name: str) -> list[Any]:
        return list(self.bus.dead_letters(name).peek())

    def close(self) -> None:
        self.function.close()
        self.bus.close()
        self.sqs.close()


@pytest.fixture
def stack() -> Iterator[Stack]:
    clock = SteppedClock()
    with running_in_thread(AwsServer(clock=clock)) as server:
        stack = Stack(server, clock, Shop("billing", "packing"))
        try:
            yield stack
        finally:
            stack.close()


def publish(stack: Stack, target: str, *orders: str, key: str | None = None, **attributes: str) -> list[str]:
    return [stack.bus.publish(target, {"id": order}, attributes=attributes, ordering_key=key) for order in orders]


def test_what_was_published_is_handled_once_as_it_was(stack: Stack) -> None:
    (id_,) = publish(stack, "orders", "fine", region="eu", note="")
    assert len(stack.mapping("billing").poll()) == 1
    (delivery,) = stack.shop.deliveries
    assert (delivery.id, delivery.attempt, delivery.attributes) == (id_, 1, {"region": "eu", "note": ""})
    assert stack.waiting(stack.binding.source("billing").address) == 0


def test_what_failed_comes_again_and_goes_to_the_dead_letters_after_its_last_attempt(stack: Stack) -> None:
    publish(stack, "orders", "fails", "fine")
    mapping = stack.mapping("billing")
    while len(stack.shop.deliveries) < 2:
        mapping.poll()
    assert mapping.poll(wait=0) == []
    stack.clock.advance(61)
    assert len(mapping.poll()) == 1
    assert [delivery.attempt for delivery in stack.shop.deliveries if delivery.body == b'{"id":"fails"}'] == [1, 2]
    (letter,) = stack.letters("billing")
    assert (letter.message.body, letter.reason, letter.description) == (
        b'{"id":"fails"}',
        "RuntimeError",
        "this order fails",
    )
    assert stack.waiting(stack.binding.source("billing").address) == 0


def test_a_dead_letter_is_copied_with_its_reason_and_can_be_redriven(stack: Stack) -> None:
    (id_,) = publish(stack, "orders", "dead", region="eu")
    stack.mapping("billing").poll()
    (letter,) = stack.letters("billing")
    assert (letter.message.id, letter.reason, letter.description) == (id_, "Unpayable", "no such customer")
    assert letter.message.attributes == {"region": "eu"}
    assert stack.waiting(stack.binding.source("billing").address) == 0
    assert stack.bus.dead_letters("billing").redrive() == 1
    stack.mapping("billing").poll()
    assert [delivery.redelivered for delivery in stack.shop.deliveries] == [False, True]


def test_what_can_not_be_decoded_is_a_dead_letter_at_once(stack: Stack) -> None:
    stack.sqs.send_message(QueueUrl=stack.binding.source("billing").address, MessageBody="not an order")
    stack.mapping("billing").poll()
    (letter,) = stack.letters("billing")
    assert letter.reason == "DecodeError"
    assert stack.shop.deliveries == []


def test_a_copy_that_can_not_be_sent_leaves_the_message(stack: Stack) -> None:
    publish(stack, "orders", "dead")
    source = stack.binding.source("billing")
    stack.sqs.delete_queue(QueueUrl=source.dead_letter)
    stack.mapping("billing").poll()
    assert stack.waiting(source.address) == 1
    stack.clock.advance(61)
    stack.mapping("billing").poll()
    assert [delivery.attempt for delivery in stack.shop.deliveries] == [1, 2]


def test_order_is_kept_through_failures_and_dead_letters(stack: Stack) -> None:
    publish(stack, "packing", "a1", "fails", "a2", key="A")
    publish(stack, "packing", "b1", "b2", key="B")
    mapping = stack.mapping("packing")
    while len(stack.shop.deliveries) < 4:
        mapping.poll()
    assert [id_ for id_ in stack.shop.ids if id_ not in ("b1", "b2")] == ["a1", "fails"]
    stack.clock.advance(61)
    while "a2" not in stack.shop.ids:
        mapping.poll()
    assert [id_ for id_ in stack.shop.ids if id_ not in ("b1", "b2")] == ["a1", "fails", "fails", "a2"]
    assert [id_ for id_ in stack.shop.ids if id_ in ("b1", "b2")] == ["b1", "b2"]
    (letter,) = stack.letters("packing")
    assert letter.message.ordering_key == "A"
    assert stack.waiting(stack.binding.source("packing").address) == 0


def test_handlers_publish_through_the_app(stack: Stack) -> None:
    app = App()

    @app.handler("billing")
    async def forward(order: Order) -> None:
        await app.bus.publish("packing", order, ordering_key="A")

    publish(stack, "orders", "fine")
    function = aws_lambda(app, stack.binding)
    try:
        Mapping(stack.sqs, stack.binding.source("billing").address, function).poll()
    finally:
        function.close()
    stack.mapping("packing").poll()
    assert [(delivery.source, delivery.ordering_key) for delivery in stack.shop.deliveries] == [("packing", "A")]
