"""Whatever a client sends, the server answers with a refusal and goes on serving."""

from __future__ import annotations

import functools
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread

from .faces import Kept, sound
from .scale import cases

SQS = [
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
]
SQS += [
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "SetQueueAttributes",
    "GetQueueAttributes",
    "ListQueues",
    "PurgeQueue",
]
SQS += [
    "StartMessageMoveTask",
    "CancelMessageMoveTask",
    "ListMessageMoveTasks",
    "AddPermission",
    "TagQueue",
    "GetQueueUrl",
]
SNS = [
    "Publish",
    "PublishBatch",
    "Subscribe",
    "CreateTopic",
    "SetTopicAttributes",
    "SetSubscriptionAttributes",
    "ListTopics",
]
SNS += ["TagResource", "GetTopicAttributes", "ListSubscriptionsByTopic", "AddPermission", "DeleteTopic", "Unsubscribe"]

QUEUE = "http://local/000000000000/q"
TOPIC = "arn:aws:sns:us-east-1:000000000000:t"
PARAMS = [
    "QueueUrl",
    "QueueName",
    "MessageBody",
    "MessageAttributes",
    "Attributes",
    "AttributeNames",
    "Entries",
    "ReceiptHandle",
    "NextToken",
    "Label",
    "VisibilityTimeout",
    "DelaySeconds",
    "MaxNumberOfMessages",
    "MessageGroupId",
    "Tags",
    "TagKeys",
    "SourceArn",
    "TaskHandle",
    "Actions",
    "MaxResults",
    "MessageSystemAttributes",
    "AWSAccountIds",
    "WaitTimeSeconds",
]
FORM = [
    "TopicArn",
    "Message",
    "Subject",
    "MessageStructure",
    "Protocol",
    "Endpoint",
    "Name",
    "AttributeName",
    "AttributeValue",
    "NextToken",
    "Attributes.entry.1.key",
    "Attributes.entry.1.value",
    "MessageAttributes.entry.1.Name",
    "SubscriptionArn",
    "MessageAttributes.entry.1.Value.DataType",
    "MessageAttributes.entry.1.Value.StringValue",
    "Tags.member.1.Key",
    "PublishBatchRequestEntries.member.1.Id",
    "PublishBatchRequestEntries.member.1.Message",
    "Attributes",
    "MessageAttributes.x",
    "PublishBatchRequestEntries.member.x",
    "Tags.member",
    "ResourceArn",
    "Label",
    "AWSAccountId.member.1",
    "ActionName.member.1",
]

text = st.text(max_size=12) | st.sampled_from(
    [QUEUE, TOPIC, "FilterPolicy", "Policy", "RedrivePolicy", "sqs", "String", '{"a": [{"numeric": [">"]}]}', "1", "["]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Id", "MessageBody", "DataType", "StringValue", "Policy"]) | text, inner, max_size=3
        )
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def server() -> Iterator[AwsServer]:
    with running_in_thread(AwsServer()) as server:
        ask(server, {"X-Amz-Target": "AmazonSQS.CreateQueue"}, b'{"QueueName": "q"}')
        ask(server, {}, b"Action=CreateTopic&Name=t", service="sns")
        with sound():
            yield server
            kept(server).close()


@functools.cache
def kept(server: AwsServer) -> Kept:
    return Kept(http.client.HTTPConnection(server.host, server.port, timeout=30))


def ask(
    server: AwsServer,
    headers: dict[str, str],
    body: bytes,
    *,
    service: str = "sqs",
    path: str = "/",
    method: str = "POST",
) -> tuple[int, bytes]:
    signed = f"AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/{service}/aws4_request, Signature=0"
    return kept(server).ask(method, path, body, {"Authorization": signed, **headers})


def still_serves(server: AwsServer) -> None:
    status, body = ask(server, {"X-Amz-Target": "AmazonSQS.GetQueueUrl"}, b'{"QueueName": "q"}')
    assert (status, b"/q" in body) == (200, True)


# Six tests share the cases of this face.
quick = cases(1 / 6)


@quick
@given(st.sampled_from(SQS), st.dictionaries(st.sampled_from(PARAMS), values, max_size=6), st.booleans())
def test_parameters_of_any_shape_in_json(server: AwsServer, action: str, params: dict[str, Any], there: bool) -> None:
    params = {**({"QueueUrl": QUEUE} if there else {}), **params}
    params.pop("WaitTimeSeconds", None)
    status, _ = ask(server, {"X-Amz-Target": f"AmazonSQS.{action}"}, json.dumps(params).encode())
    assert 200 <= status < 500
    still_serves(server)


@quick
@given(
    st.sampled_from(SNS + SQS),
    st.dictionaries(st.sampled_from(FORM) | text, text, max_size=6),
    st.booleans(),
    st.sampled_from(["sns", "sqs", "sts", "s3"]),
)
def test_forms_of_any_shape(server: AwsServer, action: str, form: dict[str, str], there: bool, service: str) -> None:
    form = {"Action": action, **({"TopicArn": TOPIC} if there and action != "DeleteTopic" else {}), **form}
    form.pop("WaitTimeSeconds", None)
    status, _ = ask(server, {}, urlencode(form).encode(), service=service)
    assert 200 <= status < 500


ATTRIBUTE = {"DataType": "String", "StringValue": "v"}
ENTRY = {"Id": "a", "MessageBody": "m", "MessageAttributes": {"n": ATTRIBUTE}, "ReceiptHandle": "x"}
ARN = "arn:aws:sqs:us-east-1:000000000000:q"
STATEMENT = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sqs:*"], "Resource": ARN, "Condition": {}}
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("SendMessage", {"MessageBody": "m", "DelaySeconds": 1, "MessageAttributes": {"n": ATTRIBUTE}}),
    ("SendMessage", {"MessageBody": "m", "MessageSystemAttributes": {"AWSTraceHeader": ATTRIBUTE}}),
    ("SendMessageBatch", {"Entries": [ENTRY, {**ENTRY, "Id": "b"}]}),
    ("DeleteMessageBatch", {"Entries": [ENTRY]}),
    ("ChangeMessageVisibilityBatch", {"Entries": [{**ENTRY, "VisibilityTimeout": 3}]}),
    ("ReceiveMessage", {"MaxNumberOfMessages": 1, "VisibilityTimeout": 0, "AttributeNames": ["All"]}),
    ("ReceiveMessage", {"MessageAttributeNames": ["a.*"], "MessageSystemAttributeNames": ["SenderId"]}),
    ("SetQueueAttributes", {"Attributes": {"DelaySeconds": "0", "VisibilityTimeout": "30"}}),
    ("StartMessageMoveTask", {"SourceArn": ARN, "DestinationArn": ARN, "MaxNumberOfMessagesPerSecond": 1}),
    ("ListMessageMoveTasks", {"SourceArn": ARN, "MaxResults": 1}),
    ("AddPermission", {"Label": "l", "AWSAccountIds": ["000000000000"], "Actions": ["SendMessage"]}),
    ("TagQueue", {"Tags": {"a": "b"}}),
    ("UntagQueue", {"TagKeys": ["a"]}),
    ("ListQueues", {"MaxResults": 1, "NextToken": "MQ==", "QueueNamePrefix": "q"}),
]


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> Any:
    """A document with one of its parts replaced by anything."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(document)))
        return {**document, key: draw(spoiled(document[key]))}
    if isinstance(document, list) and document and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(document) - 1))
        return [*document[:at], draw(spoiled(document[at])), *document[at + 1 :]]
    return draw(values)


@quick
@given(st.sampled_from(GOOD).flatmap(lambda good: st.tuples(st.just(good[0]), spoiled(good[1]))))
def test_good_requests_with_one_part_spoiled(server: AwsServer, request_: tuple[str, Any]) -> None:
    action, params = request_
    document = {"QueueUrl": QUEUE, **params} if isinstance(params, dict) else params
    status, _ = ask(server, {"X-Amz-Target": f"AmazonSQS.{action}"}, json.dumps(document).encode())
    assert 200 <= status < 500
    still_serves(server)


FILTER: dict[str, Any] = {"a": ["x", 1, None, {"prefix": "p"}, {"anything-but": ["x"]}, {"numeric": [">", 1, "<", 2]}]}
FILTER["d"] = [{"anything-but": {"prefix": "y"}}, {"suffix": "z"}]
FILTER |= {"$or": [{"b": [{"exists": True}]}, {"c": [{"cidr": "10.0.0.0/8"}, {"equals-ignore-case": "x"}]}]}
POLICY = {"Version": "2012-10-17", "Statement": [{**STATEMENT, "Condition": {"ArnLike": {"aws:SourceArn": ["*"]}}}]}
DOCUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("FilterPolicy", FILTER),
    ("Policy", POLICY),
    ("RedrivePolicy", {"deadLetterTargetArn": ARN, "maxReceiveCount": 3}),
    ("RedriveAllowPolicy", {"redrivePermission": "byQueue", "sourceQueueArns": [ARN]}),
]


@quick
@given(st.sampled_from(DOCUMENTS).flatmap(lambda item: st.tuples(st.just(item[0]), spoiled(item[1]))), st.booleans())
def test_documents_with_one_part_spoiled(server: AwsServer, document: tuple[str, Any], body: bool) -> None:
    name, content = document[0], json.dumps(document[1])
    if name == "FilterPolicy":
        given = {"FilterPolicy": content, "FilterPolicyScope": "MessageBody" if body else "MessageAttributes"}
        form = {"Action": "Subscribe", "TopicArn": TOPIC, "Protocol": "sqs", "Endpoint": ARN}
        for n, (key, value) in enumerate(given.items(), 1):
            form |= {f"Attributes.entry.{n}.key": key, f"Attributes.entry.{n}.value": value}
        status, answer = ask(server, {}, urlencode(form).encode(), service="sns")
        message = json.dumps({"a": [1, None, {"b": 1}], "b": "x", "c": "10.1.1.1"})
        publish = {"Action": "Publish", "TopicArn": TOPIC, "Message": message}
        assert ask(server, {}, urlencode(publish).encode(), service="sns")[0] == 200
        if status == 200:
            arn = answer.decode().split("<SubscriptionArn>")[1].split("<")[0]
            ask(server, {}, urlencode({"Action": "Unsubscribe", "SubscriptionArn": arn}).encode(), service="sns")
    else:
        params = {"QueueUrl": QUEUE.replace("/q", "/d"), "Attributes": {name: content}}
        ask(server, {"X-Amz-Target": "AmazonSQS.CreateQueue"}, b'{"QueueName": "d"}')
        status, _ = ask(server, {"X-Amz-Target": "AmazonSQS.SetQueueAttributes"}, json.dumps(params).encode())
        sent = json.dumps({"QueueUrl": params["QueueUrl"], "MessageBody": "m"}).encode()
        assert ask(server, {"X-Amz-Target": "AmazonSQS.SendMessage"}, sent)[0] in (200, 400, 403)
    assert 200 <= status < 500
    still_serves(server)


@quick
@given(st.binary(max_size=200), st.sampled_from(["", "AmazonSQS.SendMessage", "AmazonSQS.", "x", "..", "AmazonSNS.x"]))
def test_bodies_and_targets_of_any_kind(server: AwsServer, body: bytes, target: str) -> None:
    status, _ = ask(server, {"X-Amz-Target": target} if target else {}, body)
    assert 400 <= status < 500
    status, _ = ask(
        server, {"X-Amz-Target": target} if target else {}, body, service="sns", path="/%00?Action=%7f&a.b=%ff"
    )
    assert 400 <= status < 500


@quick
@given(st.binary(min_size=1, max_size=300))
def test_bytes_that_are_no_http(server: AwsServer, raw: bytes) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(raw + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    still_serves(server)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"QueueUrl": "http://[", "MessageBody": "x"}',
        b'{"QueueUrl": "\\ud800", "MessageBody": "x"}',
        b'{"MessageBody": "\xff"}',
        b'{"MaxNumberOfMessages": 1e400}',
    ],
)
def test_json_that_hurts(server: AwsServer, body: bytes) -> None:
    status, _ = ask(server, {"X-Amz-Target": "AmazonSQS.SendMessage"}, body)
    assert 400 <= status < 500
    still_serves(server)


def test_forms_that_hurt(server: AwsServer) -> None:
    for body in (b"a=1&" * 10_000, b".".join([b"a"] * 5_000) + b"=1", b"A.member.99999999999=1", b"A.entry=1&A=2"):
        status, _ = ask(server, {}, b"Action=CreateTopic&Name=x&" + body, service="sns")
        assert 200 <= status < 500
    still_serves(server)


def test_a_request_that_is_too_large_is_refused(server: AwsServer) -> None:
    status, _ = ask(server, {"X-Amz-Target": "AmazonSQS.SendMessage"}, b" " * (9 * 1024 * 1024))
    assert status == 413
    still_serves(server)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_other_methods(server: AwsServer, method: str) -> None:
    status, _ = ask(server, {}, b"", path="/000000000000/q", method=method)
    assert 400 <= status < 500
    still_serves(server)
