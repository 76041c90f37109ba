"""Standard queues: sending, receiving, leases, delays, long polls, batches."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from contextlib import closing
from typing import Any

import pytest

from polybus.clock import SteppedClock
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread

from .conftest import Aws


def test_a_message_comes_back_as_it_was_sent(aws: Any) -> None:
    url = aws.queue()
    attributes = {
        "name": {"DataType": "String", "StringValue": "Grüße\t€"},
        "count": {"DataType": "Number", "StringValue": "-1.5e3"},
        "blob": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
    }
    sent = aws.sqs.send_message(QueueUrl=url, MessageBody="héllo\r\n", MessageAttributes=attributes)
    [message] = aws.receive(url)
    assert message["Body"] == "héllo\r\n"
    assert message["MessageAttributes"] == attributes
    assert message["MessageId"] == sent["MessageId"]
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"] == hashlib.md5("héllo\r\n".encode()).hexdigest()
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert int(message["Attributes"]["SentTimestamp"]) <= int(message["Attributes"]["ApproximateFirstReceiveTimestamp"])


def test_digest_of_attributes_is_the_documented_one(aws: Any) -> None:
    # Worked example of two attributes, computed by the algorithm of the SQS Developer Guide by hand in bytes.
    url = aws.queue()
    attributes = {"b": {"DataType": "Binary", "BinaryValue": b"\x01"}, "a": {"DataType": "String", "StringValue": "x"}}
    sent = aws.sqs.send_message(QueueUrl=url, MessageBody="m", MessageAttributes=attributes)
    encoded = (
        b"\0\0\0\x01a" + b"\0\0\0\x06String" + b"\x01" + b"\0\0\0\x01x"
        b"\0\0\0\x01b" + b"\0\0\0\x06Binary" + b"\x02" + b"\0\0\0\x01\x01"
    )
    assert sent["MD5OfMessageAttributes"] == hashlib.md5(encoded).hexdigest()


def test_attributes_are_shown_by_name_prefix_and_all(aws: Any) -> None:
    url = aws.queue()
    names = ("app.a", "app.b", "other")
    aws.send(url, "m", MessageAttributes={name: aws.string("v") for name in names})

    def shown(*wanted: str) -> set[str]:
        [message] = aws.sqs.receive_message(QueueUrl=url, MessageAttributeNames=list(wanted), VisibilityTimeout=0)[
            "Messages"
        ]
        return set(message.get("MessageAttributes", {}))

    assert shown("other") == {"other"}
    assert shown("app.*") == shown("ap.*") == {"app.a", "app.b"}
    assert shown("All") == shown(".*") == shown("*") == set(names)
    assert shown("missing") == set()


def test_a_leased_message_is_invisible_until_its_lease_ends(aws: Any) -> None:
    url = aws.queue(VisibilityTimeout="30")
    aws.send(url, "m")
    [first] = aws.receive(url)
    aws.clock.advance(29)
    assert aws.receive(url) == []
    assert aws.depth(url) == (0, 1, 0)
    aws.clock.advance(2)
    [second] = aws.receive(url)
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert second["ReceiptHandle"] != first["ReceiptHandle"]


def test_change_visibility_extends_and_gives_back(aws: Any) -> None:
    url = aws.queue(VisibilityTimeout="30")
    aws.send(url, "m")
    [message] = aws.receive(url)
    handle = message["ReceiptHandle"]
    aws.clock.advance(20)
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)
    aws.clock.advance(50)
    assert aws.receive(url) == []
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    assert aws.bodies(url) == ["m"]


def test_change_visibility_works_after_the_lease_and_with_an_older_handle(aws: Any) -> None:
    url = aws.queue(VisibilityTimeout="5")
    aws.send(url, "m")
    [first] = aws.receive(url)
    aws.clock.advance(6)
    change = {"QueueUrl": url, "ReceiptHandle": first["ReceiptHandle"]}
    aws.sqs.change_message_visibility(**change, VisibilityTimeout=9)
    assert aws.depth(url) == (0, 1, 0)
    aws.clock.advance(10)
    [second] = aws.receive(url)
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    aws.sqs.change_message_visibility(**change, VisibilityTimeout=0)
    assert aws.bodies(url, VisibilityTimeout=0) == ["m"]
    aws.sqs.change_message_visibility(**change, VisibilityTimeout=0)
    assert aws.depth(url) == (1, 0, 0)
    assert aws.bodies(url) == ["m"]


def test_change_visibility_is_bound_to_twelve_hours_from_the_receive(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "m")
    [message] = aws.receive(url)
    aws.clock.advance(10)
    with aws.refused("InvalidParameterValue", match="beyond the limit"):
        aws.sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43_200
        )
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43_180)


def test_change_visibility_of_a_deleted_message_is_refused(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "m")
    [message] = aws.receive(url)
    aws.delete(url, message)
    with aws.refused("InvalidParameterValue", match="does not exist"):
        aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=9)


def test_deleting_twice_is_fine(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "m")
    [message] = aws.receive(url)
    aws.delete(url, message, message)
    aws.clock.advance(60)
    assert aws.receive(url) == []


@pytest.mark.parametrize("older", [True, False])
def test_delete_works_with_any_handle_also_after_its_lease(aws: Any, older: bool) -> None:
    url = aws.queue(VisibilityTimeout="5")
    aws.send(url, "m")
    [first] = aws.receive(url)
    aws.clock.advance(6)
    [second] = aws.receive(url)
    aws.clock.advance(6)
    aws.delete(url, first if older else second)
    assert aws.depth(url) == (0, 0, 0)
    assert aws.receive(url) == []


@pytest.mark.parametrize("handle", ["x", "AAAA", "bm90L2EvaGFuZGxl", "é"])
def test_a_poisoned_handle_is_refused(aws: Any, handle: str) -> None:
    url = aws.queue()
    with aws.refused("ReceiptHandleIsInvalid"):
        aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    with aws.refused("ReceiptHandleIsInvalid"):
        aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=1)


def test_a_handle_of_another_queue_is_refused(aws: Any) -> None:
    one, other = aws.queue("one"), aws.queue("other")
    aws.send(one, "m")
    [message] = aws.receive(one)
    with aws.refused("ReceiptHandleIsInvalid"):
        aws.delete(other, message)


def test_delays_of_message_and_queue(aws: Any) -> None:
    url = aws.queue(DelaySeconds="10")
    aws.send(url, "queue")
    aws.send(url, "none", DelaySeconds=0)
    aws.send(url, "own", DelaySeconds=900)
    assert aws.bodies(url) == ["none"]
    assert aws.depth(url) == (0, 1, 2)
    aws.clock.advance(11)
    assert aws.bodies(url) == ["queue"]
    aws.clock.advance(900)
    assert "own" in aws.bodies(url)


def test_messages_expire_after_retention(aws: Any) -> None:
    url = aws.queue(MessageRetentionPeriod="60", VisibilityTimeout="0")
    aws.send(url, "old")
    aws.clock.advance(40)
    aws.send(url, "new")
    aws.clock.advance(30)
    assert aws.bodies(url) == ["new"]
    assert aws.depth(url) == (1, 0, 0)


def _poll(aws: Any, url: str, found: list[str], **more: Any) -> threading.Thread:
    client = aws.client("sqs")

    def run() -> None:
        answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20, **more)
        found.extend(message["Body"] for message in answer.get("Messages", []))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _wait_for_polls(aws: Any, url: str, count: int) -> None:
    """Return once `count` polls wait: each is a request that the server has and hasn't answered."""
    queue = aws.server.queues.by_arn(aws.arn(url))
    for _ in range(10_000):
        if len(queue.waiters) == count:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"{len(queue.waiters)} polls wait, not {count}")


def test_a_long_poll_is_answered_by_a_send(aws: Any) -> None:
    url, found = aws.queue(), []
    thread = _poll(aws, url, found)
    _wait_for_polls(aws, url, 1)
    aws.send(url, "m")
    thread.join(30)
    assert found == ["m"]


def test_a_long_poll_ends_empty_after_its_time(aws: Any) -> None:
    url, found = aws.queue(ReceiveMessageWaitTimeSeconds="20"), ["untouched"]
    thread = _poll(aws, url, found)
    _wait_for_polls(aws, url, 1)
    aws.clock.advance(20)
    thread.join(30)
    assert not thread.is_alive()
    assert found == ["untouched"]


def test_a_long_poll_gets_what_a_lease_or_delay_gives_back(aws: Any) -> None:
    url, found = aws.queue(VisibilityTimeout="10"), []
    aws.send(url, "leased")
    assert aws.bodies(url) == ["leased"]
    thread = _poll(aws, url, found)
    _wait_for_polls(aws, url, 1)
    aws.clock.advance(11)
    thread.join(30)
    aws.send(url, "delayed", DelaySeconds=5)
    thread = _poll(aws, url, found)
    _wait_for_polls(aws, url, 1)
    aws.clock.advance(6)
    thread.join(30)
    assert found == ["leased", "delayed"]


def test_competing_polls_share_what_comes(aws: Any) -> None:
    url = aws.queue()
    found: list[list[str]] = [[] for _ in range(4)]
    threads = [_poll(aws, url, bodies) for bodies in found]
    _wait_for_polls(aws, url, 4)
    aws.send(url, "a")
    aws.send(url, "b")
    aws.send(url, "c")
    aws.send(url, "d")
    for thread in threads:
        thread.join(30)
    assert sorted(body for bodies in found for body in bodies) == ["a", "b", "c", "d"]


def test_a_poll_whose_client_hung_up_is_handed_nothing(aws: Any) -> None:
    url = aws.queue()
    abandoned = _AbandonedPoll(aws, url)
    _wait_for_polls(aws, url, 1)
    abandoned.hang_up()
    _wait_for_polls(aws, url, 0)
    aws.send(url, "m")
    assert aws.bodies(url) == ["m"]


class _AbandonedPoll:
    def __init__(self, aws: Any, url: str) -> None:
        body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20})
        scope = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"
        self._socket = socket.create_connection((aws.server.host, aws.server.port))
        head = (
            f"POST / HTTP/1.1\r\nHost: local\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
            f"Authorization: {scope}\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall((head + body).encode())

    def hang_up(self) -> None:
        self._socket.close()


def test_a_deleted_queue_is_gone_at_once_also_for_who_waits(aws: Any) -> None:
    url = aws.queue()
    client = aws.client("sqs")
    codes: list[str] = []

    def run() -> None:
        try:
            client.receive_message(QueueUrl=url, WaitTimeSeconds=20)
        except client.exceptions.QueueDoesNotExist as error:
            codes.append(error.response["Error"]["Code"])

    thread = threading.Thread(target=run)
    thread.start()
    _wait_for_polls(aws, url, 1)
    aws.sqs.delete_queue(QueueUrl=url)
    thread.join(30)
    assert codes == ["AWS.SimpleQueueService.NonExistentQueue"]
    with aws.refused("AWS.SimpleQueueService.NonExistentQueue"):
        aws.send(url, "m")
    assert aws.sqs.list_queues().get("QueueUrls", []) == []


def test_a_recreated_queue_is_empty(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "m")
    aws.sqs.delete_queue(QueueUrl=url)
    assert aws.depth(aws.queue()) == (0, 0, 0)


def test_batches_answer_entry_by_entry(aws: Any) -> None:
    url = aws.queue()
    entries = [
        {"Id": "good", "MessageBody": "a"},
        {"Id": "empty", "MessageBody": ""},
        {"Id": "control", "MessageBody": "\x01"},
        {"Id": "attribute", "MessageBody": "b", "MessageAttributes": {"x": {"DataType": "Nope", "StringValue": "1"}}},
        {"Id": "late", "MessageBody": "c", "DelaySeconds": 901},
    ]
    answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert {entry["Id"]: entry["Code"] for entry in answer["Failed"]} == {
        "empty": "MissingParameter",
        "control": "InvalidMessageContents",
        "attribute": "InvalidParameterValue",
        "late": "InvalidParameterValue",
    }
    assert all(entry["SenderFault"] for entry in answer["Failed"])
    [message] = aws.receive(url)
    handles = [{"Id": "good", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "bad", "ReceiptHandle": "nonsense"}]
    changed = aws.sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[{**entry, "VisibilityTimeout": 40} for entry in handles]
    )
    deleted = aws.sqs.delete_message_batch(QueueUrl=url, Entries=handles)
    for answer in (changed, deleted):
        assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
        assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([str(n) for n in range(11)], "TooManyEntriesInBatchRequest"),
        (["a", "a"], "BatchEntryIdsNotDistinct"),
        (["a b"], "InvalidBatchEntryId"),
        (["x" * 81], "InvalidBatchEntryId"),
    ],
)
def test_batches_are_refused_as_a_whole(aws: Any, ids: list[str], code: str) -> None:
    url = aws.queue()
    with aws.refused("AWS.SimpleQueueService." + code):
        aws.sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": name, "MessageBody": "m"} for name in ids])
    assert aws.depth(url) == (0, 0, 0)


def test_purge_empties_a_queue_once_a_minute(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "a", "b")
    aws.receive(url, 1)
    aws.sqs.purge_queue(QueueUrl=url)
    assert aws.depth(url) == (0, 0, 0)
    with aws.refused("AWS.SimpleQueueService.PurgeQueueInProgress", 403):
        aws.sqs.purge_queue(QueueUrl=url)
    aws.clock.advance(61)
    aws.sqs.purge_queue(QueueUrl=url)


def test_group_ids_are_accepted_on_standard_queues_and_deduplication_ids_refused(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "m", MessageGroupId="tenant")
    assert aws.receive(url)[0]["Attributes"]["MessageGroupId"] == "tenant"
    with aws.refused("InvalidParameterValue"):
        aws.send(url, "m", MessageDeduplicationId="d")


def test_trace_headers_travel(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "m", MessageSystemAttributes={"AWSTraceHeader": aws.string("Root=1-5759e988")})
    assert aws.receive(url)[0]["Attributes"]["AWSTraceHeader"] == "Root=1-5759e988"


def test_with_sampling_a_queue_hands_out_in_any_order_and_not_always_in_full() -> None:
    orders = []
    for _ in range(2):
        with running_in_thread(AwsServer(sampling=7)) as server, closing(Aws(server, SteppedClock())) as aws:
            url = aws.queue()
            sent = [f"{n:02}" for n in range(60)]
            aws.send(url, *sent)
            answers = [aws.bodies(url) for _ in range(40)]
            received = [body for answer in answers for body in answer]
            assert sorted(received) == sent
            assert received != sent
            assert {0, 10} < {len(answer) for answer in answers}
            orders.append(received)
    assert orders[0] == orders[1]
