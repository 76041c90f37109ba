"""What SNS can't deliver to a subscription's queue: it is among its dead letters, and comes back from there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import msgspec
import pytest

import polybus
from polybus.bus.bus import Bus

from .aws_lab import Lab, lab

TOPOLOGY = """
[bus]
name = "shop"
[topics.news]
[topics.orders]
ordered = true
[subscriptions.letters]
topic = "news"
[subscriptions.billing]
topic = "orders"
[subscriptions.audit]
topic = "orders"
ordered = false
"""
ELEVEN = {f"a{number}": {"DataType": "String", "StringValue": str(number)} for number in range(11)}


@pytest.fixture
def made() -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, lab(TOPOLOGY, patch) as made:
        yield made


@pytest.fixture
async def bus(made: Lab) -> AsyncIterator[Bus]:
    async with polybus.connect(json.dumps(msgspec.to_builtins(made.binding))) as bus:
        yield bus


def publish(made: Lab, topic: str, body: str, **more: Any) -> None:
    """Publish as a foreign producer does."""
    client = boto3.client("sns", endpoint_url=made.server.url, region_name="us-east-1")
    client.publish(TopicArn=made.entity(topic).address, Message=body, **more)
    client.close()


async def test_a_foreign_message_of_eleven_attributes_is_a_dead_letter_and_comes_back(made: Lab, bus: Bus) -> None:
    publish(made, "news", "hello", MessageAttributes=ELEVEN)
    letters = bus.dead_letters("letters")
    [found] = [letter async for letter in letters.peek()]
    assert found.message.body == b"hello"
    assert found.message.attributes == {name: value["StringValue"] for name, value in ELEVEN.items()}
    assert await letters.redrive() == 1
    async with bus.consume("letters") as deliveries:
        async for delivery in deliveries:
            assert delivery.message.body == b"hello"
            assert delivery.message.attributes == found.message.attributes
            await delivery.ack()
            break
    assert [letter async for letter in letters.peek()] == []


@pytest.mark.parametrize("name", ["billing", "audit"])
async def test_what_an_ordered_topic_can_not_deliver_is_a_dead_letter(made: Lab, bus: Bus, name: str) -> None:
    group = {"MessageGroupId": "c7", "MessageDeduplicationId": "1"}
    publish(made, "orders", "order", MessageAttributes=ELEVEN, **group)
    [found] = [letter async for letter in bus.dead_letters(name).peek()]
    assert found.message.body == b"order"
    assert len(found.message.attributes) == 11


async def test_what_a_queue_refuses_to_its_topic_is_a_dead_letter(made: Lab, bus: Bus) -> None:
    client = boto3.client("sqs", endpoint_url=made.server.url, region_name="us-east-1")
    client.set_queue_attributes(QueueUrl=made.entity("letters").address, Attributes={"Policy": ""})
    client.close()
    sent = await bus.publish("news", "hello", attributes={"kind": "greeting"})
    [found] = [letter async for letter in bus.dead_letters("letters").peek()]
    assert (found.message.id, found.message.body) == (sent, b"hello")
    assert found.message.attributes == {"kind": "greeting"}
