"""Where the scenario of `engine_scenario.py` plays: each cloud's local server, and how a stack is configured for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.local import ATTRIBUTES
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
    """Lists all that is on the server, through the cloud's own client, each with all that it is set to."""
    drift: Callable[[str], None]
    """Changes the lease of the queue at an address by hand."""
    lose: Callable[[str], None]
    """Deletes the queue at an address by hand."""
    environment: Mapping[str, str]
    account: tuple[str, ...] = ()
    """The options of `polybus import` that say whose the resources are, beside the stack's configuration."""


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

        def everything() -> dict[str, str]:
            topics = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
            subscribed = [one["SubscriptionArn"] for one in sns.list_subscriptions()["Subscriptions"]]
            queues = sqs.list_queues().get("QueueUrls", [])
            found = {
                **{arn: sns.get_topic_attributes(TopicArn=arn) for arn in topics},
                **{arn: sns.get_subscription_attributes(SubscriptionArn=arn) for arn in subscribed},
                **{url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]) for url in queues},
            }
            return {name: _text(_lasting(answer["Attributes"])) for name, answer in found.items()}

        def drift(url: str) -> None:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})

        def lose(url: str) -> None:
            sqs.delete_queue(QueueUrl=url)

        try:
            account = ("--account", server.account)
            yield Place("aws", config, _planner(aws.plan, settings), everything, drift, lose, server.env(), account)
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

            def settable(kind: str, entity: Any) -> dict[str, Any]:
                return {name: getattr(entity, name) for name in ATTRIBUTES[f"azure-native:servicebus:{kind}"].values()}

            def everything() -> dict[str, str]:
                found = {queue.name: settable("Queue", queue) for queue in client.list_queues()}
                for topic in client.list_topics():
                    found[topic.name] = settable("Topic", topic)
                    for one in client.list_subscriptions(topic.name):
                        rules = [rule.filter.sql_expression for rule in client.list_rules(topic.name, one.name)]
                        found[f"{topic.name}/{one.name}"] = {**settable("Subscription", one), "rules": rules}
                return {name: _text(values) for name, values in found.items()}

            def drift(name: str) -> None:
                queue = client.get_queue(name)
                queue.lock_duration = timedelta(seconds=77)
                client.update_queue(queue)

            planner, account = _planner(azure.plan, settings), ("--account", "00000000-0000-0000-0000-00000000000a")
            yield Place("azure", config, planner, everything, drift, client.delete_queue, server.env(), account)


@contextmanager
def _gcp() -> Iterator[Place]:
    import grpc
    from google.pubsub_v1 import PublisherClient, SubscriberClient, types
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
            found = {}
            for client, listed in (
                (publisher, publisher.list_topics(request=inside)),
                (subscriber, subscriber.list_subscriptions(request=inside)),
            ):
                for one in listed:
                    policy = client.get_iam_policy(request={"resource": one.name})
                    grants = sorted(f"{held.role} {sorted(held.members)}" for held in policy.bindings if held.members)
                    found[one.name] = f"{one} {grants}"
            return found

        def drift(path: str) -> None:
            changed = types.Subscription(name=path, ack_deadline_seconds=77)
            mask = {"paths": ["ack_deadline_seconds"]}
            subscriber.update_subscription(request={"subscription": changed, "update_mask": mask})

        def lose(path: str) -> None:
            subscriber.delete_subscription(subscription=path)

        yield Place("gcp", config, _planner(gcp.plan, settings), everything, drift, lose, server.env())


def _lasting(attributes: Mapping[str, str]) -> dict[str, str]:
    """Leave out what messages and time change."""
    volatile = ("Approximate", "Subscriptions", "CreatedTimestamp", "LastModified")
    return {name: value for name, value in attributes.items() if not name.startswith(volatile)}


def _text(values: Mapping[str, Any]) -> str:
    return str({name: str(value) for name, value in sorted(values.items())})


def _planner(plan: Callable[..., Any], settings: object) -> Callable[[str], tuple[Resource, ...]]:
    @cache
    def resources(topology: str) -> tuple[Resource, ...]:
        planned: Iterable[Resource] = plan(loads(topology, source="polybus.toml"), settings).resources
        return tuple(planned)

    return resources
