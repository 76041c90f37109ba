"""Bodies of the lean way say what botocore's say; answers are read as strictly as they are written."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl

import botocore.session
import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from polybus.clouds.aws.driver.lean import codec
from polybus.clouds.aws.driver.lean.http1 import Answer

SESSION = botocore.session.get_session()
SQS, SNS = (SESSION.get_service_model(name) for name in ("sqs", "sns"))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text("abcXYZ019-_.", min_size=1, max_size=10)
attributes = st.dictionaries(
    names, st.fixed_dictionaries({"DataType": st.just("String"), "StringValue": texts}), max_size=4
)
keys = st.fixed_dictionaries({}, optional={"MessageGroupId": names, "MessageDeduplicationId": names})


def entries(body: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    made = st.builds(
        lambda text, given, more: {body: text, "MessageAttributes": given, **more}, texts, attributes, keys
    )
    return st.lists(made, min_size=1, max_size=4).map(
        lambda found: [{"Id": str(place), **entry} for place, entry in enumerate(found)]
    )


@settings(max_examples=300)
@given(entries("MessageBody"))
def test_a_body_for_sqs_says_what_botocore_s_does(given: list[dict[str, Any]]) -> None:
    arguments = {"QueueUrl": "https://sqs/1/q", "Entries": given}
    theirs = create_serializer("json").serialize_to_request(arguments, SQS.operation_model("SendMessageBatch"))
    assert json.loads(codec.encode_json(arguments)) == json.loads(theirs["body"])


@settings(max_examples=300)
@given(entries("Message"))
def test_a_form_for_sns_is_what_botocore_s_is(given: list[dict[str, Any]]) -> None:
    arguments = {"TopicArn": "arn:aws:sns:eu-west-1:1:t", "PublishBatchRequestEntries": given}
    theirs = create_serializer("query").serialize_to_request(arguments, SNS.operation_model("PublishBatch"))["body"]
    ours = codec.encode_form("PublishBatch", "2010-03-31", arguments)
    read = dict(parse_qsl(ours.decode("ascii"), keep_blank_values=True, strict_parsing=True))
    # botocore leaves out what is empty; polybus never sends such.
    assert {name: value for name, value in read.items() if value or name in theirs} == theirs


class Text(str):
    """As receipts are, text and more."""

    def __str__(self) -> str:
        return "something else"


def test_what_is_text_and_more_is_sent_as_its_text() -> None:
    arguments = {"QueueUrl": Text("q"), "Entries": [{"Id": "0", "A": {Text("é"): Text("ü")}}]}
    assert json.loads(codec.encode_json(arguments)) == {"QueueUrl": "q", "Entries": [{"Id": "0", "A": {"é": "ü"}}]}
    entry = {"Id": "0", "Message": Text("a b"), "MessageAttributes": {Text("n"): {"StringValue": Text("safe")}}}
    form = codec.encode_form("PublishBatch", "v", {"PublishBatchRequestEntries": [entry]})
    assert form.endswith(
        b"&PublishBatchRequestEntries.member.1.Id=0&PublishBatchRequestEntries.member.1.Message=a+b"
        b"&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name=n"
        b"&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.StringValue=safe"
    )
    with pytest.raises(TypeError):
        codec.encode_json({"Entries": [{"Id": object()}]})


# Answers --------------------------------------------------------------------------------------------------------------


def answer(body: bytes) -> Answer:
    return Answer(200, {}, body, reusable=True)


def test_what_sqs_answers_is_read_as_botocore_reads_it() -> None:
    message = {
        "MessageId": "1",
        "ReceiptHandle": "h",
        "Body": "é\u2028",
        "Attributes": {"SentTimestamp": "1", "MessageGroupId": "g"},
        "MessageAttributes": {
            "text": {"DataType": "String", "StringValue": "x"},
            "bytes": {"DataType": "Binary", "BinaryValue": base64.b64encode(b"\x00\xff").decode()},
        },
    }
    body = json.dumps({"Messages": [message]}).encode()
    model = SQS.operation_model("ReceiveMessage").output_shape
    theirs = create_parser("json").parse({"status_code": 200, "headers": {}, "body": body}, model)
    assert codec.read_json(answer(body))["Messages"] == theirs["Messages"]
    assert codec.read_json(answer(b'{"Messages":null}')) == {}
    assert codec.read_json(answer(b"{}")) == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html/>", b'{"Messages":', b'{"a":' * 100_000, b"\xff"])
def test_what_is_no_answer_of_sqs_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(codec.Unreadable):
        codec.read_json(answer(body))


XML = """\
<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult>
<Failed><member><Id>1</Id><Code>InternalError</Code><Message>a &lt; b</Message><SenderFault>false</SenderFault></member>
<member><Id>2</Id><Code>InvalidParameter</Code><Message/><SenderFault>true</SenderFault></member></Failed>
<Successful><member><Id>0</Id><MessageId>m</MessageId><SequenceNumber>7</SequenceNumber></member></Successful>
</PublishBatchResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishBatchResponse>"""


@pytest.mark.parametrize("text", [XML, XML.replace(' xmlns="http://sns.amazonaws.com/doc/2010-03-31/"', "")])
def test_what_sns_answers_is_read_as_botocore_reads_it(text: str) -> None:
    model = SNS.operation_model("PublishBatch").output_shape
    theirs = create_parser("query").parse({"status_code": 200, "headers": {}, "body": XML.encode()}, model)
    found = codec.read_xml(answer(text.encode()))
    assert found == {name: theirs[name] for name in ("Successful", "Failed")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "<PublishBatchResponse>",
        "<PublishBatchResponse/>",
        "<html><body/></html>",
        "<ErrorResponse><Error><Code>x</Code></Error></ErrorResponse>",
        '<!DOCTYPE x [<!ENTITY a "b">]>' + XML,
        XML.replace("PublishBatchResult", "PublishResult"),
    ],
)
def test_what_is_no_answer_of_sns_is_said_to_be_none(text: str) -> None:
    with pytest.raises(codec.Unreadable):
        codec.read_xml(answer(text.encode()))


# Digests --------------------------------------------------------------------------------------------------------------


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_the_digest_of_attributes_is_as_sqs_documents_it() -> None:
    one = {"b": {"DataType": "String", "StringValue": "é"}, "a": {"DataType": "Binary.x", "BinaryValue": b"\x00"}}
    packed = (
        b"\x00\x00\x00\x01a\x00\x00\x00\x08Binary.x\x02\x00\x00\x00\x01\x00"
        b"\x00\x00\x00\x01b\x00\x00\x00\x06String\x01\x00\x00\x00\x02\xc3\xa9"
    )
    assert codec.attributes_digest(one) == hashlib.md5(packed).hexdigest()


def test_a_message_that_was_damaged_on_its_way_here_is_refused() -> None:
    good = {"MessageId": "1", "Body": "x", "MD5OfBody": md5("x")}
    codec.check_digests("ReceiveMessage", {}, {"Messages": [good, {"MessageId": "2", "Body": "no digest"}]})
    bad_attributes = {**good, "MD5OfMessageAttributes": md5("other")}
    for wrong in ({**good, "Body": "y"}, bad_attributes):
        with pytest.raises(codec.Damaged, match="message 1"):
            codec.check_digests("ReceiveMessage", {}, {"Messages": [good, wrong]})


def test_an_entry_that_was_damaged_on_its_way_there_is_one_that_failed() -> None:
    attributes = {"n": {"DataType": "String", "StringValue": "v"}}
    sent = [{"Id": str(place), "MessageBody": "x", "MessageAttributes": attributes} for place in range(3)]
    right = {"MD5OfMessageBody": md5("x"), "MD5OfMessageAttributes": codec.attributes_digest(attributes)}
    told = {
        "Successful": [{"Id": "0", **right}, {"Id": "1", **right, "MD5OfMessageBody": md5("y")}],
        "Failed": [{"Id": "2", "Code": "InternalError"}],
    }
    codec.check_digests("SendMessageBatch", {"Entries": sent}, told)
    assert [each["Id"] for each in told["Successful"]] == ["0"]
    assert [(each["Id"], each["Code"]) for each in told["Failed"]] == [("2", "InternalError"), ("1", "BadDigest")]
