"""Dead-letter queues: redrive policies, who may use a queue as one, and move tasks."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest


def redrive(target: str, count: Any = 2) -> str:
    return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})


def pair(aws: Any, suffix: str = "", count: int = 2) -> tuple[str, str]:
    letters = aws.queue("dead" + suffix)
    return aws.queue("work" + suffix, VisibilityTimeout="10", RedrivePolicy=redrive(aws.arn(letters), count)), letters


def fail(aws: Any, url: str, times: int) -> None:
    for _ in range(times):
        aws.receive(url)
        aws.clock.advance(11)


def test_a_redrive_policy_is_given_back_without_white_space(aws: Any) -> None:
    letters = aws.queue("dead")
    written = f'{{ "deadLetterTargetArn": "{aws.arn(letters)}",\n  "maxReceiveCount": 3 }}'
    work = aws.queue("work", RedrivePolicy=written)
    expected = f'{{"deadLetterTargetArn":"{aws.arn(letters)}","maxReceiveCount":3}}'
    assert aws.attribute(work, "RedrivePolicy") == expected
    assert aws.queue("work", RedrivePolicy=expected) == work  # it is the same policy


def test_after_its_last_receive_a_message_is_a_dead_letter(aws: Any) -> None:
    work, letters = pair(aws)
    [sent] = aws.send(work, "m", MessageAttributes={"a": aws.string("x")})
    fail(aws, work, 2)
    assert aws.receive(work) == []
    [letter] = aws.receive(letters)
    assert letter["MessageId"] == sent
    assert letter["MessageAttributes"] == {"a": aws.string("x")}
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == aws.arn(work)
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"
    assert aws.depth(work) == (0, 0, 0)


def test_fifo_dead_letters_keep_group_and_order_and_open_the_group(aws: Any) -> None:
    work, letters = pair(aws, ".fifo", count=1)
    for body in "abc":
        aws.send(work, body, MessageGroupId="g", MessageDeduplicationId=body)
    assert [m["Body"] for m in aws.receive(work, 2)] == ["a", "b"]
    aws.clock.advance(11)
    assert aws.bodies(work) == ["c"]
    found = aws.receive(letters)
    assert [(m["Body"], m["Attributes"]["MessageGroupId"]) for m in found] == [("a", "g"), ("b", "g")]


@pytest.mark.parametrize("count", [0, 1001, "x", "0", "٣", 1.5, True, None])
def test_receive_counts_are_integers_from_1_to_1000(aws: Any, count: Any) -> None:
    letters = aws.queue("dead")
    with aws.refused("InvalidParameterValue"):
        aws.queue("work", RedrivePolicy=redrive(aws.arn(letters), count))


def test_a_receive_count_may_be_text(aws: Any) -> None:
    letters = aws.queue("dead")
    url = aws.queue("work", RedrivePolicy=redrive(aws.arn(letters), "1"))
    aws.send(url, "m")
    assert aws.bodies(url, VisibilityTimeout=0) == ["m"]
    assert aws.bodies(url) == []
    assert aws.bodies(letters) == ["m"]


def test_targets_that_are_refused(aws: Any) -> None:
    fifo, work = aws.queue("dead.fifo"), aws.queue("work")
    for target in (aws.arn(work) + "-missing", aws.arn(fifo), aws.arn(work).replace("us-east-1", "eu-west-1"), "x"):
        with aws.refused("InvalidParameterValue"):
            aws.sqs.set_queue_attributes(QueueUrl=work, Attributes={"RedrivePolicy": redrive(target)})


def test_without_its_dead_letter_queue_a_message_stays(aws: Any) -> None:
    work, letters = pair(aws)
    aws.send(work, "m")
    aws.sqs.delete_queue(QueueUrl=letters)
    fail(aws, work, 3)
    assert aws.bodies(work) == ["m"]


def test_redrive_allow_policy(aws: Any) -> None:
    friend = "arn:aws:sqs:us-east-1:000000000000:friend"
    allow = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [friend]})
    letters = aws.queue("dead", RedriveAllowPolicy=allow)
    aws.queue("friend", RedrivePolicy=redrive(aws.arn(letters)))
    with aws.refused("InvalidParameterValue", match="RedriveAllowPolicy"):
        aws.queue("stranger", RedrivePolicy=redrive(aws.arn(letters)))
    aws.sqs.set_queue_attributes(
        QueueUrl=letters, Attributes={"RedriveAllowPolicy": json.dumps({"redrivePermission": "denyAll"})}
    )
    with aws.refused("InvalidParameterValue", match="RedriveAllowPolicy"):
        aws.queue("other", RedrivePolicy=redrive(aws.arn(letters)))


def test_sources_of_a_dead_letter_queue_are_listed(aws: Any) -> None:
    letters = aws.queue("dead")
    sources = [aws.queue(f"work{n}", RedrivePolicy=redrive(aws.arn(letters))) for n in range(3)]
    assert aws.sqs.list_dead_letter_source_queues(QueueUrl=letters)["queueUrls"] == sources
    assert aws.sqs.list_dead_letter_source_queues(QueueUrl=sources[0])["queueUrls"] == []
    first = aws.sqs.list_dead_letter_source_queues(QueueUrl=letters, MaxResults=2)
    assert (first["queueUrls"], "NextToken" in first) == (sources[:2], True)


def wait_for(aws: Any, letters: str, *status: str) -> dict[str, Any]:
    """Return the latest task once it has one of these states; the server works on it between requests."""
    for _ in range(5_000):
        [task] = aws.sqs.list_message_move_tasks(SourceArn=aws.arn(letters))["Results"]
        if task["Status"] in status:
            found: dict[str, Any] = task
            return found
        threading.Event().wait(0.002)
    raise AssertionError(task)


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_a_move_task_takes_letters_back_to_where_they_came_from(aws: Any, suffix: str) -> None:
    letters = aws.queue("dead" + suffix)
    works = [
        aws.queue(name + suffix, VisibilityTimeout="10", RedrivePolicy=redrive(aws.arn(letters), 1)) for name in "ab"
    ]
    for work in works:
        for body in "123":
            more = {"MessageGroupId": "g", "MessageDeduplicationId": body} if suffix else {}
            aws.send(work, body, **more)
        fail(aws, work, 1)
        assert aws.receive(work) == []
    assert aws.depth(letters) == (6, 0, 0)
    aws.sqs.start_message_move_task(SourceArn=aws.arn(letters))
    task = wait_for(aws, letters, "COMPLETED")
    assert task["ApproximateNumberOfMessagesMoved"] == task["ApproximateNumberOfMessagesToMove"] == 6
    for work in works:
        found = aws.receive(work)
        assert [m["Body"] for m in found] == ["1", "2", "3"]
        assert {m["Attributes"]["ApproximateReceiveCount"] for m in found} == {"1"}
    assert aws.depth(letters) == (0, 0, 0)


def test_a_move_task_to_another_queue(aws: Any) -> None:
    work, letters = pair(aws, count=1)
    elsewhere = aws.queue("elsewhere")
    aws.send(work, "m")
    fail(aws, work, 1)
    aws.receive(work)
    aws.sqs.start_message_move_task(SourceArn=aws.arn(letters), DestinationArn=aws.arn(elsewhere))
    assert wait_for(aws, letters, "COMPLETED")["DestinationArn"] == aws.arn(elsewhere)
    assert aws.bodies(elsewhere) == ["m"]


def test_a_slow_move_task_can_be_cancelled(aws: Any) -> None:
    work, letters = pair(aws, count=1)
    aws.send(work, *"abc")
    fail(aws, work, 1)
    aws.receive(work)
    start = {"SourceArn": aws.arn(letters), "MaxNumberOfMessagesPerSecond": 1}
    handle = aws.sqs.start_message_move_task(**start)["TaskHandle"]
    with aws.refused("InvalidParameterValue", match="already"):
        aws.sqs.start_message_move_task(**start)
    assert wait_for(aws, letters, "RUNNING")["TaskHandle"] == handle
    cancelled = aws.sqs.cancel_message_move_task(TaskHandle=handle)
    assert cancelled["ApproximateNumberOfMessagesMoved"] == 0
    aws.clock.advance(60)
    assert wait_for(aws, letters, "CANCELLED")["ApproximateNumberOfMessagesMoved"] == 0
    assert aws.depth(letters) == (3, 0, 0)
    with aws.refused("AWS.SimpleQueueService.UnsupportedOperation"):
        aws.sqs.cancel_message_move_task(TaskHandle=handle)


def test_move_tasks_that_are_refused(aws: Any) -> None:
    work, letters = pair(aws)
    fifo = aws.queue("x.fifo")
    start = aws.sqs.start_message_move_task
    with aws.refused("InvalidParameterValue", match="Dead Letter"):
        start(SourceArn=aws.arn(work))
    with aws.refused("ResourceNotFoundException", 404):
        start(SourceArn=aws.arn(letters) + "x")
    with aws.refused("ResourceNotFoundException", 404):
        start(SourceArn=aws.arn(letters), DestinationArn=aws.arn(work) + "x")
    with aws.refused("InvalidParameterValue"):
        start(SourceArn=aws.arn(letters), DestinationArn=aws.arn(fifo))
    with aws.refused("InvalidParameterValue"):
        start(SourceArn=aws.arn(letters), MaxNumberOfMessagesPerSecond=501)
    with aws.refused("InvalidParameterValue"):
        aws.sqs.cancel_message_move_task(TaskHandle="nonsense")


def test_a_letter_that_came_from_nowhere_fails_the_task_and_stays(aws: Any) -> None:
    _, letters = pair(aws)
    aws.send(letters, "sent here by hand")
    aws.sqs.start_message_move_task(SourceArn=aws.arn(letters))
    assert wait_for(aws, letters, "FAILED")["FailureReason"] == "CouldNotDetermineMessageSource"
    assert aws.bodies(letters) == ["sent here by hand"]
