"""A local AWS server in a thread, and boto3 clients that reach it over real sockets, validation on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config

from polybus.clock import SteppedClock
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread

REGION = "us-east-1"


class Aws:
    """The server, its clock, clients of the default user, and what most tests need of them."""

    def __init__(self, server: AwsServer, clock: SteppedClock) -> None:
        self.server = server
        self.clock = clock
        self._clients: list[Any] = []
        self.sqs = self.client("sqs")
        self.sns = self.client("sns")

    def client(self, service: str, access_key: str = "local", region: str = REGION, retries: int = 0) -> Any:
        client = boto3.client(
            service,
            endpoint_url=self.server.url,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key="local",
            config=Config(retries={"max_attempts": retries}, read_timeout=30),
        )
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def queue(self, name: str = "q", **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes.setdefault("FifoQueue", "true")
        url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def arn(self, url: str) -> str:
        return f"arn:aws:sqs:{REGION}:{self.server.account}:{url.rsplit('/', 1)[1]}"

    def attribute(self, url: str, name: str) -> str:
        value: str = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name]
        return value

    def depth(self, url: str) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        names = ("", "NotVisible", "Delayed")
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        visible, in_flight, delayed = (int(found[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return visible, in_flight, delayed

    def send(self, url: str, *bodies: str, **more: Any) -> list[str]:
        return [self.sqs.send_message(QueueUrl=url, MessageBody=body, **more)["MessageId"] for body in bodies]

    def receive(self, url: str, count: int = 10, **more: Any) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=count,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            **more,
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def bodies(self, url: str, **more: Any) -> list[str]:
        return [message["Body"] for message in self.receive(url, **more)]

    def delete(self, url: str, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def topic(self, name: str = "t", **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes.setdefault("FifoTopic", "true")
        arn: str = self.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
        return arn

    def allow(self, url: str, topic: str) -> None:
        """Let this topic, and it alone, send to the queue."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.arn(url),
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        self.policy(url, statement)

    def policy(self, url: str, *statements: dict[str, Any]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})

    def subscribe(self, topic: str, url: str, **attributes: str) -> str:
        """Subscribe a queue that lets the topic in."""
        self.allow(url, topic)
        arn: str = self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=self.arn(url), Attributes=attributes)[
            "SubscriptionArn"
        ]
        return arn

    def string(self, value: str) -> dict[str, str]:
        return {"DataType": "String", "StringValue": value}

    @contextmanager
    def refused(self, code: str, status: int = 400, match: str | None = None) -> Iterator[None]:
        """The block must fail with this code and status."""
        with pytest.raises(self.sqs.exceptions.ClientError, match=match) as caught:
            yield
        response = caught.value.response
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


@pytest.fixture
def aws() -> Iterator[Aws]:
    clock = SteppedClock()
    with running_in_thread(AwsServer(clock=clock)) as server:
        aws = Aws(server, clock)
        try:
            yield aws
        finally:
            aws.close()
