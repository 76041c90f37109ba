"""What AWS was recorded to answer, where its documents say nothing or something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest

INVALID = "InvalidParameter"


def attributes_of(aws: Any, topic: str) -> dict[str, str]:
    found: dict[str, str] = aws.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    return found


# Queues ---------------------------------------------------------------------------------------------------------------


def test_true_and_false_are_taken_in_any_case(aws: Any) -> None:
    url = aws.queue("a.fifo", FifoQueue="True", ContentBasedDeduplication="TRUE")
    assert aws.attribute(url, "FifoQueue") == "true"
    assert aws.attribute(url, "ContentBasedDeduplication") == "true"
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"ContentBasedDeduplication": "False"})
    assert aws.attribute(url, "ContentBasedDeduplication") == "false"


def test_a_name_is_taken_for_a_url(aws: Any) -> None:
    aws.queue("plain")
    aws.sqs.send_message(QueueUrl="plain", MessageBody="m")
    assert aws.bodies("plain") == ["m"]


def test_of_a_fifo_queue_its_kind_may_be_said_again(aws: Any) -> None:
    fifo, standard = aws.queue("a.fifo"), aws.queue("a")
    aws.sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "true"})
    with aws.refused("InvalidAttributeValue", match="Modifying queue type is not supported"):
        aws.sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "false"})
    for value in ("true", "false"):
        with aws.refused("InvalidAttributeName", match="Unknown Attribute FifoQueue"):
            aws.sqs.set_queue_attributes(QueueUrl=standard, Attributes={"FifoQueue": value})


def test_a_key_that_is_taken_away_leaves_the_queue_unencrypted(aws: Any) -> None:
    url = aws.queue(KmsMasterKeyId="alias/mine", KmsDataKeyReusePeriodSeconds="600")
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": ""})
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["SqsManagedSseEnabled"] == "false"
    assert not {"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"} & found.keys()


def test_attribute_names_have_letters_of_any_script_on_queues_alone(aws: Any) -> None:
    url, topic = aws.queue(), aws.topic()
    named = {"attr.1\u00f8\u00df\u00e4": aws.string("v")}
    aws.send(url, "m", MessageAttributes=named)
    [message] = aws.receive(url)
    assert message["MessageAttributes"].keys() == named.keys()
    with aws.refused("ParameterValueInvalid"):
        aws.sns.publish(TopicArn=topic, Message="m", MessageAttributes=named)


def test_on_a_fifo_queue_the_queues_delay_counts(aws: Any) -> None:
    url = aws.queue("a.fifo", ContentBasedDeduplication="true", DelaySeconds="5")
    aws.send(url, "m", MessageGroupId="g", DelaySeconds=0)
    assert aws.bodies(url) == []
    aws.clock.advance(6)
    assert aws.bodies(url) == ["m"]


def test_what_comes_back_comes_before_what_came_later(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "1", "2", "3")
    first, second = aws.receive(url, 1, VisibilityTimeout=20), aws.receive(url, 1, VisibilityTimeout=10)
    assert [first[0]["Body"], second[0]["Body"]] == ["1", "2"]
    aws.clock.advance(11)
    assert aws.bodies(url, VisibilityTimeout=1) == ["2", "3"]
    aws.clock.advance(10)
    assert aws.bodies(url) == ["1", "2", "3"]


def test_one_receive_never_has_a_message_twice(aws: Any) -> None:
    url = aws.queue()
    aws.send(url, "1", "2")
    [old] = aws.receive(url, 1, VisibilityTimeout=0)
    # An old receipt hides what waits and shows it again: it is there once all the same.
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"], VisibilityTimeout=5)
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"], VisibilityTimeout=0)
    assert aws.bodies(url, VisibilityTimeout=0) == ["1", "2"]
    assert aws.bodies(url) == ["1", "2"]


def test_the_trace_header_of_a_request_travels_through_topics_too(aws: Any) -> None:
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    url, topic = aws.queue(), aws.topic()
    aws.subscribe(topic, url, RawMessageDelivery="true")

    def add(request: AWSRequest, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = trace

    aws.sqs.meta.events.register("before-sign.sqs.SendMessage", add)
    aws.sns.meta.events.register("before-sign.sns.Publish", add)
    aws.send(url, "direct")
    aws.sns.publish(TopicArn=topic, Message="through the topic")
    assert [message["Attributes"]["AWSTraceHeader"] for message in aws.receive(url)] == [trace, trace]


def test_the_digest_of_a_trace_that_was_given_is_answered(aws: Any) -> None:
    trace = {"AWSTraceHeader": aws.string("Root=1")}
    answer = aws.sqs.send_message(QueueUrl=aws.queue(), MessageBody="m", MessageSystemAttributes=trace)
    assert answer["MD5OfMessageSystemAttributes"]  # which botocore has checked


# Topics ---------------------------------------------------------------------------------------------------------------


def test_creating_a_topic_again_may_say_less_and_defaults(aws: Any) -> None:
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    arn = aws.sns.create_topic(Name="t", Tags=tags)["TopicArn"]
    assert aws.sns.create_topic(Name="t", Tags=tags[:1])["TopicArn"] == arn
    assert aws.sns.create_topic(Name="t", Attributes={"FifoTopic": "false"})["TopicArn"] == arn
    assert "FifoTopic" not in attributes_of(aws, arn)
    with aws.refused(INVALID, match="different tags"):
        aws.sns.create_topic(Name="t", Tags=[{"Key": "c", "Value": "3"}])
    with aws.refused(INVALID, match="different attributes"):
        aws.sns.create_topic(Name="t", Attributes={"DisplayName": "other"})


def test_subscribing_again_may_say_less_and_defaults(aws: Any) -> None:
    topic, endpoint = aws.topic(), aws.arn(aws.queue())

    def subscribe(**attributes: str) -> str:
        arn: str = aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint, Attributes=attributes)[
            "SubscriptionArn"
        ]
        return arn

    arn = subscribe(RawMessageDelivery="True")
    assert subscribe(RawMessageDelivery="true") == arn
    assert subscribe(FilterPolicyScope="MessageAttributes") == arn
    with aws.refused(INVALID, match="different attributes"):
        subscribe(RawMessageDelivery="false")
    found = aws.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert found["RawMessageDelivery"] == "true"
    assert "FilterPolicyScope" not in found


@pytest.mark.parametrize(
    "act", ["publish", "subscribe", "get_topic_attributes", "list_subscriptions_by_topic", "delete_topic"]
)
def test_a_topic_of_another_region_is_refused(aws: Any, act: str) -> None:
    topic = aws.topic().replace("us-east-1", "eu-west-1")
    more = {"publish": {"Message": "m"}, "subscribe": {"Protocol": "sqs", "Endpoint": aws.arn(aws.queue())}}
    with aws.refused(INVALID, match="TopicArn"):
        getattr(aws.sns, act)(TopicArn=topic, **more.get(act, {}))


def test_a_dot_in_a_body_filter_is_a_path(aws: Any) -> None:
    topic = aws.topic()
    urls = {}
    for name, policy in {"path": {"a.b": ["x"]}, "mixed": {"a.b": {"c": ["x"]}}, "whole": {"a": {"b": ["x"]}}}.items():
        urls[name] = aws.queue(name)
        aws.subscribe(topic, urls[name], FilterPolicyScope="MessageBody", FilterPolicy=json.dumps(policy))
    for body in ({"a": {"b": "x"}}, {"a": [{"b": {"c": "x"}}]}, {"a.b": "x"}, {"a": {"b": "y"}}):
        aws.sns.publish(TopicArn=topic, Message=json.dumps(body))
    found = {name: [json.loads(json.loads(text)["Message"]) for text in aws.bodies(url)] for name, url in urls.items()}
    assert found["path"] == [{"a": {"b": "x"}}, {"a.b": "x"}]
    assert found["mixed"] == [{"a": [{"b": {"c": "x"}}]}]
    assert found["whole"] == [{"a": {"b": "x"}}]


def test_the_policy_of_a_new_topic_and_of_its_permissions(aws: Any) -> None:
    topic = aws.topic()
    [statement] = json.loads(attributes_of(aws, topic)["Policy"])["Statement"]
    assert len(statement["Action"]) == 8
    assert (statement["Action"][0], statement["Action"][-1]) == ("SNS:GetTopicAttributes", "SNS:Publish")
    with aws.refused(INVALID, match="out of service scope"):
        aws.sns.add_permission(TopicArn=topic, Label="l", AWSAccountId=["1" * 12], ActionName=["Receive"])


def test_delivery_policies_are_shown_with_what_they_leave_open(aws: Any) -> None:
    topic = aws.topic(DeliveryPolicy=json.dumps({"http": {"defaultHealthyRetryPolicy": {"numRetries": 1}}}))
    found = attributes_of(aws, topic)
    assert json.loads(found["DeliveryPolicy"])["http"]["disableSubscriptionOverrides"] is False
    healthy = json.loads(found["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]
    assert (healthy["numRetries"], healthy["minDelayTarget"]) == (1, 20)
    with aws.refused(INVALID, match="DeliveryPolicy"):
        aws.sns.set_topic_attributes(TopicArn=topic, AttributeName="DeliveryPolicy", AttributeValue="no JSON")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda sns, topic: sns.unsubscribe(SubscriptionArn="randomstring"), "at least 6 elements, not 1"),
        (lambda sns, topic: sns.unsubscribe(SubscriptionArn=topic), "SubscriptionId"),
        (lambda sns, topic: sns.get_topic_attributes(TopicArn="arn:aws"), "at least 6 elements, not 2"),
        (
            lambda sns, topic: sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "a", "Value": v} for v in "12"]),
            "Duplicated keys",
        ),
        (
            lambda sns, topic: sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint="NAA+15551234567"),
            "Invalid SMS endpoint",
        ),
        (
            lambda sns, topic: sns.publish(
                TargetArn="arn:aws:sns:us-east-1:000000000000:endpoint/APNS/a/b", Message="m"
            ),
            "No endpoint found",
        ),
    ],
)
def test_what_sns_refuses_and_how(aws: Any, act: Any, told: str) -> None:
    with aws.refused(INVALID, match=told):
        act(aws.sns, aws.topic())


def test_a_refusal_of_an_attribute_says_where_it_was_given(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    with aws.refused(INVALID, match=r"Invalid parameter: Attributes Reason: FilterPolicy: Empty arrays"):
        aws.subscribe(topic, url, FilterPolicy='{"a": []}')
    change = {"SubscriptionArn": aws.subscribe(topic, url)}
    with aws.refused(INVALID, match=r"Invalid parameter: FilterPolicy: Empty arrays"):
        aws.sns.set_subscription_attributes(**change, AttributeName="FilterPolicy", AttributeValue='{"a": []}')
    with aws.refused(INVALID, match=r"Invalid parameter: RawMessageDelivery: Invalid value \[\]"):
        aws.sns.set_subscription_attributes(**change, AttributeName="RawMessageDelivery", AttributeValue="")


def test_entries_are_refused_in_the_words_of_each_service(aws: Any) -> None:
    url, topic = aws.queue(), aws.topic()
    with aws.refused("InvalidBatchEntryId", match="too long"):
        aws.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a" * 81, "Message": "m"}])
    with aws.refused("InvalidBatchEntryId", match="impermissible character: a.b"):
        aws.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a.b", "Message": "m"}])
    with aws.refused("AWS.SimpleQueueService.InvalidBatchEntryId", match="at most 80 letters"):
        aws.sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a.b", "MessageBody": "m"}])
