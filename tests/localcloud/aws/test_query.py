"""The Query protocol, which SNS speaks and older SQS clients too; requests without a signature; the front page."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


def call(aws: Any, action: str, path: str = "/", **params: Any) -> tuple[int, ET.Element]:
    form = urlencode({"Action": action, "Version": "2012-11-05", **params})
    request = AWSRequest("POST", aws.server.url + path, data=form)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    SigV4Auth(Credentials("local", "local"), "sqs", "us-east-1").add_auth(request)
    sent = urllib.request.Request(request.url, form.encode(), dict(request.headers.items()))
    try:
        with urllib.request.urlopen(sent, timeout=30) as response:
            return response.status, ET.fromstring(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ET.fromstring(error.read())


def texts(element: ET.Element, path: str) -> list[str]:
    return [found.text or "" for found in element.findall("/".join(NAMESPACE + part for part in path.split("/")))]


def test_a_queues_life_in_forms(aws: Any) -> None:
    _, made = call(
        aws,
        "CreateQueue",
        QueueName="q",
        **{"Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "40", "Tag.1.Key": "a", "Tag.1.Value": "b"},
    )
    [url] = texts(made, "CreateQueueResult/QueueUrl")
    assert aws.attribute(url, "VisibilityTimeout") == "40"
    path = "/" + url.split("/", 3)[3]
    _, sent = call(
        aws,
        "SendMessage",
        path,
        MessageBody="a<b>&\r\n",
        **{
            "MessageAttribute.1.Name": "n",
            "MessageAttribute.1.Value.DataType": "Number",
            "MessageAttribute.1.Value.StringValue": "7",
        },
    )
    assert len(texts(sent, "SendMessageResult/MD5OfMessageAttributes")) == 1
    _, received = call(
        aws, "ReceiveMessage", path, MaxNumberOfMessages=10, **{"AttributeName.1": "All", "MessageAttributeName.1": "n"}
    )
    result = "ReceiveMessageResult/Message"
    assert texts(received, f"{result}/Body") == ["a<b>&\r\n"]
    assert texts(received, f"{result}/MessageAttribute/Value/StringValue") == ["7"]
    assert "ApproximateReceiveCount" in texts(received, f"{result}/Attribute/Name")
    [handle] = texts(received, f"{result}/ReceiptHandle")
    status, _ = call(aws, "DeleteMessage", path, ReceiptHandle=handle)
    assert status == 200
    assert aws.depth(url) == (0, 0, 0)
    _, listed = call(aws, "ListQueues")
    assert texts(listed, "ListQueuesResult/QueueUrl") == [url]
    _, tags = call(aws, "ListQueueTags", path)
    assert texts(tags, "ListQueueTagsResult/Tag/Key") == ["a"]


def test_batches_in_forms(aws: Any) -> None:
    url = aws.queue()
    entry = "SendMessageBatchRequestEntry"
    form = {f"{entry}.1.Id": "a", f"{entry}.1.MessageBody": "1", f"{entry}.2.Id": "b", f"{entry}.2.MessageBody": ""}
    _, answer = call(aws, "SendMessageBatch", QueueUrl=url, **form)
    assert texts(answer, "SendMessageBatchResult/SendMessageBatchResultEntry/Id") == ["a"]
    assert texts(answer, "SendMessageBatchResult/BatchResultErrorEntry/Code") == ["MissingParameter"]
    [message] = aws.receive(url)
    entry = "DeleteMessageBatchRequestEntry"
    form = {f"{entry}.1.Id": "x", f"{entry}.1.ReceiptHandle": message["ReceiptHandle"]}
    _, answer = call(aws, "DeleteMessageBatch", QueueUrl=url, **form)
    assert texts(answer, "DeleteMessageBatchResult/DeleteMessageBatchResultEntry/Id") == ["x"]


def test_errors_in_xml(aws: Any) -> None:
    status, answer = call(aws, "GetQueueUrl", QueueName="missing")
    assert (status, texts(answer, "Error/Code")) == (400, ["AWS.SimpleQueueService.NonExistentQueue"])
    assert texts(answer, "Error/Type") == ["Sender"]
    status, answer = call(aws, "FlyToTheMoon")
    assert (status, texts(answer, "Error/Code")) == (400, ["InvalidAction"])


def test_a_request_without_a_signature_is_refused(aws: Any) -> None:
    request = urllib.request.Request(aws.server.url, b"Action=ListQueues")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    with caught.value as error:
        assert (error.code, b"MissingAuthenticationToken" in error.read()) == (403, True)


def test_the_front_page_tells_what_this_is(aws: Any) -> None:
    with urllib.request.urlopen(aws.server.url + "/", timeout=30) as response:
        assert {"sns", "sqs", "sts", "iam"} < {*json.load(response)["services"]}


def test_the_environment_is_all_that_sdks_need(aws: Any, monkeypatch: Any) -> None:
    for name, value in aws.server.env().items():
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("sqs")
    try:
        url = client.create_queue(QueueName="from-env")["QueueUrl"]
    finally:
        client.close()
    assert aws.attribute(url, "QueueArn") == "arn:aws:sqs:us-east-1:000000000000:from-env"
