"""SNS and SQS on their local server, for Pulumi's engine: made by `local`, and read and taken away by boto3."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.clouds.aws.local import ATTRIBUTES, Realiser
from polybus.provision.laptop.cloud import Inputs, Laptop, attempt

__all__ = ["LAPTOP"]

_ENDPOINT = "AWS_ENDPOINT_URL"
_QUEUE = "aws:sqs/queue:Queue"
_CALLER = "aws:index/getCallerIdentity:getCallerIdentity"
_KNOWN_BY_ARN = ("aws:iam/policy:Policy",)
"""Of what is recorded, what the provider gives its ARN as its id."""


class _Stand:
    def __init__(self, config: Inputs) -> None:
        import boto3
        from botocore.config import Config

        endpoint = os.environ[_ENDPOINT]
        self._region = region = str(config.get("region") or os.environ["AWS_REGION"])
        self.make = Realiser(endpoint=endpoint, region=region).create
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=region)  # noqa: S106 - the server takes any
        self._sns: Any = session.client("sns", endpoint_url=endpoint, config=Config(proxies={}))
        self._sqs: Any = session.client("sqs", endpoint_url=endpoint, config=Config(proxies={}))
        self._gone = (
            self._sns.exceptions.NotFoundException,
            self._sqs.exceptions.QueueDoesNotExist,
        )

    def record(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        """Name it as AWS would: its own name, the local account and region."""
        service, _, kind = type_.split(":")[1].partition("/")
        if service == "s3":
            bucket = str(inputs["bucket"])
            return {"id": bucket, "arn": f"arn:aws:s3:::{bucket}"}
        own = str(inputs.get("name", name))
        region, resource = ("", f"{kind}/{own}") if service == "iam" else (self._region, own)
        arn = f"arn:aws:{service}:{region}:{self._account}:{resource}"
        return {"id": arn if type_ in _KNOWN_BY_ARN else own, "arn": arn, "name": own}

    @cached_property
    def _account(self) -> str:
        return str(self.make(_CALLER, "", {})["accountId"])

    def read(self, type_: str, identity: str, made: Inputs) -> dict[str, Any] | None:
        if type_ not in ATTRIBUTES:
            return {}
        try:
            if not made and type_ == _QUEUE:  # that is imported, by its URL on AWS
                identity = self._here(identity)
            attributes, found = self._attributes(type_, identity)
        except self._gone:
            return None
        names = ATTRIBUTES[type_]
        found |= {ours: _typed(attributes[theirs]) for ours, theirs in names.items() if theirs in attributes}
        if type_.endswith("Policy") and not found.keys() & names.keys():
            return None
        return {"id": identity, **found} | dict.fromkeys(made.keys() & names.keys() - found.keys())

    def _here(self, url: str) -> str:
        """Return where the queue is that has a URL on AWS: .../ACCOUNT/NAME."""
        account, name = url.split("/")[-2:]
        return str(self._sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"])

    def _attributes(self, type_: str, identity: str) -> tuple[dict[str, str], dict[str, Any]]:
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
        if type_ != _QUEUE:
            return attributes, {"queueUrl": identity}
        arn, tags = attributes["QueueArn"], self._sqs.list_queue_tags(QueueUrl=identity).get("Tags", {})
        return attributes, {"url": identity, "arn": arn, "name": arn.rpartition(":")[2], "tags": tags}

    def remove(self, type_: str, made: Inputs) -> None:
        removers: dict[str, Callable[[], object]] = {
            "aws:sns/topic:Topic": lambda: self._sns.delete_topic(TopicArn=made["arn"]),
            "aws:sns/topicSubscription:TopicSubscription": lambda: self._sns.unsubscribe(SubscriptionArn=made["arn"]),
            _QUEUE: lambda: self._sqs.delete_queue(QueueUrl=made["url"]),
            "aws:sqs/queuePolicy:QueuePolicy": lambda: self._unset(made, "Policy"),
            "aws:sqs/redrivePolicy:RedrivePolicy": lambda: self._unset(made, "RedrivePolicy"),
            "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": lambda: self._unset(made, "RedriveAllowPolicy"),
        }
        if type_ in removers:
            attempt(removers[type_], self._gone)

    def _unset(self, made: Inputs, attribute: str) -> None:
        self._sqs.set_queue_attributes(QueueUrl=made["queueUrl"], Attributes={attribute: ""})


def _typed(text: str) -> Any:
    """Read an attribute, all of which AWS writes as texts."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


def _binding(binding: Binding, environment: Mapping[str, str]) -> Binding:
    """Lead a binding to the server, whatever the environment says; short polls let a service stop at once."""
    return msgspec.structs.replace(
        binding, settings={**binding.settings, "endpoint": environment[_ENDPOINT], "long_poll": 1}
    )


def _variables(configuration: Mapping[str, str]) -> dict[str, str]:
    region = configuration.get("aws:region")
    return {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {}


LAPTOP = Laptop(
    package="aws",
    served=lambda type_, inputs: type_ in ATTRIBUTES,
    connect=_Stand,
    binding=_binding,
    variables=_variables,
)
