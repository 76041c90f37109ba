"""What SQS refuses: names, ranges, sizes, attributes, and what it reports of queues."""

from __future__ import annotations

import json
from typing import Any

import pytest

INVALID = "InvalidParameterValue"


@pytest.mark.parametrize("count", [0, 11])
def test_receive_counts_out_of_range(aws: Any, count: int) -> None:
    url = aws.queue()
    with aws.refused(INVALID):
        aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count)


@pytest.mark.parametrize(("name", "value"), [("WaitTimeSeconds", 21), ("VisibilityTimeout", 43_201)])
def test_receive_times_out_of_range(aws: Any, name: str, value: int) -> None:
    url = aws.queue()
    with aws.refused(INVALID):
        aws.sqs.receive_message(QueueUrl=url, **{name: value})


def test_visibility_and_delay_out_of_range(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "m")
    [message] = aws.receive(url)
    with aws.refused(INVALID):
        aws.sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43_201
        )
    with aws.refused(INVALID):
        aws.send(url, "m", DelaySeconds=901)


def test_unknown_attribute_names_of_a_receive(aws: Any) -> None:
    url = aws.queue()
    with aws.refused("InvalidAttributeName"):
        aws.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["Nope"])


def test_an_empty_message_is_refused(aws: Any) -> None:
    url = aws.queue()
    with aws.refused("MissingParameter", match="MessageBody"):
        aws.send(url, "")


@pytest.mark.parametrize("body", ["\x00", "a\x0b", "\ufffe", "\uffff", "\x1f"])
def test_characters_that_sqs_does_not_carry(aws: Any, body: str) -> None:
    url = aws.queue()
    with aws.refused("InvalidMessageContents"):
        aws.send(url, body)


@pytest.mark.parametrize("body", ["\t\n\r", "\ud7ff\ue000", "\ufffd", "\U0001f600", "\x7f"])
def test_characters_that_sqs_carries(aws: Any, body: str) -> None:
    url = aws.queue()
    aws.send(url, body)
    assert aws.bodies(url) == [body]


STRING = {"DataType": "String", "StringValue": "v"}


@pytest.mark.parametrize(
    "attributes",
    [
        {f"a{n}": STRING for n in range(11)},
        {"": STRING},
        {"a b": STRING},
        {"\N{SNOWMAN}": STRING},
        {"é" * 129: STRING},
        {"x" * 257: STRING},
        {".a": STRING},
        {"a.": STRING},
        {"a..b": STRING},
        {"AWS.a": STRING},
        {"amazon.a": STRING},
        {"a": {"DataType": "String", "StringValue": ""}},
        {"a": {"DataType": "Binary", "BinaryValue": b""}},
        {"a": {"DataType": "String", "BinaryValue": b"x"}},
        {"a": {"DataType": "String", "StringValue": "x", "BinaryValue": b"x"}},
        {"a": {"DataType": "Float", "StringValue": "1"}},
        {"a": {"DataType": "", "StringValue": "1"}},
        {"a": {"DataType": "Number", "StringValue": "one"}},
        {"a": {"DataType": "String", "StringValue": "\x01"}},
    ],
)
def test_attributes_that_sqs_refuses(aws: Any, attributes: dict[str, Any]) -> None:
    url = aws.queue()
    with aws.refused(INVALID):
        aws.send(url, "m", MessageAttributes=attributes)
    assert aws.depth(url) == (0, 0, 0)


def test_attributes_that_sqs_takes(aws: Any) -> None:
    url = aws.queue()
    attributes = {f"a{n}": STRING for n in range(8)}
    attributes |= {"awsome-Name_1.x": STRING, "typed": {"DataType": "String.Array", "StringValue": "[1]"}}
    aws.send(url, "m", MessageAttributes=attributes)
    assert aws.receive(url)[0]["MessageAttributes"] == attributes


def test_size_counts_names_types_and_values_of_attributes(aws: Any) -> None:
    url = aws.queue(MaximumMessageSize="1024")
    attributes = {"name": {"DataType": "Binary", "BinaryValue": b"\x00" * 10}}  # 4 + 6 + 10
    aws.send(url, "é" * 502, MessageAttributes=attributes)  # 1,004 + 20 = 1,024
    with aws.refused(INVALID, match="1024 bytes"):
        aws.send(url, "é" * 502 + "a", MessageAttributes=attributes)


def test_a_mebibyte_is_the_limit_of_messages_and_batches(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "a" * 1_048_576)
    with aws.refused(INVALID, match="1048576"):
        aws.send(url, "a" * 1_048_577)
    half = {"MessageBody": "a" * 524_288}
    aws.sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", **half}, {"Id": "b", **half}])
    with aws.refused("AWS.SimpleQueueService.BatchRequestTooLong"):
        aws.sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": "a", **half}, {"Id": "b", **half}, {"Id": "c", "MessageBody": "x"}]
        )
    assert aws.depth(url) == (3, 0, 0)


@pytest.mark.parametrize("name", ["", "a" * 81, "a b", "a.b", "a.fifo", "é"])
def test_queue_names(aws: Any, name: str) -> None:
    with pytest.raises(aws.sqs.exceptions.ClientError):
        aws.sqs.create_queue(QueueName=name)


@pytest.mark.parametrize("name", ["plain", "a" * 76 + ".fifo"])
def test_fifo_queue_names(aws: Any, name: str) -> None:
    with aws.refused(INVALID):
        aws.sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "-1", "InvalidAttributeValue"),
        ("VisibilityTimeout", "ten", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "1209601", "InvalidAttributeValue"),
        ("DelaySeconds", "901", "InvalidAttributeValue"),
        ("ReceiveMessageWaitTimeSeconds", "21", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1023", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1048577", "InvalidAttributeValue"),
        ("SqsManagedSseEnabled", "yes", "InvalidAttributeValue"),
        ("KmsDataKeyReusePeriodSeconds", "59", "InvalidAttributeValue"),
        ("Policy", "{", "InvalidAttributeValue"),
        ("Policy", '{"Statement": [{"Effect": "Allow"}]}', "InvalidAttributeValue"),
        ("RedrivePolicy", "[]", INVALID),
        ("RedrivePolicy", '{"maxReceiveCount": 3}', INVALID),
        ("RedriveAllowPolicy", '{"redrivePermission": "some"}', INVALID),
        ("RedriveAllowPolicy", '{"redrivePermission": "byQueue"}', INVALID),
        ("Nope", "1", "InvalidAttributeName"),
        ("ContentBasedDeduplication", "true", "InvalidAttributeName"),
        ("FifoQueue", "false", "InvalidAttributeName"),
    ],
)
def test_queue_attributes_that_are_refused(aws: Any, name: str, value: str, code: str) -> None:
    with aws.refused(code):
        aws.sqs.create_queue(QueueName="new", Attributes={name: value})
    assert "QueueUrls" not in aws.sqs.list_queues()
    url = aws.queue()
    with pytest.raises(aws.sqs.exceptions.ClientError):
        aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={name: value})
    assert aws.attribute(url, "VisibilityTimeout") == "30"


def test_defaults_are_reported(aws: Any) -> None:
    found = aws.sqs.get_queue_attributes(QueueUrl=aws.queue(), AttributeNames=["All"])["Attributes"]
    assert (
        found.items()
        >= {
            "SqsManagedSseEnabled": "true",
            "MaximumMessageSize": "1048576",
            "VisibilityTimeout": "30",
            "MessageRetentionPeriod": "345600",
            "DelaySeconds": "0",
            "ReceiveMessageWaitTimeSeconds": "0",
        }.items()
    )
    assert not found.keys() & {"FifoQueue", "Policy", "RedrivePolicy", "KmsMasterKeyId"}


def test_encryption_attributes_are_kept(aws: Any) -> None:
    url = aws.queue(KmsMasterKeyId="alias/mine", KmsDataKeyReusePeriodSeconds="600")
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["KmsMasterKeyId"] == "alias/mine"
    assert found["KmsDataKeyReusePeriodSeconds"] == "600"
    assert found["SqsManagedSseEnabled"] == "false"


def test_one_kind_of_encryption_at_a_time(aws: Any) -> None:
    with aws.refused("InvalidAttributeName"):
        aws.queue("both", KmsMasterKeyId="alias/mine", SqsManagedSseEnabled="true")
    url = aws.queue(SqsManagedSseEnabled="true")
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/mine"})
    assert aws.attribute(url, "SqsManagedSseEnabled") == "false"
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    assert aws.attribute(url, "SqsManagedSseEnabled") == "true"
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert "KmsMasterKeyId" not in found


def test_an_attribute_can_be_taken_away(aws: Any) -> None:
    url, topic = aws.queue(), aws.topic()
    aws.allow(url, topic)
    assert json.loads(aws.attribute(url, "Policy"))["Statement"][0]["Resource"] == aws.arn(url)
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert "Attributes" not in aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])


def test_creating_again_is_fine_and_with_other_attributes_refused(aws: Any) -> None:
    url = aws.queue(VisibilityTimeout="40")
    assert aws.queue(VisibilityTimeout="40") == aws.queue() == url
    with aws.refused("QueueAlreadyExists", match="VisibilityTimeout"):
        aws.queue(VisibilityTimeout="41")
    with aws.refused("QueueAlreadyExists", match="DelaySeconds"):
        aws.queue(DelaySeconds="1")


def test_a_missing_queue(aws: Any) -> None:
    url = aws.queue() + "x"
    missing = aws.sqs.exceptions.QueueDoesNotExist
    for call in (aws.sqs.receive_message, aws.sqs.delete_queue, aws.sqs.purge_queue, aws.sqs.list_queue_tags):
        with pytest.raises(missing):
            call(QueueUrl=url)
    with pytest.raises(missing):
        aws.sqs.get_queue_url(QueueName="nope")
    with pytest.raises(missing):
        aws.client("sqs", region="eu-west-1").receive_message(QueueUrl=aws.queue())


def test_listing_by_prefix_and_page(aws: Any) -> None:
    urls = [aws.queue(f"a{n}") for n in range(5)]
    aws.queue("b")
    assert aws.sqs.list_queues(QueueNamePrefix="a")["QueueUrls"] == urls
    first = aws.sqs.list_queues(QueueNamePrefix="a", MaxResults=3)
    second = aws.sqs.list_queues(QueueNamePrefix="a", MaxResults=3, NextToken=first["NextToken"])
    assert first["QueueUrls"] + second["QueueUrls"] == urls
    assert "NextToken" not in second
    assert aws.sqs.get_queue_url(QueueName="b")["QueueUrl"].endswith("/b")


def test_tags(aws: Any) -> None:
    url = aws.sqs.create_queue(QueueName="tagged", tags={"a": "1"})["QueueUrl"]
    aws.sqs.tag_queue(QueueUrl=url, Tags={"b": "2"})
    assert aws.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "1", "b": "2"}
    aws.sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
    assert aws.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "2"}
    with aws.refused(INVALID):
        aws.sqs.tag_queue(QueueUrl=url, Tags={f"t{n}": "" for n in range(51)})


def test_queues_of_regions_are_apart(aws: Any) -> None:
    aws.queue()
    west = aws.client("sqs", region="us-west-2")
    assert "QueueUrls" not in west.list_queues()
    url = west.create_queue(QueueName="q")["QueueUrl"]
    found = west.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    assert found == {"QueueArn": "arn:aws:sqs:us-west-2:000000000000:q"}
