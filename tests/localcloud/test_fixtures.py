"""The local clouds as fixtures, in a test run of somebody who has no topology."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "aws": """
import boto3, json, pytest

def test_it(aws_messaging):
    sqs = boto3.client("sqs")
    sqs.create_queue(QueueName="jobs")
    url = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="one")
    assert aws_messaging.wait("published", "jobs")[0].kind == "published"
    before = aws_messaging.snapshot()
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert [one.state for one in aws_messaging.messages("jobs")] == ["in_flight"]
    aws_messaging.advance(31)
    assert [one.state for one in aws_messaging.messages("jobs")] == ["waiting"]
    aws_messaging.restore(before)
    assert [one.deliveries for one in aws_messaging.messages("jobs")] == [0]
    aws_messaging.fail("SendMessage", "Throttling", count=1)
    sqs.send_message(QueueUrl=url, MessageBody="two")  # boto3 tries again
    with pytest.raises(TimeoutError, match="0 of 1 consumed within 0 s; what happened: published jobs"):
        aws_messaging.wait("consumed", timeout=0)
    sqs.close()

def test_that_each_test_has_its_own(aws_messaging):
    assert aws_messaging.entities() == []
""",
    "azure": """
import os
from azure.servicebus import ServiceBusClient

def test_it(servicebus):
    servicebus.server.entities.create_queue("jobs")
    servicebus.publish("jobs", "one", {"n": "1"})
    with ServiceBusClient.from_connection_string(os.environ["AZURE_SERVICEBUS_CONNECTION_STRING"]) as client:
        with client.get_queue_receiver("jobs") as receiver:
            [message] = receiver.receive_messages(max_wait_time=5)
            assert (str(message), message.application_properties[b"n"]) == ("one", b"1")
            receiver.complete_message(message)
    assert len(servicebus.wait("consumed", "jobs")) == 1
""",
    "gcp": """
from google.cloud import pubsub_v1

def test_it(pubsub):
    with pubsub_v1.SubscriberClient() as subscriber:
        publisher = pubsub_v1.PublisherClient()
        publisher.create_topic(name="projects/local/topics/orders")
        subscriber.create_subscription(
            name="projects/local/subscriptions/billing", topic="projects/local/topics/orders"
        )
        publisher.publish("projects/local/topics/orders", b"one").result(timeout=30)
        pubsub.wait("published", "subscriptions/billing")
        assert [one.body for one in pubsub.messages("subscriptions/billing")] == [b"one"]
        publisher.transport.close()
""",
}


@pytest.mark.parametrize("cloud", sorted(TESTS))
def test_a_test_has_a_cloud_of_its_own(cloud: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS[cloud])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "polybus.localcloud.fixtures", "test_it.py"]
    # As from the entry point, which an environment has that was installed since it is there.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugin_loads_no_cloud() -> None:
    heavy = "[name for name in ('aiohttp', 'boto3', 'grpc') if name in sys.modules]"
    code = f"import sys, polybus.localcloud.fixtures; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
