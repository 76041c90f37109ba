"""Where the scenario of `engine_scenario.py` plays: each cloud's local server, and how a stack is configured for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.namespace import AzureSettings, Principal
from polybus.clouds.gcp.plan import resources as gcp
from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.plan.values import Resource
from polybus.topology.file import loads

__all__ = ["STACK", "Place", "running"]

STACK = "dev"


@dataclass(frozen=True)
class Place:
    """One cloud's local server, and how a stack is configured for it."""

    cloud: str
    config: Mapping[str, Any]
    resources: Callable[[str], tuple[Resource, ...]]
    """Plans a topology's text with the same settings."""
    everything: Callable[[], dict[str, str]]
    """Lists all that is on the server, through the cloud's own client; what is consumed with its lease."""
    environment: Mapping[str, str]


@contextmanager
def running(cloud: str) -> Iterator[Place]:
    """Start a cloud's local server."""
    with {"aws": _aws, "azure": _azure, "gcp": _gcp}[cloud]() as place:
        yield place


@contextmanager
def _aws() -> Iterator[Place]:
    import boto3

    roles = {"checkout": "shop-checkout", "worker": "shop-worker"}
    settings = AwsSettings(stack=STACK, region="eu-west-1", roles=roles)
    config = {"polybus:cloud": "aws", "aws:region": "eu-west-1", "polybus:roles": roles}
    with running_in_thread(AwsServer(region="eu-west-1")) as server:
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-west-1")
        sns: Any = session.client("sns", endpoint_url=server.url)
        sqs: Any = session.client("sqs", endpoint_url=server.url)

        def lease(url: str) -> str:
            asked = ["VisibilityTimeout"]
            return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"][asked[0]])

        def everything() -> dict[str, str]:
            topics = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
            subscribed = [one["SubscriptionArn"] for one in sns.list_subscriptions()["Subscriptions"]]
            queues = {url: lease(url) for url in sqs.list_queues().get("QueueUrls", [])}
            return {**dict.fromkeys([*topics, *subscribed], ""), **queues}

        try:
            yield Place("aws", config, _planner(aws.plan, settings), everything, server.env())
        finally:
            sns.close()
            sqs.close()


@contextmanager
def _azure() -> Iterator[Place]:
    from azure.core.pipeline.transport import RequestsTransport
    from azure.servicebus.management import ServiceBusAdministrationClient

    principals = {"checkout": "00000000-0000-0000-0000-000000000001", "worker": "00000000-0000-0000-0000-000000000002"}
    known = {service: Principal(identity) for service, identity in principals.items()}
    settings = AzureSettings(stack=STACK, location="westeurope", principals=known)
    config = {"polybus:cloud": "azure", "azure-native:location": "westeurope", "polybus:principals": principals}
    with running_in_thread(ServiceBusServer()) as server:
        transport = RequestsTransport(connection_verify=str(server.certificate))
        text = server.connection_string()
        with ServiceBusAdministrationClient.from_connection_string(text, transport=transport) as client:

            def everything() -> dict[str, str]:
                found = {queue.name: str(queue.lock_duration) for queue in client.list_queues()}
                for topic in client.list_topics():
                    subscriptions = client.list_subscriptions(topic.name)
                    found |= {f"{topic.name}/{one.name}": str(one.lock_duration) for one in subscriptions}
                    found[topic.name] = ""
                return found

            yield Place("azure", config, _planner(azure.plan, settings), everything, server.env())


@contextmanager
def _gcp() -> Iterator[Place]:
    import grpc
    from google.pubsub_v1 import PublisherClient, SubscriberClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    members = {
        service: f"serviceAccount:{service}@shop-dev.iam.gserviceaccount.com" for service in ("checkout", "worker")
    }
    settings = GcpSettings(stack=STACK, project="shop-dev", members=members)
    config = {"polybus:cloud": "gcp", "gcp:project": "shop-dev", "polybus:members": members}
    with (
        running_in_thread(PubsubServer(project="shop-dev")) as server,
        grpc.insecure_channel(f"{server.host}:{server.port}") as channel,
    ):
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))

        def everything() -> dict[str, str]:
            inside = {"project": "projects/shop-dev"}
            found = {one.name: str(one.ack_deadline_seconds) for one in subscriber.list_subscriptions(request=inside)}
            return {**dict.fromkeys((topic.name for topic in publisher.list_topics(request=inside)), ""), **found}

        yield Place("gcp", config, _planner(gcp.plan, settings), everything, server.env())


def _planner(plan: Callable[..., Any], settings: object) -> Callable[[str], tuple[Resource, ...]]:
    @cache
    def resources(topology: str) -> tuple[Resource, ...]:
        planned: Iterable[Resource] = plan(loads(topology, source="polybus.toml"), settings).resources
        return tuple(planned)

    return resources
