"""FIFO queues: order, groups, deduplication, receives tried again."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def url(aws: Any) -> str:
    made: str = aws.queue("q.fifo", VisibilityTimeout="30")
    return made


def send(aws: Any, url: str, group: str, *bodies: str) -> list[str]:
    return [
        aws.sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=f"{group}.{body}"
        )["SequenceNumber"]
        for body in bodies
    ]


def test_messages_of_a_group_come_in_order_with_growing_numbers(aws: Any, url: str) -> None:
    numbers = send(aws, url, "g", *"abcde")
    assert numbers == sorted(numbers)
    assert all(len(number) == 20 for number in numbers)
    messages = aws.receive(url)
    assert [message["Body"] for message in messages] == list("abcde")
    assert [message["Attributes"]["SequenceNumber"] for message in messages] == numbers
    assert {message["Attributes"]["MessageGroupId"] for message in messages} == {"g"}
    assert messages[0]["Attributes"]["MessageDeduplicationId"] == "g.a"


def test_a_group_waits_while_some_of_it_is_in_flight_and_others_go_on(aws: Any, url: str) -> None:
    send(aws, url, "g", "1", "2", "3")
    first = aws.receive(url, 2)
    assert [message["Body"] for message in first] == ["1", "2"]
    assert aws.receive(url) == []
    send(aws, url, "h", "other")
    assert aws.bodies(url) == ["other"]
    aws.delete(url, first[0])
    assert aws.receive(url) == []
    aws.delete(url, first[1])
    assert aws.bodies(url) == ["3"]


def test_what_is_given_back_comes_before_what_follows_it(aws: Any, url: str) -> None:
    send(aws, url, "g", "1", "2", "3", "4")
    one, two, three = aws.receive(url, 3)
    give_back = {"QueueUrl": url, "VisibilityTimeout": 0}
    aws.sqs.change_message_visibility(ReceiptHandle=three["ReceiptHandle"], **give_back)
    aws.sqs.change_message_visibility(ReceiptHandle=one["ReceiptHandle"], **give_back)
    aws.delete(url, two)
    assert aws.bodies(url) == ["1", "3", "4"]


def test_a_message_in_flight_holds_up_only_those_after_it(aws: Any, url: str) -> None:
    send(aws, url, "g", "1", "2", "3", "4")
    one, two, three = aws.receive(url, 3)
    give_back = {"QueueUrl": url, "VisibilityTimeout": 0}
    aws.sqs.change_message_visibility(ReceiptHandle=three["ReceiptHandle"], **give_back)
    assert aws.bodies(url) == []
    aws.sqs.change_message_visibility(ReceiptHandle=one["ReceiptHandle"], **give_back)
    [again] = aws.receive(url)
    assert again["Body"] == "1"
    aws.delete(url, again)
    assert aws.bodies(url) == []
    aws.delete(url, two)
    assert aws.bodies(url) == ["3", "4"]


@pytest.mark.parametrize("missing", ["MessageGroupId", "MessageDeduplicationId"])
def test_an_entry_without_group_or_deduplication_id_refuses_its_batch(aws: Any, url: str, missing: str) -> None:
    given = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    bad = {name: value for name, value in given.items() if name != missing}
    entries = [{"Id": "good", "MessageBody": "1", **given}, {"Id": "bad", "MessageBody": "2", **bad}]
    with aws.refused("InvalidParameterValue"):
        aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert aws.bodies(url) == []
    entries[1] = {"Id": "control", "MessageBody": "\x01", **given, "MessageDeduplicationId": "e"}
    answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert aws.bodies(url) == ["1"]


def test_a_lease_that_ends_opens_the_group_again_in_order(aws: Any, url: str) -> None:
    send(aws, url, "g", "1", "2")
    [first] = aws.receive(url, 1)
    aws.clock.advance(31)
    assert aws.bodies(url) == ["1", "2"]
    with aws.refused("InvalidParameterValue", match="expired"):
        aws.delete(url, first)


def test_one_receive_may_bring_several_groups(aws: Any, url: str) -> None:
    for group in "abc":
        send(aws, url, group, "1", "2")
    messages = aws.receive(url, 5)
    assert [(message["Attributes"]["MessageGroupId"], message["Body"]) for message in messages] == [
        ("a", "1"),
        ("a", "2"),
        ("b", "1"),
        ("b", "2"),
        ("c", "1"),
    ]
    assert aws.receive(url) == []


def test_sending_again_within_five_minutes_changes_nothing(aws: Any, url: str) -> None:
    more = {"QueueUrl": url, "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    first = aws.sqs.send_message(MessageBody="one", **more)
    again = aws.sqs.send_message(MessageBody="two", **more)
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    [message] = aws.receive(url)
    assert message["Body"] == "one"
    aws.delete(url, message)
    aws.clock.advance(299 - 1)
    aws.sqs.send_message(MessageBody="three", **more)
    assert aws.receive(url) == []
    aws.clock.advance(3)
    later = aws.sqs.send_message(MessageBody="four", **more)
    assert later["SequenceNumber"] > first["SequenceNumber"]
    assert aws.bodies(url) == ["four"]


def test_deduplication_spans_groups_unless_its_scope_is_the_group(aws: Any) -> None:
    whole = aws.queue("whole.fifo")
    scoped = aws.queue("scoped.fifo", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for url in (whole, scoped):
        for group in "ab":
            aws.sqs.send_message(QueueUrl=url, MessageBody=group, MessageGroupId=group, MessageDeduplicationId="d")
    assert aws.bodies(whole) == ["a"]
    assert aws.bodies(scoped) == ["a", "b"]


def test_content_based_deduplication_is_by_body(aws: Any) -> None:
    url = aws.queue("c.fifo", ContentBasedDeduplication="true")
    for body in ("same", "same", "other"):
        aws.send(url, body, MessageGroupId="g", MessageAttributes={"n": aws.string(body)})
    assert aws.bodies(url) == ["same", "other"]


def test_what_a_fifo_queue_asks_for(aws: Any, url: str) -> None:
    with aws.refused("MissingParameter", match="MessageGroupId"):
        aws.send(url, "m", MessageDeduplicationId="d")
    with aws.refused("InvalidParameterValue", match="ContentBasedDeduplication"):
        aws.send(url, "m", MessageGroupId="g")
    with aws.refused("InvalidParameterValue", match="queue type"):
        aws.send(url, "m", MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=1)
    for group in ("", "a b", "x" * 129, "é"):
        with aws.refused("InvalidParameterValue"):
            aws.send(url, "m", MessageGroupId=group, MessageDeduplicationId="d")


def test_a_queue_delay_keeps_the_order(aws: Any) -> None:
    url = aws.queue("d.fifo", DelaySeconds="10")
    send(aws, url, "g", "1", "2")
    assert aws.receive(url) == []
    aws.clock.advance(11)
    assert aws.bodies(url) == ["1", "2"]


def test_a_receive_tried_again_brings_the_same(aws: Any, url: str) -> None:
    send(aws, url, "g", "1", "2", "3")
    first = aws.receive(url, 2, ReceiveRequestAttemptId="a")
    aws.clock.advance(20)
    again = aws.receive(url, 2, ReceiveRequestAttemptId="a")
    assert [m["ReceiptHandle"] for m in again] == [m["ReceiptHandle"] for m in first]
    aws.clock.advance(20)  # the lease began anew with the second try
    assert aws.receive(url) == []
    aws.delete(url, again[0])
    assert aws.receive(url, 2, ReceiveRequestAttemptId="a") == []
    aws.delete(url, again[1])
    assert [m["Body"] for m in aws.receive(url, 2, ReceiveRequestAttemptId="a")] == ["3"]


def test_attempt_ids_are_for_fifo_queues(aws: Any) -> None:
    url = aws.queue()
    with aws.refused("InvalidParameterValue", match="queue type"):
        aws.receive(url, ReceiveRequestAttemptId="a")


def test_a_batch_keeps_its_order_and_drops_repeats(aws: Any, url: str) -> None:
    entries = [
        {"Id": str(n), "MessageBody": str(n), "MessageGroupId": "g", "MessageDeduplicationId": str(n % 4)}
        for n in range(6)
    ]
    answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert len(answer["Successful"]) == 6
    assert aws.bodies(url) == ["0", "1", "2", "3"]


def test_visibility_zero_takes_each_message_once_a_call(aws: Any, url: str) -> None:
    send(aws, url, "g", "1", "2")
    assert aws.bodies(url, VisibilityTimeout=0) == ["1", "2"]
    assert aws.bodies(url) == ["1", "2"]


def test_purge_and_retention_leave_no_group_blocked(aws: Any) -> None:
    url = aws.queue("r.fifo", MessageRetentionPeriod="60", VisibilityTimeout="600")
    send(aws, url, "g", "1", "2")
    aws.receive(url, 1)
    aws.clock.advance(61)
    send(aws, url, "g", "3")
    assert aws.bodies(url) == ["3"]
    aws.sqs.purge_queue(QueueUrl=url)
    send(aws, url, "g", "4")
    assert aws.bodies(url) == ["4"]


def test_fifo_attributes_are_reported(aws: Any, url: str) -> None:
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["FifoQueue"] == "true"
    assert found["ContentBasedDeduplication"] == "false"
    assert (found["DeduplicationScope"], found["FifoThroughputLimit"]) == ("queue", "perQueue")


def test_a_purge_forgets_deduplication(aws: Any, url: str) -> None:
    send(aws, url, "g", "1")
    aws.sqs.purge_queue(QueueUrl=url)
    send(aws, url, "g", "1")
    assert aws.bodies(url) == ["1"]
