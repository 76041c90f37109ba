"""Standard queues whose messages have groups: who is quiet is first, as the SQS Developer Guide says of fair queues."""

from __future__ import annotations

import json
from typing import Any

from .conftest import Aws


def send(aws: Aws, url: str, group: str, count: int) -> None:
    for first in range(0, count, 10):
        entries = [
            {"Id": str(number), "MessageBody": f"{group} {number}", "MessageGroupId": group}
            for number in range(first, min(first + 10, count))
        ]
        assert not aws.sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def groups(messages: list[dict[str, Any]]) -> list[str | None]:
    return [message["Attributes"].get("MessageGroupId") for message in messages]


def delete(aws: Aws, url: str, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_before_anyone_is_noisy_the_oldest_is_first(aws: Aws) -> None:
    url = aws.queue()
    send(aws, url, "a", 30)
    send(aws, url, "b", 1)
    assert [group for _ in range(3) for group in groups(aws.receive(url))] == ["a"] * 30
    assert groups(aws.receive(url)) == ["b"]


def test_who_has_thirty_in_flight_and_a_tenth_of_all_waits_for_who_has_not(aws: Aws) -> None:
    url = aws.queue()
    send(aws, url, "noisy", 60)
    send(aws, url, "quiet", 2)
    aws.send(url, "of nobody")
    for _ in range(3):
        aws.receive(url)
    assert groups(aws.receive(url, 5)) == ["quiet", "quiet", None, "noisy", "noisy"]


def test_who_takes_most_of_the_time_waits_though_it_has_few_in_flight(aws: Aws) -> None:
    url = aws.queue()
    send(aws, url, "slow", 20)
    for _ in range(3):
        held = aws.receive(url, 1)
        aws.clock.advance(10)
        delete(aws, url, held)
    send(aws, url, "quick", 2)
    assert groups(aws.receive(url, 3)) == ["quick", "quick", "slow"]


def test_of_two_noisy_ones_who_has_less_in_flight_is_first(aws: Aws) -> None:
    url = aws.queue()
    send(aws, url, "a", 80)
    aws_held = [aws.receive(url) for _ in range(4)]
    send(aws, url, "b", 80)
    more = [aws.receive(url) for _ in range(3)]
    assert {group for messages in aws_held for group in groups(messages)} == {"a"}
    assert {group for messages in more for group in groups(messages)} == {"b"}
    assert groups(aws.receive(url)) == ["b"] * 10  # 40 of a, 30 of b
    delete(aws, url, [message for messages in aws_held for message in messages][:5])
    assert groups(aws.receive(url, 1)) == ["a"]


def test_who_is_silent_for_five_minutes_is_quiet(aws: Aws) -> None:
    url = aws.queue(VisibilityTimeout="3600")
    send(aws, url, "noisy", 60)
    for _ in range(3):
        aws.receive(url)
    send(aws, url, "quiet", 1)
    assert groups(aws.receive(url, 2)) == ["quiet", "noisy"]
    aws.clock.advance(301)
    send(aws, url, "quiet", 1)
    assert groups(aws.receive(url, 1)) == ["noisy"]


def test_nothing_is_lost_of_what_was_set_aside(aws: Aws) -> None:
    url = aws.queue(VisibilityTimeout="30")
    send(aws, url, "noisy", 75)
    send(aws, url, "other", 5)
    seen = set()
    for _ in range(4):
        for _ in range(8):
            messages = aws.receive(url)
            seen |= {message["Body"] for message in messages}
            delete(aws, url, messages[:7])
        aws.clock.advance(31)
    assert len(seen) == 80
    while messages := aws.receive(url):
        delete(aws, url, messages)
    assert aws.depth(url) == (0, 0, 0)


def test_a_topic_passes_the_group_on(aws: Aws) -> None:
    url = aws.queue()
    topic = aws.sns.create_topic(Name="t")["TopicArn"]
    policy = {
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": aws.arn(url),
            }
        ]
    }
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=aws.arn(url), Attributes={"RawMessageDelivery": "true"})
    aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="tenant-1")
    assert groups(aws.receive(url)) == ["tenant-1"]
