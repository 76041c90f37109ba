"""Making a plan's resources on a local AWS server, from exactly what Pulumi's provider would get.

Inputs are Pulumi's: by type token, with camelCase keys. SNS and SQS resources are made by boto3, so that the server
checks them as AWS does; one that is there already, from a run before, is changed to what the plan says, and keeps its
messages. What the server has no service for (IAM, CloudWatch, S3, Lambda permissions) is kept in `recorded`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from polybus.plan.planning import Local, trusting
from polybus.plan.realising import camel, make_all
from polybus.plan.values import Json

if TYPE_CHECKING:
    from pathlib import Path

    from polybus.binding import Binding
    from polybus.clouds.aws.plan.resources import AwsPlan
    from polybus.localcloud.aws.server import AwsServer
    from polybus.topology.model import Topology

__all__ = ["ATTRIBUTES", "LOCAL", "Realiser", "camel", "realise"]

Inputs = Mapping[str, Any]
Outputs = dict[str, str]

_TOPIC = {
    "fifoTopic": "FifoTopic",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "fifoThroughputScope": "FifoThroughputScope",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "maximumMessageSize": "MaximumMessageSize",
    "signatureVersion": "SignatureVersion",
}
_QUEUE = {
    "fifoQueue": "FifoQueue",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "deduplicationScope": "DeduplicationScope",
    "fifoThroughputLimit": "FifoThroughputLimit",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "maxMessageSize": "MaximumMessageSize",
    "delaySeconds": "DelaySeconds",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
}
_SUBSCRIPTION = {
    "rawMessageDelivery": "RawMessageDelivery",
    "filterPolicy": "FilterPolicy",
    "filterPolicyScope": "FilterPolicyScope",
    "redrivePolicy": "RedrivePolicy",
    "deliveryPolicy": "DeliveryPolicy",
}
ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "aws:sns/topic:Topic": _TOPIC,
    "aws:sns/topicPolicy:TopicPolicy": {"policy": "Policy"},
    "aws:sns/topicSubscription:TopicSubscription": _SUBSCRIPTION,
    "aws:sqs/queue:Queue": _QUEUE,
    "aws:sqs/queuePolicy:QueuePolicy": {"policy": "Policy"},
    "aws:sqs/redrivePolicy:RedrivePolicy": {"redrivePolicy": "RedrivePolicy"},
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": {"redriveAllowPolicy": "RedriveAllowPolicy"},
}
"""What SNS and SQS call the properties that become attributes, by type token."""

STANDARD_PORT = 4566  # where tests that were written for LocalStack look
_OTHER_SERVICES = ("aws:iam/", "aws:cloudwatch/", "aws:lambda/", "aws:s3/")
_BUCKET = "aws:s3/bucket:Bucket"


class Realiser:
    """Creates resources one by one, in an order in which what they refer to is there.

    A boto3 `session` brings credentials and region of its own; `endpoint` None leaves the address to it, `ca_file` None
    whom to trust.
    """

    def __init__(
        self, *, endpoint: str | None, region: str = "us-east-1", session: Any = None, ca_file: Path | None = None
    ) -> None:
        import boto3
        from botocore.config import Config

        if session is None:
            # Any key is the account's owner on a local server, unless it has a policy there.
            session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=region)  # noqa: S106
        # A local server isn't reached through a proxy, whatever HTTP_PROXY says.
        config = Config(proxies={}) if endpoint is not None else None
        self._verify = None if ca_file is None else str(ca_file)
        self._sns: Any = session.client("sns", endpoint_url=endpoint, config=config, verify=self._verify)
        self._sqs: Any = session.client("sqs", endpoint_url=endpoint, config=config, verify=self._verify)
        self._region: str = self._sqs.meta.region_name
        self.recorded: list[tuple[str, str, dict[str, Any]]] = []
        self._session = session
        self._endpoint = endpoint
        self._makers: dict[str, Callable[[Inputs], dict[str, Any]]] = {
            "aws:index/getRegion:getRegion": lambda given: {"id": self._region, "region": self._region},
            "aws:index/getCallerIdentity:getCallerIdentity": self._caller,
            "aws:sqs/getQueues:getQueues": self._queues,
            "aws:sqs/getQueue:getQueue": self._looked_up,
            "aws:sns/topic:Topic": self._topic,
            "aws:sns/topicPolicy:TopicPolicy": self._topic_policy,
            "aws:sns/topicSubscription:TopicSubscription": self._subscription,
            "aws:sqs/queue:Queue": self._queue,
            "aws:sqs/queuePolicy:QueuePolicy": lambda given: self._set(given, "Policy", "policy"),
            "aws:sqs/redrivePolicy:RedrivePolicy": lambda given: self._set(given, "RedrivePolicy", "redrivePolicy"),
            "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": lambda given: self._set(
                given, "RedriveAllowPolicy", "redriveAllowPolicy"
            ),
        }

    def create(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        """Make one resource, or read one, and return its outputs, `id` among them.

        Raises KeyError for a type of SNS or SQS that isn't known here, boto3's ClientError for what the server refuses.
        """
        function = type_.rpartition(":")[2][:1].islower()  # of what nothing is known, nothing is answered
        if type_.startswith(_OTHER_SERVICES) and not function:
            self.recorded.append((type_, name, dict(inputs)))
            if type_ == _BUCKET:
                return {"id": inputs["bucket"], "arn": f"arn:aws:s3:::{inputs['bucket']}", "bucket": inputs["bucket"]}
            return {
                "id": name,
                "arn": f"arn:aws:{type_.split(':')[1].split('/', maxsplit=1)[0]}::local:{name}",
                "name": name,
            }
        return self._makers[type_](inputs)

    def close(self) -> None:
        """Close the connections."""
        self._sns.close()
        self._sqs.close()

    def _topic(self, given: Inputs) -> Outputs:
        name, attributes = given["name"], _attributes(given, _TOPIC)
        tags = [{"Key": key, "Value": value} for key, value in given.get("tags", {}).items()]
        try:
            arn = self._sns.create_topic(Name=name, Attributes=attributes, Tags=tags)["TopicArn"]
        except self._sns.exceptions.InvalidParameterException:
            pages = self._sns.get_paginator("list_topics").paginate()
            topics = (topic["TopicArn"] for page in pages for topic in page["Topics"])
            arn = next((topic for topic in topics if topic.endswith(f":{name}")), None)
            if arn is None:
                raise
            self._sns.tag_resource(ResourceArn=arn, Tags=tags)
            for key in attributes.keys() - {"FifoTopic"}:
                self._sns.set_topic_attributes(TopicArn=arn, AttributeName=key, AttributeValue=attributes[key])
        return {"id": arn, "arn": arn, "name": name, "owner": arn.split(":")[4]}

    def _topic_policy(self, given: Inputs) -> Outputs:
        self._sns.set_topic_attributes(
            TopicArn=given["arn"], AttributeName="Policy", AttributeValue=_text(given["policy"])
        )
        return {"id": given["arn"]}

    def _subscription(self, given: Inputs) -> Outputs:
        topic, endpoint, attributes = given["topic"], given["endpoint"], _attributes(given, _SUBSCRIPTION)
        call = {"TopicArn": topic, "Protocol": given["protocol"], "Endpoint": endpoint, "ReturnSubscriptionArn": True}
        try:
            arn = self._sns.subscribe(**call, Attributes=attributes)["SubscriptionArn"]
        except self._sns.exceptions.InvalidParameterException:
            pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
            found = (one for page in pages for one in page["Subscriptions"] if one["Endpoint"] == endpoint)
            arn = next((one["SubscriptionArn"] for one in found), None)
            if arn is None:
                raise
            for key, value in attributes.items():
                self._sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=key, AttributeValue=value)
        # Who subscribes again and says less is answered as if all were so: a filter that isn't declared any more is
        # still there, and an empty policy takes it away.
        if "FilterPolicy" not in attributes:
            self._sns.set_subscription_attributes(
                SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue="{}"
            )
        return {"id": arn, "arn": arn}

    def _queue(self, given: Inputs) -> Outputs:
        name, attributes, tags = given["name"], _attributes(given, _QUEUE), dict(given.get("tags", {}))
        try:
            url = self._sqs.create_queue(QueueName=name, Attributes=attributes, tags=tags)["QueueUrl"]
        except self._sqs.exceptions.QueueNameExists:
            url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
            self._sqs.tag_queue(QueueUrl=url, Tags=tags)
            attributes.pop("FifoQueue", None)  # a FIFO queue's name says it, and it never changes
            self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = found["Attributes"]["QueueArn"]
        return {"id": url, "url": url, "arn": arn, "name": name, "region": arn.split(":")[3]}

    def _caller(self, given: Inputs) -> Outputs:
        """Say who asks; the account alone tells whose a queue is."""
        client = self._session.client("sts", endpoint_url=self._endpoint, verify=self._verify)
        try:
            found = client.get_caller_identity()
        finally:
            client.close()
        return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}

    def _queues(self, given: Inputs) -> dict[str, Any]:
        pages = self._sqs.get_paginator("list_queues").paginate(QueueNamePrefix=given.get("queueNamePrefix", ""))
        return {"id": self._region, "queueUrls": [url for page in pages for url in page.get("QueueUrls", ())]}

    def _looked_up(self, given: Inputs) -> dict[str, Any]:
        url = self._sqs.get_queue_url(QueueName=given["name"])["QueueUrl"]
        tags = self._sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return {"id": url, "url": url, "arn": found["QueueArn"], "name": given["name"], "tags": tags}

    def _set(self, given: Inputs, attribute: str, key: str) -> Outputs:
        self._sqs.set_queue_attributes(QueueUrl=given["queueUrl"], Attributes={attribute: _text(given[key])})
        return {"id": given["queueUrl"]}


def realise(plan: AwsPlan, *, endpoint: str, region: str = "us-east-1", ca_file: Path | None = None) -> Binding:
    """Make everything in a plan on the server at `endpoint`, and return the binding that reaches it there.

    With HTTPS the certificate in `ca_file` is trusted; who uses the binding is told by AWS_CA_BUNDLE.
    """
    from polybus.clouds.aws.plan.resources import binding

    realiser = Realiser(endpoint=endpoint, region=region, ca_file=ca_file)
    return binding(plan, make_all(plan, realiser, lambda found: {camel(key): value for key, value in found.items()}))


def _attributes(given: Inputs, names: Mapping[str, str]) -> dict[str, str]:
    return {names[key]: _text(value) for key, value in given.items() if key in names}


def _text(value: Any) -> str:
    if isinstance(value, Json):
        return json.dumps(value.value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # numbers reach providers as floats
    return str(value)


def _server(host: str, port: int, data: Path | None) -> AwsServer:
    from polybus.localcloud.aws.server import AwsServer

    return AwsServer(host=host, port=port, data=data)


def _plan(topology: Topology) -> AwsPlan:
    from polybus.clouds.aws.plan.resources import AwsSettings, plan

    return plan(topology, AwsSettings(region="us-east-1"))


def _realise(plan: AwsPlan, server: AwsServer) -> Binding:
    made = realise(plan, endpoint=server.url, region=server.region, ca_file=server.certificate)
    # With the endpoint in it, the binding can't reach a real account, whatever the environment says. A service that is
    # told to stop awaits its long poll: here polls cost nothing, so short ones let it stop at once.
    return msgspec.structs.replace(made, settings={**made.settings, "endpoint": server.url, "long_poll": 1})


# A long poll of 20 s and what an answer takes.
def _standard(host: str, data: Path | None) -> AwsServer:
    return _server(host, STANDARD_PORT, data)


def _switches(language: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    if "AWS_CA_FILE" not in environment:
        return {}
    return trusting(language, environment["AWS_CA_FILE"], environment["AWS_CA_BUNDLE"], environment["AWS_TRUST_STORE"])


LOCAL = Local(
    ("boto3",),
    _server,
    _plan,
    _realise,
    patience=20.0,
    standard=_standard,
    switches=_switches,
    secure=lambda server: server.secure(),
)
