"""What the local provider plugins do on each cloud's local server: make, read, and take away.

Making is `polybus.localcloud`'s own, from exactly what a provider gets; the rest is done by the cloud's own client.
Where the server is, each reads from the variables that the server gives to services. What the servers have nothing for
(rights outside of entities, alarms, namespaces) is made and taken away by being in Pulumi's state or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

__all__ = ["PACKAGES", "Cloud", "connect"]

Inputs = Mapping[str, Any]
Found = dict[str, Any]


class Cloud(Protocol):
    """One cloud's local server; `made` is a resource's inputs and outputs."""

    def make(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        """Make a resource, or change the one that is there; answers functions that only read too."""

    def read(self, type_: str, identity: str, made: Inputs) -> Found | None:
        """Return what the server has of a resource, by the provider's names; None where it isn't there.

        With nothing in `made`, as for one that is to be imported, all that names it comes from its id.
        """

    def remove(self, type_: str, made: Inputs) -> None:
        """Take it away; what is gone already is no error."""


class _Aws:
    def __init__(self, config: Inputs) -> None:
        import boto3

        from polybus.clouds.aws.local import ATTRIBUTES, Realiser

        endpoint, region = os.environ["AWS_ENDPOINT_URL"], str(config["region"])
        self.make = Realiser(endpoint=endpoint, region=region).create
        self._names = ATTRIBUTES
        self._sns: Any = boto3.client("sns", endpoint_url=endpoint, region_name=region)
        self._sqs: Any = boto3.client("sqs", endpoint_url=endpoint, region_name=region)
        self._gone = (
            self._sns.exceptions.NotFoundException,
            self._sqs.exceptions.QueueDoesNotExist,
        )

    def read(self, type_: str, identity: str, made: Inputs) -> Found | None:
        if type_ not in self._names:
            return {}
        try:
            attributes, found = self._attributes(type_, identity)
        except self._gone:
            return None
        names = self._names[type_]
        found |= {ours: _typed(attributes[theirs]) for ours, theirs in names.items() if theirs in attributes}
        if type_.endswith("Policy") and not found.keys() & names.keys():
            return None
        return found | dict.fromkeys(made.keys() & names.keys() - found.keys())

    def _attributes(self, type_: str, identity: str) -> tuple[dict[str, str], Found]:
        """Return what the service has of a resource: its attributes, and what isn't one of them."""
        if type_ == "aws:sns/topic:Topic":
            attributes = self._sns.get_topic_attributes(TopicArn=identity)["Attributes"]
            tags = self._sns.list_tags_for_resource(ResourceArn=identity)["Tags"]
            named = {"arn": identity, "name": identity.rpartition(":")[2], "owner": identity.split(":")[4]}
            return attributes, {**named, "tags": {tag["Key"]: tag["Value"] for tag in tags}}
        if type_ == "aws:sns/topicPolicy:TopicPolicy":
            return self._sns.get_topic_attributes(TopicArn=identity)["Attributes"], {"arn": identity}
        if type_ == "aws:sns/topicSubscription:TopicSubscription":
            attributes = self._sns.get_subscription_attributes(SubscriptionArn=identity)["Attributes"]
            return attributes, {"arn": identity, "topic": attributes["TopicArn"], "endpoint": attributes["Endpoint"]}
        attributes = self._sqs.get_queue_attributes(QueueUrl=identity, AttributeNames=["All"])["Attributes"]
        if type_ != "aws:sqs/queue:Queue":
            return attributes, {"queueUrl": identity}
        arn, tags = attributes["QueueArn"], self._sqs.list_queue_tags(QueueUrl=identity).get("Tags", {})
        return attributes, {"url": identity, "arn": arn, "name": arn.rpartition(":")[2], "tags": tags}

    def remove(self, type_: str, made: Inputs) -> None:
        removers: dict[str, Callable[[], object]] = {
            "aws:sns/topic:Topic": lambda: self._sns.delete_topic(TopicArn=made["arn"]),
            "aws:sns/topicSubscription:TopicSubscription": lambda: self._sns.unsubscribe(SubscriptionArn=made["arn"]),
            "aws:sqs/queue:Queue": lambda: self._sqs.delete_queue(QueueUrl=made["url"]),
            "aws:sqs/queuePolicy:QueuePolicy": lambda: self._unset(made, "Policy"),
            "aws:sqs/redrivePolicy:RedrivePolicy": lambda: self._unset(made, "RedrivePolicy"),
            "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": lambda: self._unset(made, "RedriveAllowPolicy"),
        }
        _do(removers.get(type_), self._gone)

    def _unset(self, made: Inputs, attribute: str) -> None:
        self._sqs.set_queue_attributes(QueueUrl=made["queueUrl"], Attributes={attribute: ""})


class _Azure:
    _ENTITIES: Mapping[str, tuple[str, ...]] = {
        "azure-native:servicebus:Topic": ("topic", "topicName"),
        "azure-native:servicebus:Subscription": ("subscription", "topicName", "subscriptionName"),
        "azure-native:servicebus:Queue": ("queue", "queueName"),
        "azure-native:servicebus:DefaultRule": ("rule", "topicName", "subscriptionName", "ruleName"),
    }

    def __init__(self, config: Inputs) -> None:
        from azure.core.exceptions import ResourceNotFoundError
        from azure.core.pipeline.transport import RequestsTransport
        from azure.servicebus.management import ServiceBusAdministrationClient

        from polybus.clouds.azure.local import ATTRIBUTES, Realiser

        text, ca_file = os.environ["AZURE_SERVICEBUS_CONNECTION_STRING"], os.environ["AZURE_SERVICEBUS_CA_FILE"]
        self.make = Realiser(connection_string=text, ca_file=ca_file).create
        self._names = ATTRIBUTES
        self._client: Any = ServiceBusAdministrationClient.from_connection_string(
            text, transport=RequestsTransport(connection_verify=ca_file), retry_total=0
        )
        self._gone = (ResourceNotFoundError,)

    def read(self, type_: str, identity: str, made: Inputs) -> Found | None:
        if type_ == "azure-native:authorization:RoleAssignment":
            return {} if self._there(made["scope"]) else None
        if type_ not in self._ENTITIES:
            return {}
        kind, *keys = self._ENTITIES[type_]
        names = _names(identity)
        try:
            entity = getattr(self._client, f"get_{kind}")(*names)
        except self._gone:
            return None
        found = dict(zip(keys, names, strict=True))
        if kind == "rule":
            action = getattr(entity.action, "sql_expression", None)
            acting = {"action": {"sqlExpression": action}} if action else {}
            return {**found, "sqlFilter": {"sqlExpression": entity.filter.sql_expression}, **acting}
        values = {ours: getattr(entity, theirs) for ours, theirs in self._names[type_].items()}
        # An entity without a flag doesn't say of it; without a text, such as where it forwards to, it has none.
        unset = {ours for ours, value in made.items() if not isinstance(value, bool)}
        return found | {ours: value for ours, value in values.items() if value is not None or ours in unset}

    def _there(self, scope: str) -> bool:
        """Say whether what a right is on is there: with an entity its rights are gone."""
        names = _names(scope)
        types = {("queues", 1): "Queue", ("topics", 1): "Topic", ("topics", 2): "Subscription"}
        kind = types.get((scope.split("/")[-2 * len(names)], len(names))) if names else None
        return kind is None or self.read(f"azure-native:servicebus:{kind}", scope, {}) is not None

    def remove(self, type_: str, made: Inputs) -> None:
        if type_ in self._ENTITIES:
            kind, *keys = self._ENTITIES[type_]
            names = [made.get(key, "$Default") for key in keys]
            _do(lambda: getattr(self._client, f"delete_{kind}")(*names), self._gone)


def _names(identity: str) -> list[str]:
    """Return the names below the namespace in a resource's id: .../namespaces/N/topics/NAME/subscriptions/NAME."""
    return re.sub(r".*/namespaces/[^/]+", "", identity).split("/")[2::2]


class _Gcp:
    _POLICIES: Mapping[str, str] = {
        "gcp:pubsub/topicIAMMember:TopicIAMMember": "topic",
        "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": "subscription",
    }

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

    def read(self, type_: str, identity: str, made: Inputs) -> Found | None:
        readers: dict[str, Callable[[], Found | None]] = {
            "gcp:pubsub/topic:Topic": lambda: self._fields(self._publisher.get_topic(topic=identity)),
            "gcp:pubsub/subscription:Subscription": lambda: self._fields(
                self._subscriber.get_subscription(subscription=identity)
            ),
            **dict.fromkeys(self._POLICIES, lambda: self._member(type_, made)),
        }
        try:
            return readers[type_]() if type_ in readers else {}
        except self._gone:
            return None

    def _fields(self, message: Any) -> Found:
        """Give a message as the provider has it: its own names, and those of resources as users write them."""
        from google.protobuf.json_format import MessageToDict

        found: Found = MessageToDict(type(message).pb(message), always_print_fields_with_no_presence=True)
        found["name"] = found["name"].rpartition("/")[2]
        return found

    def _member(self, type_: str, made: Inputs) -> Found | None:
        client, resource = self._policy_of(type_, made)
        policy = client.get_iam_policy(request={"resource": resource})
        there = any(one.role == made["role"] and made["member"] in one.members for one in policy.bindings)
        return {} if there else None

    def remove(self, type_: str, made: Inputs) -> None:
        removers: dict[str, Callable[[], object]] = {
            "gcp:pubsub/topic:Topic": lambda: self._publisher.delete_topic(topic=self._path("topics", made["name"])),
            "gcp:pubsub/subscription:Subscription": lambda: self._subscriber.delete_subscription(
                subscription=self._path("subscriptions", made["name"])
            ),
            **dict.fromkeys(self._POLICIES, lambda: self._unmember(type_, made)),
        }
        _do(removers.get(type_), self._gone)

    def _unmember(self, type_: str, made: Inputs) -> None:
        from polybus.clouds.gcp.local import change_policy

        def removed(policy: Any) -> bool:
            holding = [one for one in policy.bindings if one.role == made["role"] and made["member"] in one.members]
            for one in holding:
                one.members.remove(made["member"])
            return bool(holding)

        change_policy(*self._policy_of(type_, made), removed)

    def _policy_of(self, type_: str, made: Inputs) -> tuple[Any, str]:
        kind = self._POLICIES[type_]
        return self._publisher if kind == "topic" else self._subscriber, self._path(f"{kind}s", made[kind])

    def _path(self, kind: str, name: str) -> str:
        return name if "/" in name else f"projects/{self._project}/{kind}/{name}"


def _typed(text: str) -> Any:
    """Read an attribute, all of which AWS writes as texts."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


def _do(call: Callable[[], object] | None, gone: tuple[type[Exception], ...]) -> None:
    """Do it, if the server knows of such a thing at all; what it is done to may be gone already."""
    if call is not None:
        with suppress(*gone):
            call()


_CLOUDS: Mapping[str, Callable[[Inputs], Cloud]] = {"aws": _Aws, "azure-native": _Azure, "gcp": _Gcp}

PACKAGES = tuple(_CLOUDS)
"""The packages of Pulumi that there is a plugin for."""


def connect(package: str, config: Inputs) -> Cloud:
    """Connect to the local server of a package's cloud, by what the stack configures the provider with."""
    return _CLOUDS[package](config)
