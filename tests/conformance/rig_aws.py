"""The rig of the AWS backend, by either client, against the local SNS and SQS server in a thread of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import boto3
import botocore.exceptions as botocore
import msgspec

from polybus.binding import Binding, Entity, Kind
from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.errors import FaultKind
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import ThreadedServer
from polybus.plan.check import check
from polybus.testing.rig import BaseRig, Late, Refusal
from polybus.topology.model import Topology

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}


class AwsRig(BaseRig):
    name = "aws"
    refuses = frozenset({Refusal.TOPIC, Refusal.ORDERED_TOPIC, Refusal.ORDERED_QUEUE})
    max_message = AWS.default_message_bytes

    letters_are_copies = True
    client_setting = "lean"
    foreign_attributes = MappingProxyType({"awsRequestId": "1", "polybusish": "2"})

    def __init__(self) -> None:
        super().__init__()
        self._server: ThreadedServer | None = None
        self._endpoint = ""

    async def realise(self, topology: Topology) -> Binding:
        os.environ.update(CREDENTIALS)
        server = AwsServer(clock=self.clock)
        self._server = ThreadedServer(server)
        self._server.start()
        self._endpoint = f"http://{server.host}:{server.port}"
        made = await asyncio.to_thread(
            realise, plan(topology, AwsSettings(region="us-east-1")), endpoint=self._endpoint
        )
        # validate: botocore checks every request of the tests. long_poll: a drain waits for one that is under way.
        chosen = {"validate": True, "long_poll": 1, "client": self.client_setting}
        settings = {**made.settings, "endpoint": self._endpoint, **chosen}
        return msgspec.structs.replace(made, settings=settings)

    async def drop(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    def check(self, topology: Topology) -> Sequence[str]:
        return [f"{finding.path}: {finding.found}" for finding in check(topology, "aws") if finding.severity == "error"]

    def late(self, source: Entity) -> Late:
        """Say what AWS does with a receipt handle whose time is over: it deletes, unless someone has the message."""
        return Late.MAY_WORK

    def deduplicates(self, target: Entity) -> bool:
        return target.ordered

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        return (
            (_refusal("Throttling", 400), FaultKind.THROTTLED),
            (_refusal("OverLimit", 403), FaultKind.THROTTLED),
            (_refusal("AWS.SimpleQueueService.NonExistentQueue", 400), FaultKind.NOT_FOUND),
            (_refusal("NotFound", 404), FaultKind.NOT_FOUND),
            (_refusal("AccessDenied", 403), FaultKind.DENIED),
            (_refusal("ExpiredToken", 403), FaultKind.UNAUTHENTICATED),
            (_refusal("ReceiptHandleIsInvalid", 400), FaultKind.LEASE_LOST),
            (_refusal("InvalidParameterValue", 400), FaultKind.INVALID),
            (_refusal("ServiceUnavailable", 503), FaultKind.UNAVAILABLE),
            (_refusal("InternalError", 500), FaultKind.INTERNAL),
            (botocore.EndpointConnectionError(endpoint_url=self._endpoint), FaultKind.UNAVAILABLE),
            (botocore.ConnectionClosedError(endpoint_url=self._endpoint), FaultKind.UNAVAILABLE),
            (botocore.ReadTimeoutError(endpoint_url=self._endpoint), FaultKind.TIMEOUT),
            (botocore.NoCredentialsError(), FaultKind.UNAVAILABLE),
        )

    def astray(self, binding: Binding) -> Binding:
        return msgspec.structs.replace(binding, settings={**binding.settings, "endpoint": "http://127.0.0.1:1"})

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self._endpoint)

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        given: dict[str, Any] = {
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            }
        }
        if ordering_key is not None:
            given |= {"MessageGroupId": ordering_key, "MessageDeduplicationId": os.urandom(8).hex()}
        if target.kind is Kind.TOPIC:
            sns = self.client("sns")
            await asyncio.to_thread(lambda: sns.publish(TopicArn=target.address, Message=body.decode(), **given))
        else:
            sqs = self.client("sqs")
            await asyncio.to_thread(
                lambda: sqs.send_message(QueueUrl=target.address, MessageBody=body.decode(), **given)
            )

    async def receive_foreign(self, source: Entity) -> tuple[bytes, Mapping[str, str]]:
        sqs = self.client("sqs")

        def receive() -> tuple[bytes, Mapping[str, str]]:
            found = sqs.receive_message(
                QueueUrl=source.address, WaitTimeSeconds=10, MessageAttributeNames=["All"], MaxNumberOfMessages=1
            )["Messages"][0]
            sqs.delete_message(QueueUrl=source.address, ReceiptHandle=found["ReceiptHandle"])
            attributes = found.get("MessageAttributes", {})
            return found["Body"].encode(), {name: value["StringValue"] for name, value in attributes.items()}

        return await asyncio.to_thread(receive)


class AwsBoto3Rig(AwsRig):
    """The same with boto3 alone."""

    name = "aws-boto3"
    client_setting = "boto3"


def _refusal(code: str, status: int) -> botocore.ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.ClientError(answer, "ReceiveMessage")
