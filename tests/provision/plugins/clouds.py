"""What the local provider plugins do on each cloud's local server: make, look for, and take away.

Making is `polybus.localcloud`'s own, from exactly what a provider gets; the rest is done by the cloud's own client.
Where the server is, each reads from the variables that the server gives to services. What the servers have nothing for
(rights outside of entities, alarms, namespaces) is made and taken away by being in Pulumi's state or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["PACKAGES", "Cloud", "connect"]

Inputs = Mapping[str, Any]


class Cloud(Protocol):
    """One cloud's local server; `made` is a resource's inputs and outputs."""

    def make(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        """Make a resource, or change the one that is there; answers functions that only read too."""

    def present(self, type_: str, made: Inputs) -> bool:
        """Return whether it is there still."""

    def remove(self, type_: str, made: Inputs) -> None:
        """Take it away; what is gone already is no error."""


class _Aws:
    def __init__(self, config: Inputs) -> None:
        import boto3

        from polybus.clouds.aws.local import Realiser

        endpoint, region = os.environ["AWS_ENDPOINT_URL"], str(config["region"])
        self.make = Realiser(endpoint=endpoint, region=region).create
        self._sns: Any = boto3.client("sns", endpoint_url=endpoint, region_name=region)
        self._sqs: Any = boto3.client("sqs", endpoint_url=endpoint, region_name=region)
        self._gone = (
            self._sns.exceptions.NotFoundException,
            self._sqs.exceptions.QueueDoesNotExist,
        )

    def present(self, type_: str, made: Inputs) -> bool:
        looks: dict[str, Callable[[], object]] = {
            "aws:sns/topic:Topic": lambda: self._sns.get_topic_attributes(TopicArn=made["arn"]),
            "aws:sns/topicSubscription:TopicSubscription": lambda: self._sns.get_subscription_attributes(
                SubscriptionArn=made["arn"]
            ),
            "aws:sqs/queue:Queue": lambda: self._sqs.get_queue_attributes(QueueUrl=made["url"]),
        }
        return _found(looks.get(type_), self._gone)

    def remove(self, type_: str, made: Inputs) -> None:
        removers: dict[str, Callable[[], object]] = {
            "aws:sns/topic:Topic": lambda: self._sns.delete_topic(TopicArn=made["arn"]),
            "aws:sns/topicSubscription:TopicSubscription": lambda: self._sns.unsubscribe(SubscriptionArn=made["arn"]),
            "aws:sqs/queue:Queue": lambda: self._sqs.delete_queue(QueueUrl=made["url"]),
            "aws:sqs/queuePolicy:QueuePolicy": lambda: self._unset(made, "Policy"),
            "aws:sqs/redrivePolicy:RedrivePolicy": lambda: self._unset(made, "RedrivePolicy"),
            "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": lambda: self._unset(made, "RedriveAllowPolicy"),
        }
        _found(removers.get(type_), self._gone)

    def _unset(self, made: Inputs, attribute: str) -> None:
        self._sqs.set_queue_attributes(QueueUrl=made["queueUrl"], Attributes={attribute: ""})


class _Azure:
    _ENTITIES: Mapping[str, tuple[str, ...]] = {
        "azure-native:servicebus:Topic": ("topic", "topicName"),
        "azure-native:servicebus:Subscription": ("subscription", "topicName", "subscriptionName"),
        "azure-native:servicebus:Queue": ("queue", "queueName"),
    }

    def __init__(self, config: Inputs) -> None:
        from azure.core.exceptions import ResourceNotFoundError
        from azure.core.pipeline.transport import RequestsTransport
        from azure.servicebus.management import ServiceBusAdministrationClient

        from polybus.clouds.azure.local import Realiser

        text, ca_file = os.environ["AZURE_SERVICEBUS_CONNECTION_STRING"], os.environ["AZURE_SERVICEBUS_CA_FILE"]
        self.make = Realiser(connection_string=text, ca_file=ca_file).create
        self._client: Any = ServiceBusAdministrationClient.from_connection_string(
            text, transport=RequestsTransport(connection_verify=ca_file), retry_total=0
        )
        self._gone = (ResourceNotFoundError,)

    def present(self, type_: str, made: Inputs) -> bool:
        return _found(self._call("get", type_, made), self._gone)

    def remove(self, type_: str, made: Inputs) -> None:
        if type_ == "azure-native:servicebus:DefaultRule":
            names = (made["topicName"], made["subscriptionName"], "$Default")
            _found(lambda: self._client.delete_rule(*names), self._gone)
        else:
            _found(self._call("delete", type_, made), self._gone)

    def _call(self, verb: str, type_: str, made: Inputs) -> Callable[[], object] | None:
        if type_ not in self._ENTITIES:
            return None
        kind, *names = self._ENTITIES[type_]
        return lambda: getattr(self._client, f"{verb}_{kind}")(*(made[name] for name in names))


class _Gcp:
    def __init__(self, config: Inputs) -> None:
        import grpc
        from google.api_core.exceptions import NotFound
        from google.pubsub_v1 import PublisherClient, SubscriberClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        from polybus.clouds.gcp.local import Realiser

        endpoint, self._project = os.environ["PUBSUB_EMULATOR_HOST"], str(config["project"])
        self.make = Realiser(endpoint=endpoint, project=self._project).create
        channel = grpc.insecure_channel(endpoint)
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        self._gone = (NotFound,)

    def present(self, type_: str, made: Inputs) -> bool:
        looks: dict[str, Callable[[], object]] = {
            "gcp:pubsub/topic:Topic": lambda: self._publisher.get_topic(topic=self._path("topics", made["name"])),
            "gcp:pubsub/subscription:Subscription": lambda: self._subscriber.get_subscription(
                subscription=self._path("subscriptions", made["name"])
            ),
        }
        return _found(looks.get(type_), self._gone)

    def remove(self, type_: str, made: Inputs) -> None:
        removers: dict[str, Callable[[], object]] = {
            "gcp:pubsub/topic:Topic": lambda: self._publisher.delete_topic(topic=self._path("topics", made["name"])),
            "gcp:pubsub/subscription:Subscription": lambda: self._subscriber.delete_subscription(
                subscription=self._path("subscriptions", made["name"])
            ),
            "gcp:pubsub/topicIAMMember:TopicIAMMember": lambda: self._unmember(
                self._publisher, made, self._path("topics", made.get("topic", ""))
            ),
            "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": lambda: self._unmember(
                self._subscriber, made, self._path("subscriptions", made.get("subscription", ""))
            ),
        }
        _found(removers.get(type_), self._gone)

    def _unmember(self, client: Any, made: Inputs, resource: str) -> None:
        policy = client.get_iam_policy(request={"resource": resource})
        for one in policy.bindings:
            if one.role == made["role"] and made["member"] in one.members:
                one.members.remove(made["member"])
        client.set_iam_policy(request={"resource": resource, "policy": policy})

    def _path(self, kind: str, name: str) -> str:
        return name if "/" in name else f"projects/{self._project}/{kind}/{name}"


def _found(call: Callable[[], object] | None, gone: tuple[type[Exception], ...]) -> bool:
    """Do it; False where what it is done to isn't there. What the server knows nothing of is there by definition."""
    if call is None:
        return True
    try:
        call()
    except gone:
        return False
    return True


_CLOUDS: Mapping[str, Callable[[Inputs], Cloud]] = {"aws": _Aws, "azure-native": _Azure, "gcp": _Gcp}

PACKAGES = tuple(_CLOUDS)
"""The packages of Pulumi that there is a plugin for."""


def connect(package: str, config: Inputs) -> Cloud:
    """Connect to the local server of a package's cloud, by what the stack configures the provider with."""
    return _CLOUDS[package](config)
