"""`existing = ...`: what is there already carries messages through the exported binding, and stays as it is.

On each cloud a topic and a queue are made with the cloud's own client, the stack's program adopts both, messages pass,
and the stack's own resources are taken away again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import grpc
import pulumi
import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus.management import ServiceBusAdministrationClient
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

import polybus
from polybus.clouds.aws.local import Realiser as AwsRealiser
from polybus.clouds.azure.local import Realiser as AzureRealiser
from polybus.clouds.gcp.local import Realiser as GcpRealiser
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer

from . import flow, runner, simulated

TOPOLOGY = """
[bus]
name = "shop"
[topics.events]
existing = "{topic}"
[queues.jobs]
existing = "{queue}"
[subscriptions.watch]
topic = "events"
filter = 'region == "eu"'
[services.worker]
publishes = ["events", "jobs"]
consumes = ["watch", "jobs"]
operates = ["jobs"]
"""
REGION = "eu-west-1"
PROJECT = "shop-dev"
NAMESPACE = "shop-shared"
GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/messaging"
ENTITIES = f"{GROUP}/providers/Microsoft.ServiceBus/namespaces/{NAMESPACE}"


async def passes(binding: str) -> None:
    """Send through both, filter, dead-letter and redrive."""
    async with polybus.connect(binding, service="worker") as bus:
        await bus.publish("events", "elsewhere", attributes={"region": "us"})
        event = await bus.publish("events", "here", attributes={"region": "eu"})
        [seen] = await flow.take(bus, "watch", 1)
        assert (seen.id, seen.body) == (event, b"here")
        job = await bus.publish("jobs", "work")
        await flow.fail(bus, "jobs")
        letters = [peeked async for peeked in bus.dead_letters("jobs").peek()]
        assert [(letter.message.id, letter.reason) for letter in letters] == [(job, "Unpaid")]
        assert await bus.dead_letters("jobs").redrive() == 1
        [again] = await flow.take(bus, "jobs", 1)
        assert (again.id, again.body) == (job, b"work")


def adopt(folder: Path, topic: str, queue: str, create: runner.Create, cloud: str, **values: str) -> runner.Run:
    """Run the stack's program with a topology that adopts a topic and a queue."""
    (folder / "polybus.toml").write_text(TOPOLOGY.format(topic=topic, queue=queue))
    given = {"polybus:cloud": cloud, **{key.replace("__", ":"): value for key, value in values.items()}}
    here = {"id": "000000000000", "accountId": "000000000000"}  # the local server's

    def look(token: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return here if token.endswith(":getCallerIdentity") else simulated.look(token, arguments)

    return runner.run(runner.main, create, look=look, values=given, root=folder)


class Aws:
    """An account with a topic and a queue of somebody else's."""

    def __init__(self, endpoint: str) -> None:
        given = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": REGION}
        self.sns: Any = boto3.client("sns", endpoint_url=endpoint, **given)
        self.sqs: Any = boto3.client("sqs", endpoint_url=endpoint, **given)
        self.realiser = AwsRealiser(endpoint=endpoint, region=REGION)
        self.topic: str = self.sns.create_topic(Name="their-events", Attributes={"DisplayName": "theirs"})["TopicArn"]
        attributes = {"VisibilityTimeout": "77", "MessageRetentionPeriod": "3600"}
        self.url: str = self.sqs.create_queue(QueueName="their-jobs", Attributes=attributes)["QueueUrl"]

    @property
    def queue(self) -> str:
        return str(self.attributes()["QueueArn"])

    def attributes(self) -> dict[str, str]:
        """Give the queue's attributes; counts and times of change aside."""
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return {key: value for key, value in found.items() if not key.startswith(("Approximate", "LastModified"))}

    def topic_attributes(self) -> dict[str, str]:
        found = self.sns.get_topic_attributes(TopicArn=self.topic)["Attributes"]
        return {key: value for key, value in found.items() if not key.startswith("Subscriptions")}

    def delete(self, made: runner.Registered, outputs: Mapping[str, Any]) -> None:
        """Take away a resource as the provider does: what is attached to a queue is set to nothing."""
        if made.type == "aws:sqs/queue:Queue":
            self.sqs.delete_queue(QueueUrl=outputs["url"])
        elif made.type == "aws:sns/topicSubscription:TopicSubscription":
            self.sns.unsubscribe(SubscriptionArn=outputs["arn"])
        elif made.type == "aws:sqs/redrivePolicy:RedrivePolicy":
            self.sqs.set_queue_attributes(QueueUrl=made.inputs["queueUrl"], Attributes={"RedrivePolicy": ""})

    def close(self) -> None:
        for client in (self.sns, self.sqs, self.realiser):
            client.close()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with running_in_thread(AwsServer(region=REGION)) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        account = Aws(server.url)
        yield account
        account.close()


async def test_aws(aws: Aws, tmp_path: Path) -> None:
    topic, queue, made = aws.topic_attributes(), aws.attributes(), {}

    def create(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        made[name] = dict(aws.realiser.create(type_, name, inputs))
        return made[name]

    done = adopt(tmp_path, aws.topic, aws.queue, create, "aws", aws__region=REGION)
    assert done.of("aws:sns/topic:Topic") == done.of("aws:sns/topicPolicy:TopicPolicy") == []
    assert {item.name for item in done.of("aws:sqs/queue:Queue")} == {
        "shop-jobs-dead-letters",
        "shop-watch-queue",
        "shop-watch-dead-letters",
    }
    # The queue's one attribute that changes is where its dead letters go.
    assert aws.topic_attributes() == topic
    assert {key: value for key, value in aws.attributes().items() if key != "RedrivePolicy"} == queue
    assert "shop-dev-jobs" in aws.attributes()["RedrivePolicy"]
    rights = done.outputs["policies"]["worker"]
    assert aws.topic in rights
    assert aws.queue in rights
    binding = json.loads(runner.stack_output(done))
    binding["settings"]["long_poll"] = 1  # a drain waits for a poll that is under way
    await passes(json.dumps(binding))
    for resource in reversed(done.resources[1:]):
        aws.delete(resource, made[resource.name])
    assert (aws.topic_attributes(), aws.attributes()) == (topic, queue)


@pytest.mark.parametrize("key", ["topic", "queue"])
def test_aws_adopts_nothing_of_another_region(aws: Aws, tmp_path: Path, key: str) -> None:
    arns = {"topic": aws.topic, "queue": aws.queue}
    arns[key] = arns[key].replace(REGION, "us-east-1")
    with pytest.raises(pulumi.RunError) as raised:
        adopt(tmp_path, **arns, create=aws.realiser.create, cloud="aws", aws__region=REGION)
    entry = {"topic": "topics.events", "queue": "queues.jobs"}[key]
    assert str(raised.value) == (
        f"{tmp_path / 'polybus.toml'}: at $.{entry}.existing: aws: found a resource of us-east-1; the stack is in "
        f"{REGION}, and clients reach one region"
    )


@contextmanager
def google(endpoint: str) -> Iterator[tuple[Any, Any]]:
    with grpc.insecure_channel(endpoint) as channel:
        yield (
            PublisherClient(transport=PublisherGrpcTransport(channel=channel)),
            SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)),
        )


async def test_gcp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_in_thread(PubsubServer(project=PROJECT)) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        realiser = GcpRealiser(endpoint=f"{server.host}:{server.port}", project=PROJECT)
        with google(f"{server.host}:{server.port}") as (publisher, subscriber):
            paths = [f"projects/{PROJECT}/topics/their-{name}" for name in ("events", "jobs")]
            theirs = [publisher.create_topic(request={"name": path, "labels": {"whose": "theirs"}}) for path in paths]
            done = adopt(tmp_path, *paths, realiser.create, "gcp", gcp__project=PROJECT)
            assert {item.name for item in done.of("gcp:pubsub/topic:Topic")} == {
                "shop-watch-dead-letters-topic",
                "shop-jobs-dead-letters-topic",
            }
            assert [publisher.get_topic(topic=path) for path in paths] == theirs
            await passes(runner.stack_output(done))
            for item in done.of("gcp:pubsub/subscription:Subscription"):
                name = item.inputs["name"]
                subscriber.delete_subscription(subscription=f"projects/{PROJECT}/subscriptions/{name}")
            for item in done.of("gcp:pubsub/topic:Topic"):
                publisher.delete_topic(topic=f"projects/{PROJECT}/topics/{item.inputs['name']}")
            assert list(publisher.list_topics(project=f"projects/{PROJECT}")) == theirs
        realiser.close()


async def test_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_in_thread(ServiceBusServer()) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        transport = RequestsTransport(connection_verify=str(server.certificate))
        realiser = AzureRealiser(connection_string=server.connection_string(), ca_file=server.certificate)
        with ServiceBusAdministrationClient.from_connection_string(
            server.connection_string(), transport=transport, retry_total=0
        ) as client:
            client.create_topic("their-events", user_metadata="theirs")
            client.create_queue("their-jobs", lock_duration=timedelta(seconds=17))
            before = str(client.get_topic("their-events")), str(client.get_queue("their-jobs"))
            ids = f"{ENTITIES}/topics/their-events", f"{ENTITIES}/queues/their-jobs"
            done = adopt(tmp_path, *ids, realiser.create, "azure", polybus__namespace=NAMESPACE)
            assert done.of("azure-native:servicebus:Topic") == done.of("azure-native:servicebus:Queue") == []
            assert (str(client.get_topic("their-events")), str(client.get_queue("their-jobs"))) == before
            await passes(runner.stack_output(done))
            client.delete_subscription("their-events", "watch")
            assert [topic.name for topic in client.list_topics()] == ["their-events"]
            assert [queue.name for queue in client.list_queues()] == ["their-jobs"]
        realiser.close()


@pytest.mark.parametrize(("key", "entry"), [("topic", "topics.events"), ("queue", "queues.jobs")])
def test_azure_adopts_nothing_of_another_namespace(tmp_path: Path, key: str, entry: str) -> None:
    ids = {"topic": f"{ENTITIES}/topics/their-events", "queue": f"{ENTITIES}/queues/their-jobs"}
    ids[key] = ids[key].replace(NAMESPACE, "elsewhere")
    with pytest.raises(pulumi.RunError) as raised:
        adopt(tmp_path, **ids, create=simulated.create, cloud="azure", polybus__namespace=NAMESPACE)
    assert str(raised.value) == (
        f"{tmp_path / 'polybus.toml'}: at $.{entry}.existing: azure: it has to be in the namespace of the stack, "
        f"{NAMESPACE}"
    )
