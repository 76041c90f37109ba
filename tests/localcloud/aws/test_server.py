"""The server's life cycle."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import HTTPClientError

from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.run import load
from polybus.localcloud.server import running, running_in_thread


async def test_a_port_that_is_taken_is_told(tmp_path: Any) -> None:
    async with running(AwsServer()) as first:
        second = AwsServer(port=first.port, data=tmp_path)
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        await second.stop()
    async with running(AwsServer(port=first.port, data=tmp_path)) as third:
        assert third.port == first.port


async def test_stopping_twice_is_fine() -> None:
    server = AwsServer()
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()


def test_stopping_ends_the_polls_that_wait(aws: Any) -> None:
    ended = threading.Event()
    with running_in_thread(AwsServer()) as server:
        aws.server = server
        client = aws.client("sqs")
        url = client.create_queue(QueueName="q")["QueueUrl"]

        def poll() -> None:
            try:
                client.receive_message(QueueUrl=url, WaitTimeSeconds=20)
            except HTTPClientError:
                ended.set()

        thread = threading.Thread(target=poll)
        thread.start()
        queue = server.queues.by_arn("arn:aws:sqs:us-east-1:000000000000:q")
        assert queue is not None
        for _ in range(10_000):
            if len(queue.waiters):
                break
            threading.Event().wait(0.001)
    thread.join(60)
    assert ended.is_set()


def test_queues_are_there_only_once_it_runs() -> None:
    with pytest.raises(RuntimeError, match="start"):
        _ = AwsServer().queues


def test_it_is_found_by_its_clouds_name(tmp_path: Any) -> None:
    server = load("aws", host="127.0.0.1", port=0, data=tmp_path)
    assert isinstance(server, AwsServer)
    assert server.cloud == "aws"


def test_regions_and_accounts(aws: Any) -> None:
    with running_in_thread(AwsServer(account="123456789012", region="eu-central-1")) as server:
        assert server.env()["AWS_REGION"] == "eu-central-1"
        aws.server = server
        client = aws.client("sqs", region="eu-central-1")
        url = client.create_queue(QueueName="q")["QueueUrl"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        assert found["QueueArn"] == "arn:aws:sqs:eu-central-1:123456789012:q"
