"""Failures that a test asks the server for."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError


def test_requests_fail_as_often_as_asked(aws: Any) -> None:
    url = aws.queue()
    aws.server.fail_next("SendMessage", "ThrottlingException", count=2)
    for _ in range(2):
        with aws.refused("ThrottlingException"):
            aws.send(url, "m")
    aws.send(url, "m")
    assert aws.depth(url) == (1, 0, 0)


def test_only_the_action_that_was_named_fails(aws: Any) -> None:
    url, topic = aws.queue(), aws.topic()
    aws.server.fail_next("Publish", "InternalError", 500)
    aws.send(url, "m")
    with aws.refused("InternalError", 500):
        aws.sns.publish(TopicArn=topic, Message="m")
    aws.server.fail_next("*", "ExpiredToken", 403)
    with aws.refused("ExpiredToken", 403):
        aws.sqs.list_queues()


def test_entries_of_a_batch_fail_by_id(aws: Any) -> None:
    url, topic = aws.queue(), aws.topic()
    aws.server.fail_next("SendMessageBatch", "InternalError", 500, count=2, entries=["a", "c"])
    entries = [{"Id": name, "MessageBody": name} for name in "abc"]
    for _ in range(2):
        answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [("a", False), ("c", False)]
        assert [entry["Id"] for entry in answer["Successful"]] == ["b"]
    answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert "Failed" not in answer
    aws.server.fail_next("PublishBatch", "Throttled", 429, entries=["a"])
    answer = aws.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "m"}])
    assert [entry["Code"] for entry in answer["Failed"]] == ["Throttled"]


def test_an_answer_can_be_lost_after_the_work_is_done(aws: Any) -> None:
    url = aws.queue()
    aws.server.fail_next("SendMessage", "InternalError", 500, after=True)
    with aws.refused("InternalError", 500):
        aws.send(url, "m")
    assert aws.bodies(url) == ["m"]


def test_a_connection_can_be_cut(aws: Any) -> None:
    url = aws.queue()
    aws.server.fail_next("SendMessage", "", 0)
    with pytest.raises(ConnectionClosedError):
        aws.send(url, "m")
    assert aws.depth(url) == (0, 0, 0)


def test_what_was_planned_can_be_forgotten(aws: Any) -> None:
    aws.server.fail_next("ListQueues", "InternalError", 500)
    aws.server.faults.clear()
    aws.sqs.list_queues()
