"""A declared HTTPS push, realised on the local AWS server, and delivered over TLS to a served `cloud_run(app)`.

The local server writes the documents that SNS delivers, but calls no endpoints, and can't sign as AWS: `Sns` takes the
documents from a queue of its own, signs them with the test's key, and posts them as the developer guide says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import msgspec
import pytest
import signing
from served import BOUND, HOST, Statuses, Tls, listening, serving
from shop import Shop

import polybus
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.serverless import cloud_run
from polybus.serverless.fetch import Fetched
from polybus.topology.file import loads

REGION = "us-east-1"
CERTIFICATE = f"https://sns.{REGION}.amazonaws.com/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
TOPOLOGY = """
[bus]
name = "shop"
[topics.orders]
[topics.others]
[subscriptions.billing]
topic = "orders"
max_attempts = 3
push = {{ https = "{endpoint}" }}
"""


class Sns:
    """What SNS does for one topic's HTTPS subscription.

    https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html
    """

    def __init__(self, server: str, topic: str, tls: Tls) -> None:
        self._sns: Any = boto3.client("sns", endpoint_url=server, region_name=REGION)
        self._sqs: Any = boto3.client("sqs", endpoint_url=server, region_name=REGION)
        self.topic = topic
        found = self._sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        (self.endpoint,) = [one["Endpoint"] for one in found if one["Protocol"] == "https"]
        (arn,) = [one["SubscriptionArn"] for one in found if one["Protocol"] == "https"]
        self.attributes = self._declared(arn)
        self._queue = self._sqs.create_queue(QueueName="what-sns-delivers")["QueueUrl"]
        self.key = signing.signer()
        self.confirmed = False
        self._tls = tls

    def _declared(self, arn: str) -> dict[str, Any]:
        if arn == "PendingConfirmation":
            again = {"TopicArn": self.topic, "Protocol": "https", "Endpoint": self.endpoint}
            arn = self._sns.subscribe(**again, ReturnSubscriptionArn=True)["SubscriptionArn"]
        attributes: dict[str, Any] = self._sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        return attributes

    def close(self) -> None:
        self._sns.close()
        self._sqs.close()

    @property
    def attempts(self) -> int:
        """How often a message is tried."""
        policy = json.loads(self.attributes["DeliveryPolicy"])
        return 1 + int(policy["healthyRetryPolicy"]["numRetries"])

    def listen(self) -> None:
        """Have the topic's documents from now on."""
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        self._sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def fetch(self, url: str) -> Fetched:
        """Answer as SNS's own host."""
        if url == CERTIFICATE:
            return Fetched(200, {}, signing.signer().certificate)
        self.confirmed = url == self.subscribe_url
        return Fetched(200 if self.confirmed else 404, {}, b"")

    @property
    def subscribe_url(self) -> str:
        return f"https://sns.{REGION}.amazonaws.com/?Action=ConfirmSubscription&TopicArn={self.topic}&Token=2336412f"

    async def confirm(self) -> int:
        """Ask the endpoint whether it may; return what it answers."""
        document = {
            "Type": "SubscriptionConfirmation",
            "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
            "Token": "2336412f",
            "TopicArn": self.topic,
            "Message": f"You have chosen to subscribe to the topic {self.topic}.",
            "SubscribeURL": self.subscribe_url,
            "Timestamp": signing.stamp(),
        }
        (status,) = await self._post(document, 1)
        return status

    async def deliver(self) -> Sequence[int]:
        """Deliver the next message; return what each try was answered."""
        async with asyncio.timeout(BOUND):
            while not (received := await asyncio.to_thread(self._receive)):
                pass
        return await self._post(json.loads(received[0]["Body"]), self.attempts)

    def _receive(self) -> list[Any]:
        found: list[Any] = self._sqs.receive_message(QueueUrl=self._queue, WaitTimeSeconds=1).get("Messages", [])
        for one in found:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=one["ReceiptHandle"])
        return found

    async def _post(self, document: Mapping[str, Any], attempts: int) -> list[int]:
        body = json.dumps(self.key.sign_sns({**document, "SigningCertURL": CERTIFICATE}, "2"))
        headers = {"x-amz-sns-message-type": document["Type"], "Content-Type": "text/plain; charset=UTF-8"}
        trusting = ssl.create_default_context(cafile=str(self._tls.certificate))
        statuses: list[int] = []
        async with aiohttp.ClientSession() as session:
            while len(statuses) < attempts and not (statuses and statuses[-1] < 300):
                async with session.post(self.endpoint, data=body, headers=headers, ssl=trusting) as answer:
                    statuses.append(answer.status)
        return statuses


class Stack:
    def __init__(self, shop: Shop, sns: Sns, bus: polybus.Bus, binding: polybus.Binding) -> None:
        self.shop = shop
        self.sns = sns
        self.bus = bus
        self.binding = binding


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    tls, place, shop = Tls(tmp_path), listening(), Shop()
    endpoint = f"https://{HOST}:{place.getsockname()[1]}/billing"
    planned = plan(loads(TOPOLOGY.format(endpoint=endpoint), source="shop.toml"), AwsSettings(region=REGION))
    async with contextlib.AsyncExitStack() as open_:
        server = open_.enter_context(running_in_thread(AwsServer()))
        made = await asyncio.to_thread(realise, planned, endpoint=server.url)
        binding = msgspec.structs.replace(made, settings={**made.settings, "endpoint": server.url})
        sns = await asyncio.to_thread(Sns, server.url, binding.topics["orders"].address, tls)
        open_.callback(sns.close)
        await asyncio.to_thread(sns.listen)
        application = Statuses(cloud_run(shop.app, binding, fetch=sns.fetch))
        await open_.enter_async_context(serving(application, place, **tls.options))
        bus = await open_.enter_async_context(polybus.connect(binding))
        yield Stack(shop, sns, bus, binding)


async def test_the_subscription_is_confirmed_and_what_is_published_is_handled(stack: Stack) -> None:
    assert await stack.sns.confirm() == 200
    assert stack.sns.confirmed
    id_ = await stack.bus.publish("orders", {"id": "one"}, attributes={"region": "eu"})
    assert await stack.sns.deliver() == [200]
    (delivery,) = stack.shop.deliveries
    assert (delivery.id, delivery.attributes, delivery.attempt) == (id_, {"region": "eu"}, 1)


async def test_a_failure_is_tried_as_often_as_declared_and_kept_for_dead(stack: Stack) -> None:
    await stack.bus.publish("orders", {"id": "fails"})
    assert await stack.sns.deliver() == [503, 503, 503]
    assert stack.shop.ids == ["fails"] * 3
    target = json.loads(stack.sns.attributes["RedrivePolicy"])["deadLetterTargetArn"]
    letters = stack.binding.subscriptions["billing"].dead_letter
    assert letters is not None
    assert target.split(":")[-2:] == letters.split("/")[-2:]


async def test_what_can_not_be_decoded_is_kept_too(stack: Stack) -> None:
    await stack.bus.publish("orders", b"\x00\xff")
    assert await stack.sns.deliver() == [503, 503, 503]
    assert stack.shop.deliveries == []


async def test_who_is_not_sns_is_refused_and_nothing_is_confirmed(stack: Stack) -> None:
    stack.sns.key = signing.Signer()
    await stack.bus.publish("orders", {"id": "one"})
    assert await stack.sns.deliver() == [503] * 3
    assert await stack.sns.confirm() == 503
    assert not stack.sns.confirmed
    assert stack.shop.deliveries == []


async def test_a_topic_that_was_not_declared_to_push_here_is_refused(stack: Stack) -> None:
    stack.sns.topic = stack.binding.topics["others"].address
    assert await stack.sns.confirm() == 503
    assert not stack.sns.confirmed
