"""Topics and subscriptions: fan-out, raw and enveloped, FIFO, dead letters of subscriptions, attributes, lists."""

from __future__ import annotations

import json
from typing import Any

import pytest


def test_every_subscription_gets_its_copy_enveloped_or_raw(aws: Any) -> None:
    topic, plain, raw = aws.topic(), aws.queue("plain"), aws.queue("raw")
    aws.subscribe(topic, plain)
    aws.subscribe(topic, raw, RawMessageDelivery="true")
    attributes = {
        "s": aws.string("x"),
        "n": {"DataType": "Number", "StringValue": "1.5"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        "l": {"DataType": "String.Array", "StringValue": '["a", 1, true, null]'},
    }
    sent = aws.sns.publish(TopicArn=topic, Message="héllo", Subject="subject", MessageAttributes=attributes)
    [message] = aws.receive(plain)
    document = json.loads(message["Body"])
    assert document["Type"] == "Notification"
    assert (document["MessageId"], document["TopicArn"]) == (sent["MessageId"], topic)
    assert (document["Message"], document["Subject"]) == ("héllo", "subject")
    assert document["MessageAttributes"] == {
        "s": {"Type": "String", "Value": "x"},
        "n": {"Type": "Number", "Value": "1.5"},
        "b": {"Type": "Binary", "Value": "AAE="},
        "l": {"Type": "String.Array", "Value": '["a", 1, true, null]'},
    }
    assert document["Timestamp"].endswith("Z")
    assert "MessageAttributes" not in message
    [message] = aws.receive(raw)
    assert message["Body"] == "héllo"
    assert message["MessageAttributes"] == attributes


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"Message": ""}, "InvalidParameter"),
        ({"MessageAttributes": {"a": {"DataType": "String", "StringValue": ""}}}, "ParameterValueInvalid"),
        ({"MessageAttributes": {"a..b": {"DataType": "String", "StringValue": "x"}}}, "ParameterValueInvalid"),
        ({"MessageAttributes": {"a": {"DataType": "Nope", "StringValue": "x"}}}, "ParameterValueInvalid"),
        ({"MessageStructure": "json", "Message": '{"sqs": "x"}'}, "InvalidParameter"),
        ({"MessageDeduplicationId": "d"}, "InvalidParameter"),
    ],
)
def test_one_bad_entry_refuses_its_batch_and_nothing_is_published(aws: Any, bad: dict[str, Any], code: str) -> None:
    topic, url = aws.topic(), aws.queue()
    aws.subscribe(topic, url, RawMessageDelivery="true")
    entries = [{"Id": "one", "Message": "1"}, {"Id": "bad", "Message": "x", **bad}, {"Id": "two", "Message": "2"}]
    with aws.refused(code):
        aws.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert aws.bodies(url) == []


def test_what_fails_by_entry_leaves_the_others(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    aws.subscribe(topic, url, RawMessageDelivery="true")
    aws.server.fail_next("PublishBatch", "InternalError", 500, entries=["b"])
    entries = [{"Id": name, "Message": name} for name in "abc"]
    answer = aws.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["a", "c"]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [
        ("b", "InternalError", False)
    ]
    assert aws.bodies(url) == ["a", "c"]


def test_a_topic_is_published_to_in_its_own_region(aws: Any) -> None:
    topic = aws.topic()
    elsewhere = aws.client("sns", region="eu-west-1")
    with aws.refused("InvalidParameter", match="TopicArn"):
        elsewhere.publish(TopicArn=topic, Message="m")
    with aws.refused("InvalidParameter", match="TopicArn"):
        elsewhere.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "1", "Message": "m"}])


def test_a_standard_queue_gets_no_group_from_a_fifo_topic(aws: Any) -> None:
    topic, url = aws.topic("t.fifo"), aws.queue()
    aws.subscribe(topic, url, RawMessageDelivery="true")
    aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="g", MessageDeduplicationId="d")
    [message] = aws.receive(url)
    assert "MessageGroupId" not in message["Attributes"]


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([str(n) for n in range(11)], "TooManyEntriesInBatchRequest"),
        (["a", "a"], "BatchEntryIdsNotDistinct"),
        (["a b"], "InvalidBatchEntryId"),
    ],
)
def test_batches_are_refused_as_a_whole(aws: Any, ids: list[str], code: str) -> None:
    topic = aws.topic()
    with aws.refused(code):
        aws.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": i, "Message": "m"} for i in ids])


def test_raw_delivery_with_more_than_ten_attributes_is_discarded(aws: Any) -> None:
    topic, raw, plain = aws.topic(), aws.queue("raw"), aws.queue("plain")
    aws.subscribe(topic, raw, RawMessageDelivery="true")
    aws.subscribe(topic, plain)
    for count in (11, 10):
        attributes = {f"a{n}": aws.string("v") for n in range(count)}
        aws.sns.publish(TopicArn=topic, Message=str(count), MessageAttributes=attributes)
    assert aws.bodies(raw) == ["10"]
    assert len(aws.bodies(plain)) == 2


def test_what_raw_delivery_discards_is_whole_among_the_dead_letters(aws: Any) -> None:
    topic, raw, letters = aws.topic(), aws.queue("raw"), aws.queue("dead")
    aws.allow(letters, topic)
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(letters)})
    aws.subscribe(topic, raw, RawMessageDelivery="true", RedrivePolicy=redrive)
    attributes = {f"a{n}": aws.string("v") for n in range(11)}
    aws.sns.publish(TopicArn=topic, Message="m", MessageAttributes=attributes)
    assert aws.bodies(raw) == []
    [letter] = aws.receive(letters)
    found = json.loads(letter["Body"])
    assert (found["Type"], found["TopicArn"], found["Message"]) == ("Notification", topic, "m")
    assert found["MessageAttributes"] == {name: {"Type": "String", "Value": "v"} for name in attributes}


@pytest.mark.parametrize(
    "attribute",
    [
        {"DataType": "String", "StringValue": ""},
        {"DataType": "Binary", "BinaryValue": b""},
        {"DataType": "Number", "StringValue": "many"},
        {"DataType": "String.Array", "StringValue": "no array"},
        {"DataType": "String.Array", "StringValue": "[[1]]"},
        {"DataType": "Nope", "StringValue": "x"},
    ],
)
def test_attributes_that_sns_refuses(aws: Any, attribute: dict[str, Any]) -> None:
    topic = aws.topic()
    with aws.refused("ParameterValueInvalid"):
        aws.sns.publish(TopicArn=topic, Message="m", MessageAttributes={"a": attribute})


def test_sizes_of_messages_and_batches(aws: Any) -> None:
    topic = aws.topic()
    attribute = {"name": aws.string("v" * 10)}  # 4 + 6 + 10
    aws.sns.publish(TopicArn=topic, Message="a" * (262_144 - 20), MessageAttributes=attribute)
    with aws.refused("InvalidParameter", match="too long"):
        aws.sns.publish(TopicArn=topic, Message="a" * (262_144 - 19), MessageAttributes=attribute)
    half = {"Message": "a" * 131_072}
    with aws.refused("BatchRequestTooLong"):
        aws.sns.publish_batch(
            TopicArn=topic,
            PublishBatchRequestEntries=[{"Id": "a", **half}, {"Id": "b", **half}, {"Id": "c", "Message": "x"}],
        )
    with aws.refused("InvalidParameter", match="Empty"):
        aws.sns.publish(TopicArn=topic, Message="")


def test_a_topic_may_take_up_to_a_mebibyte(aws: Any) -> None:
    topic, url = aws.topic("big", MaximumMessageSize="1048576"), aws.queue()
    aws.subscribe(topic, url, RawMessageDelivery="true")
    aws.sns.publish(TopicArn=topic, Message="a" * 1_048_576)
    assert [len(body) for body in aws.bodies(url)] == [1_048_576]
    with aws.refused("InvalidParameter", match="too long"):
        aws.sns.publish(TopicArn=topic, Message="a" * 1_048_577)
    with aws.refused("InvalidParameter", match="256 KiB"):
        aws.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    small = aws.topic("small", MaximumMessageSize="1024")
    with aws.refused("InvalidParameter", match="too long"):
        aws.sns.publish(TopicArn=small, Message="a" * 1025)
    for value in ("1023", "1048577", "x"):
        with aws.refused("InvalidParameter"):
            aws.topic("wrong", MaximumMessageSize=value)


def test_a_queue_that_takes_less_than_the_topic_loses_the_message(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue(MaximumMessageSize="1024")
    aws.subscribe(topic, url, RawMessageDelivery="true")
    aws.sns.publish(TopicArn=topic, Message="a" * 1025)
    aws.sns.publish(TopicArn=topic, Message="fits")
    assert aws.bodies(url) == ["fits"]


def test_a_subscription_has_dead_letters_of_its_own(aws: Any) -> None:
    topic, url, letters = aws.topic(), aws.queue(), aws.queue("dead")
    aws.allow(letters, topic)
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(letters)})
    aws.subscribe(topic, url, RawMessageDelivery="true", RedrivePolicy=redrive)
    aws.sqs.delete_queue(QueueUrl=url)
    aws.sns.publish(TopicArn=topic, Message="m", MessageAttributes={"a": aws.string("x")})
    [letter] = aws.receive(letters)
    assert letter["Body"] == "m"
    assert letter["MessageAttributes"] == {"a": aws.string("x")}


def test_a_fifo_subscription_has_fifo_dead_letters(aws: Any) -> None:
    topic, url, letters = aws.topic("t.fifo"), aws.queue("q.fifo"), aws.queue("dead")
    arn = aws.subscribe(topic, url)
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(letters)})
    with aws.refused("InvalidParameter", match="must use a FIFO queue"):
        aws.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RedrivePolicy", AttributeValue=redrive)
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(aws.queue("dead.fifo"))})
    aws.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RedrivePolicy", AttributeValue=redrive)


def test_subscribing_again_is_fine_and_with_other_attributes_an_error(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    arn = aws.subscribe(topic, url, RawMessageDelivery="true")
    assert aws.subscribe(topic, url, RawMessageDelivery="true") == arn
    assert aws.subscribe(topic, url) == arn
    with aws.refused("InvalidParameter", match="already exists with different attributes"):
        aws.subscribe(topic, url, RawMessageDelivery="false")
    aws.sns.publish(TopicArn=topic, Message="once")
    assert aws.bodies(url) == ["once"]


def test_a_subscription_that_ended_gets_nothing(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    arn = aws.subscribe(topic, url, RawMessageDelivery="true")
    aws.sns.unsubscribe(SubscriptionArn=arn)
    aws.sns.unsubscribe(SubscriptionArn=arn)
    aws.sns.publish(TopicArn=topic, Message="m")
    assert aws.bodies(url) == []
    with aws.refused("NotFound", 404):
        aws.sns.get_subscription_attributes(SubscriptionArn=arn)


def test_fifo_topics_give_order_group_deduplication_and_number(aws: Any) -> None:
    topic, url = aws.topic("t.fifo"), aws.queue("q.fifo")
    aws.subscribe(topic, url, RawMessageDelivery="true")
    plain = aws.queue("plain.fifo")
    aws.subscribe(topic, plain)
    numbers = [
        aws.sns.publish(TopicArn=topic, Message=body, MessageGroupId="g", MessageDeduplicationId=f"d{body}")[
            "SequenceNumber"
        ]
        for body in "abc"
    ]
    assert numbers == sorted(set(numbers))
    messages = aws.receive(url)
    assert [message["Body"] for message in messages] == ["a", "b", "c"]
    system = [message["Attributes"] for message in messages]
    assert {attributes["MessageGroupId"] for attributes in system} == {"g"}
    assert [attributes["MessageDeduplicationId"] for attributes in system] == ["da", "db", "dc"]
    own = [attributes["SequenceNumber"] for attributes in system]
    assert own == sorted(set(own))
    envelopes = [json.loads(body) for body in aws.bodies(plain)]
    assert [envelope["SequenceNumber"] for envelope in envelopes] == numbers


def test_fifo_topics_drop_repeats(aws: Any) -> None:
    topic, url = aws.topic("t.fifo", ContentBasedDeduplication="true"), aws.queue("q.fifo")
    aws.subscribe(topic, url, RawMessageDelivery="true")
    first = aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="g")
    again = aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="g")
    assert (first["MessageId"], first["SequenceNumber"]) == (again["MessageId"], again["SequenceNumber"])
    [message] = aws.receive(url)
    aws.delete(url, message)
    aws.clock.advance(301)
    aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="g")
    assert aws.bodies(url) == ["m"]


def test_what_a_fifo_topic_asks_for(aws: Any) -> None:
    topic = aws.topic("t.fifo")
    with aws.refused("InvalidParameter", match="MessageGroupId"):
        aws.sns.publish(TopicArn=topic, Message="m", MessageDeduplicationId="d")
    with aws.refused("InvalidParameter", match="ContentBasedDeduplication"):
        aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="g")
    with aws.refused("InvalidParameter", match="protocol"):
        aws.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")


def test_a_fifo_topic_may_feed_a_standard_queue_and_never_the_other_way(aws: Any) -> None:
    fifo, standard, url, ordered = aws.topic("t.fifo"), aws.topic(), aws.queue(), aws.queue("q.fifo")
    aws.subscribe(fifo, url, RawMessageDelivery="true")
    aws.sns.publish(TopicArn=fifo, Message="m", MessageGroupId="g", MessageDeduplicationId="d")
    assert aws.bodies(url) == ["m"]
    with aws.refused("InvalidParameter", match="FIFO SQS Queues can not be subscribed to standard"):
        aws.sns.subscribe(TopicArn=standard, Protocol="sqs", Endpoint=aws.arn(ordered))


def test_standard_topics_take_group_ids_and_refuse_deduplication_ids(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    aws.subscribe(topic, url, RawMessageDelivery="true")
    aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="tenant")
    assert aws.receive(url)[0]["Attributes"]["MessageGroupId"] == "tenant"
    with aws.refused("InvalidParameter"):
        aws.sns.publish(TopicArn=topic, Message="m", MessageDeduplicationId="d")


def test_bodies_by_protocol(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    aws.subscribe(topic, url, RawMessageDelivery="true")
    for message in ({"default": "d", "sqs": "s"}, {"default": "d"}):
        aws.sns.publish(TopicArn=topic, Message=json.dumps(message), MessageStructure="json")
    assert aws.bodies(url) == ["s", "d"]
    with aws.refused("InvalidParameter", match="default"):
        aws.sns.publish(TopicArn=topic, Message='{"sqs": "s"}', MessageStructure="json")


def test_topic_attributes_are_kept_and_reported(aws: Any) -> None:
    topic = aws.topic(DisplayName="Name", KmsMasterKeyId="alias/aws/sns")
    aws.sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Other")
    found = aws.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (found["DisplayName"], found["KmsMasterKeyId"]) == ("Other", "alias/aws/sns")
    assert (found["MaximumMessageSize"], found["Owner"]) == ("262144", "000000000000")
    assert aws.topic() == topic
    with aws.refused("InvalidParameter", match="different attributes"):
        aws.topic(DisplayName="Third")
    fifo = aws.topic("t.fifo", ContentBasedDeduplication="true")
    found = aws.sns.get_topic_attributes(TopicArn=fifo)["Attributes"]
    assert (found["FifoTopic"], found["ContentBasedDeduplication"]) == ("true", "true")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("a b", {}),
        ("a" * 257, {}),
        ("t.fifo", {}),
        ("t", {"FifoTopic": "true"}),
        ("t", {"Nope": "1"}),
        ("t", {"ContentBasedDeduplication": "true"}),
        ("t", {"Policy": "{"}),
    ],
)
def test_topics_that_are_refused(aws: Any, name: str, attributes: dict[str, str]) -> None:
    with aws.refused("InvalidParameter"):
        aws.sns.create_topic(Name=name, Attributes=attributes)


@pytest.mark.parametrize(
    ("protocol", "endpoint", "attributes"),
    [
        ("sqs", "https://not.an/arn", {}),
        ("carrier-pigeon", "x", {}),
        ("sqs", "arn:aws:sqs:us-east-1:000000000000:q", {"Nope": "1"}),
        ("sqs", "arn:aws:sqs:us-east-1:000000000000:q", {"RawMessageDelivery": "maybe"}),
        ("sqs", "arn:aws:sqs:us-east-1:000000000000:q", {"RedrivePolicy": "{}"}),
        ("email", "ops@example.com", {"RawMessageDelivery": "true"}),
    ],
)
def test_subscriptions_that_are_refused(aws: Any, protocol: str, endpoint: str, attributes: dict[str, str]) -> None:
    topic = aws.topic()
    with aws.refused("InvalidParameter"):
        aws.sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes)
    assert aws.sns.list_subscriptions()["Subscriptions"] == []


def test_other_protocols_stay_pending(aws: Any) -> None:
    topic = aws.topic()
    answer = aws.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    assert answer["SubscriptionArn"] == "pending confirmation"
    arn = aws.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com", ReturnSubscriptionArn=True)[
        "SubscriptionArn"
    ]
    assert aws.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["PendingConfirmation"] == "true"
    assert aws.sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "1"


def test_lists_come_in_pages(aws: Any) -> None:
    topics = {aws.topic(f"t{n}") for n in range(101)}
    first = aws.sns.list_topics()
    second = aws.sns.list_topics(NextToken=first["NextToken"])
    assert (len(first["Topics"]), "NextToken" in second) == (100, False)
    assert {topic["TopicArn"] for page in (first, second) for topic in page["Topics"]} == topics
    topic = aws.topic("t0")
    for n in range(101):
        aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:000000000000:q{n}")
    for operation, more in (("list_subscriptions", {}), ("list_subscriptions_by_topic", {"TopicArn": topic})):
        pages = aws.sns.get_paginator(operation).paginate(**more)
        assert len({item["Endpoint"] for page in pages for item in page["Subscriptions"]}) == 101
    with aws.refused("InvalidParameter"):
        aws.sns.list_topics(NextToken="nonsense")


def test_tags(aws: Any) -> None:
    topic = aws.sns.create_topic(Name="t", Tags=[{"Key": "a", "Value": "1"}])["TopicArn"]
    aws.sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "b", "Value": ""}])
    aws.sns.untag_resource(ResourceArn=topic, TagKeys=["a"])
    assert aws.sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "b", "Value": ""}]
    with aws.refused("ResourceNotFound", 404):
        aws.sns.list_tags_for_resource(ResourceArn=topic + "x")


def test_a_deleted_topic_is_gone_with_its_subscriptions(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    aws.subscribe(topic, url)
    aws.sns.delete_topic(TopicArn=topic)
    aws.sns.delete_topic(TopicArn=topic)
    assert aws.sns.list_subscriptions()["Subscriptions"] == []
    for call in (aws.sns.get_topic_attributes, aws.sns.list_subscriptions_by_topic):
        with aws.refused("NotFound", 404):
            call(TopicArn=topic)
    with aws.refused("NotFound", 404):
        aws.sns.publish(TopicArn=topic, Message="m")
    with aws.refused("InvalidParameter"):
        aws.sns.publish(TopicArn="nonsense", Message="m")


def test_subscription_attributes_change(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    arn = aws.subscribe(topic, url)
    change = {"SubscriptionArn": arn, "AttributeName": "RawMessageDelivery"}
    aws.sns.set_subscription_attributes(AttributeValue="true", **change)
    aws.sns.publish(TopicArn=topic, Message="raw")
    assert aws.bodies(url) == ["raw"]
    found = aws.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (found["RawMessageDelivery"], found["Endpoint"], found["TopicArn"]) == ("true", aws.arn(url), topic)
    with aws.refused("InvalidParameter"):
        aws.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="Nope", AttributeValue="1")
