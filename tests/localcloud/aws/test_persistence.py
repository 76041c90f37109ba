"""A server in a process of its own, killed, and started again on the same folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from polybus.clock import SteppedClock
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread


class Process:
    """The server as `python -m polybus.localcloud.run aws` runs it."""

    def __init__(self, data: Path) -> None:
        command = [sys.executable, "-m", "polybus.localcloud.run", "aws", "--data", str(data)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        _, host, port = self._process.stdout.readline().split()
        self.url = f"http://{host}:{port}"
        self._clients: list[Any] = []
        self.sqs, self.sns = self._client("sqs"), self._client("sns")

    def _client(self, service: str) -> Any:
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        self._clients.append(client)
        return client

    def end(self, number: int) -> int:
        for client in self._clients:
            client.close()
        self._process.send_signal(number)
        code = self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code


@contextmanager
def served(data: Path, number: int = signal.SIGKILL) -> Iterator[Process]:
    process = Process(data)
    try:
        yield process
    finally:
        code = process.end(number)
    assert code == (-number if number == signal.SIGKILL else 0)


def receive(process: Process, url: str, **more: Any) -> list[dict[str, Any]]:
    answer = process.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"], **more
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_accepted_outlives_the_server(tmp_path: Path, number: int) -> None:
    with served(tmp_path, number) as first:
        url = first.sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "3600"}, tags={"a": "b"})[
            "QueueUrl"
        ]
        attribute = {"b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
        for n in range(20):
            first.sqs.send_message(QueueUrl=url, MessageBody=f"m{n}", MessageAttributes=attribute)
        kept = receive(first, url)
        first.sqs.delete_message(QueueUrl=url, ReceiptHandle=kept[0]["ReceiptHandle"])
        first.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=kept[1]["ReceiptHandle"], VisibilityTimeout=0)
    with served(tmp_path) as second:
        found = second.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert found["VisibilityTimeout"] == "3600"
        assert found["ApproximateNumberOfMessages"] == "11"
        assert found["ApproximateNumberOfMessagesNotVisible"] == "8"
        assert second.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
        messages = receive(second, url) + receive(second, url)
        counts = {message["Body"]: message["Attributes"]["ApproximateReceiveCount"] for message in messages}
        assert counts == {kept[1]["Body"]: "2"} | {f"m{n}": "1" for n in range(10, 20)}
        assert messages[0]["MessageAttributes"] == attribute
        # The leases of before are still good.
        second.sqs.delete_message(QueueUrl=url, ReceiptHandle=kept[2]["ReceiptHandle"])
        second.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=kept[3]["ReceiptHandle"], VisibilityTimeout=0)
        assert [message["Body"] for message in receive(second, url)] == [kept[3]["Body"]]


def test_topics_subscriptions_and_policies_outlive_the_server(tmp_path: Path) -> None:
    policy = {"a": ["x"]}
    with served(tmp_path) as first:
        topic = first.sns.create_topic(Name="t", Tags=[{"Key": "k", "Value": "v"}])["TopicArn"]
        url = first.sqs.create_queue(QueueName="q")["QueueUrl"]
        arn = first.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        first.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})
        attributes = {"RawMessageDelivery": "true", "FilterPolicy": json.dumps(policy)}
        first.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
        gone = first.sns.create_topic(Name="gone")["TopicArn"]
        first.sns.delete_topic(TopicArn=gone)
    with served(tmp_path) as second:
        for value in ("x", "y"):
            attribute = {"a": {"DataType": "String", "StringValue": value}}
            second.sns.publish(TopicArn=topic, Message=value, MessageAttributes=attribute)
        assert [message["Body"] for message in receive(second, url)] == ["x"]
        assert [item["TopicArn"] for item in second.sns.list_topics()["Topics"]] == [topic]
        assert second.sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "k", "Value": "v"}]


def test_fifo_order_groups_and_deduplication_outlive_the_server(tmp_path: Path) -> None:
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "3600"}
    with served(tmp_path) as first:
        url = first.sqs.create_queue(QueueName="q.fifo", Attributes=attributes)["QueueUrl"]
        topic = first.sns.create_topic(Name="t.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
        published = first.sns.publish(TopicArn=topic, Message="p", MessageGroupId="g", MessageDeduplicationId="d")
        numbers = [
            first.sqs.send_message(QueueUrl=url, MessageBody=f"{n}", MessageGroupId="g")["SequenceNumber"]
            for n in range(3)
        ]
        [leased] = first.sqs.receive_message(QueueUrl=url)["Messages"]
    with served(tmp_path) as second:
        again = second.sqs.send_message(QueueUrl=url, MessageBody="2", MessageGroupId="g")
        assert again["SequenceNumber"] == numbers[2]
        repeated = second.sns.publish(TopicArn=topic, Message="p", MessageGroupId="g", MessageDeduplicationId="d")
        assert repeated["MessageId"] == published["MessageId"]
        later = second.sqs.send_message(QueueUrl=url, MessageBody="3", MessageGroupId="g")
        assert later["SequenceNumber"] > numbers[2]
        assert receive(second, url) == []  # the group is still blocked by what is in flight
        second.sqs.delete_message(QueueUrl=url, ReceiptHandle=leased["ReceiptHandle"])
        assert [message["Body"] for message in receive(second, url)] == ["1", "2", "3"]


def test_nothing_accepted_is_lost_when_it_is_killed_while_sending(tmp_path: Path) -> None:
    """Several clients send and receive until the process is killed under them; what was answered must be there."""
    process = Process(tmp_path)
    url = process.sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    accepted: list[str] = []
    asked: set[str] = set()  # deletes that were asked for; the last one may have been done without being answered
    deleted: set[str] = set()
    enough = threading.Event()

    def send(worker: int) -> None:
        for n in range(100_000):
            body = f"{worker}.{n}"
            try:
                process.sqs.send_message(QueueUrl=url, MessageBody=body)
            except (BotoCoreError, ClientError):
                return
            accepted.append(body)
            if len(accepted) >= 300:
                enough.set()

    def consume() -> None:
        while True:
            try:
                for message in receive(process, url):
                    asked.add(message["Body"])
                    process.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    deleted.add(message["Body"])
            except (BotoCoreError, ClientError):
                return

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(3)]
    threads.append(threading.Thread(target=consume))
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    process.end(signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    left: set[str] = set()
    with served(tmp_path) as second:
        while messages := receive(second, url, VisibilityTimeout=3600):
            left |= {message["Body"] for message in messages}
    assert set(accepted) - asked <= left
    assert not left & deleted, "a delete that was answered was undone"


def test_a_move_task_goes_on_after_a_restart(tmp_path: Path) -> None:
    clock = SteppedClock()

    def client(server: AwsServer) -> Any:
        return boto3.client(
            "sqs",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    with running_in_thread(AwsServer(data=tmp_path, clock=clock)) as server:
        sqs = client(server)
        letters = sqs.create_queue(QueueName="dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        work = sqs.create_queue(QueueName="work", Attributes={"RedrivePolicy": redrive})["QueueUrl"]
        sqs.send_message(QueueUrl=work, MessageBody="m")
        sqs.receive_message(QueueUrl=work, VisibilityTimeout=0)
        assert "Messages" not in sqs.receive_message(QueueUrl=work)
        sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=1)
        sqs.close()
    with running_in_thread(AwsServer(data=tmp_path, clock=clock)) as server:
        sqs = client(server)
        clock.advance(1)
        [message] = sqs.receive_message(QueueUrl=work, WaitTimeSeconds=20)["Messages"]
        assert message["Body"] == "m"
        sqs.close()
