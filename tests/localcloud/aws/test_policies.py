"""Queue policies that let SNS in or not, and identity policies of access keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polybus.localcloud.aws.policy.document import PolicyError

SNS = {"Service": "sns.amazonaws.com"}


def allow(aws: Any, url: str, topic: str, **changes: Any) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": SNS,
        "Action": "sqs:SendMessage",
        "Resource": aws.arn(url),
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    return {key: value for key, value in {**statement, **changes}.items() if value is not None}


def delivered(aws: Any, url: str, topic: str) -> bool:
    aws.sns.publish(TopicArn=topic, Message="m")
    return aws.bodies(url) == ["m"]


def subscribe(aws: Any, **attributes: str) -> tuple[str, str]:
    topic, url = aws.topic(), aws.queue()
    attributes |= {"RawMessageDelivery": "true"}
    aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=aws.arn(url), Attributes=attributes)
    return topic, url


def test_without_a_policy_nothing_is_delivered(aws: Any) -> None:
    topic, url = subscribe(aws)
    assert not delivered(aws, url, topic)
    aws.policy(url, allow(aws, url, topic))
    assert delivered(aws, url, topic)


TOPIC = "arn:aws:sns:us-east-1:000000000000:t"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"Condition": None}, True),
        ({"Action": "SQS:sendmessage"}, True),
        ({"Action": ["sqs:Send*"]}, True),
        ({"Action": "*"}, True),
        ({"Action": None, "NotAction": "sqs:ReceiveMessage"}, True),
        ({"Resource": "*"}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:sns:*:000000000000:*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceArn": [TOPIC + "x", TOPIC]}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}}}, True),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}, "Bool": {"aws:SecureTransport": "true"}}}, True),
        ({"Condition": {"ArnEqualsIfExists": {"aws:Nothing": "x"}}}, True),
        ({"Condition": {"Null": {"aws:SourceArn": "false"}}}, True),
        ({"Condition": {"Bool": {"aws:PrincipalIsAWSService": "true"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:PrincipalServiceName": "sns.amazonaws.com"}}}, False),
        ({"Effect": "Deny"}, False),
        ({"Action": "sqs:ReceiveMessage"}, False),
        ({"Action": None, "NotAction": "sqs:*"}, False),
        ({"Principal": {"Service": "events.amazonaws.com"}}, False),
        ({"Principal": {"AWS": "000000000000"}}, False),
        ({"Resource": "arn:aws:sqs:us-east-1:000000000000:other"}, False),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": TOPIC + "2"}}}, False),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:*"}}}, False),
        ({"Condition": {"ArnNotEquals": {"aws:SourceArn": TOPIC}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "111111111111"}}}, False),
        ({"Condition": {"StringEquals": {"aws:Nothing": "x"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, False),
        ({"Condition": {"Null": {"aws:SourceArn": "true"}}}, False),
        ({"Condition": {"NumericEquals": {"aws:SourceAccount": "0"}}}, True),
        ({"Condition": {"NumericLessThan": {"aws:SourceArn": 1}}}, False),
        ({"Condition": {"NotIpAddress": {"aws:SourceArn": "10.0.0.0/8"}}}, True),
    ],
)
def test_who_a_queue_policy_lets_in(aws: Any, changes: dict[str, Any], expected: bool) -> None:
    topic, url = subscribe(aws)
    assert topic == TOPIC
    aws.policy(url, allow(aws, url, topic, **changes))
    assert delivered(aws, url, topic) is expected


def test_a_deny_wins_over_an_allow(aws: Any) -> None:
    topic, url = subscribe(aws)
    aws.policy(url, allow(aws, url, topic), allow(aws, url, topic, Effect="Deny", Principal="*", Condition=None))
    assert not delivered(aws, url, topic)


def test_a_statement_that_asks_for_tls_keeps_nobody_out(aws: Any) -> None:
    topic, url = subscribe(aws)
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    deny = allow(aws, url, topic, Effect="Deny", Principal="*", Action="sqs:*", Condition=insecure)
    aws.policy(url, allow(aws, url, topic), deny)
    assert delivered(aws, url, topic)
    aws.send(url, "direct")
    assert aws.bodies(url) == ["direct"]


def test_what_the_queue_refuses_goes_to_the_subscriptions_dead_letters(aws: Any) -> None:
    letters = aws.queue("dead")
    topic, url = subscribe(aws, RedrivePolicy=json.dumps({"deadLetterTargetArn": aws.arn(letters)}))
    assert not delivered(aws, url, topic)
    assert aws.receive(letters) == []  # which has no policy either
    aws.policy(letters, allow(aws, letters, topic))
    assert not delivered(aws, url, topic)
    [letter] = aws.receive(letters)
    assert "MessageAttributes" not in letter


@pytest.mark.parametrize(("key", "expected"), [("alias/aws/sqs", False), ("alias/mine", True)])
def test_sns_may_not_use_the_key_that_aws_manages(aws: Any, key: str, expected: bool) -> None:
    topic, url = subscribe(aws)
    aws.policy(url, allow(aws, url, topic))
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": key})
    assert delivered(aws, url, topic) is expected


def test_a_queue_policy_denies_callers_too(aws: Any) -> None:
    url = aws.queue()
    aws.policy(url, allow(aws, url, "", Effect="Deny", Principal="*", Condition=None))
    with aws.refused("AccessDenied", 403, match="sqs:sendmessage on resource: .*:q with an explicit deny"):
        aws.send(url, "m")


# Identity policies.

URL_ARN = "arn:aws:sqs:us-east-1:000000000000:q"


def grant(action: Any, resource: Any = URL_ARN, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def identity(aws: Any, *statements: dict[str, Any], service: str = "sqs") -> Any:
    aws.server.identities.put("worker", {"Version": "2012-10-17", "Statement": list(statements)})
    return aws.client(service, access_key="worker")


def test_an_access_key_has_the_rights_of_its_policy_and_no_others(aws: Any) -> None:
    url = aws.queue()
    worker = identity(aws, grant(["sqs:ReceiveMessage", "sqs:DeleteMessage"]))
    aws.send(url, "m")
    [message] = worker.receive_message(QueueUrl=url)["Messages"]
    worker.delete_message_batch(
        QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": message["ReceiptHandle"]}]
    )  # a batch needs the right of its single action
    wanted = "User: arn:aws:iam::000000000000:user/worker is not authorized to perform: sqs:sendmessage on resource: "
    for call in (
        lambda: worker.send_message(QueueUrl=url, MessageBody="m"),
        lambda: worker.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "m"}]),
    ):
        with aws.refused("AccessDenied", 403, match=wanted + URL_ARN + " because no identity-based policy allows"):
            call()
    other = aws.queue("other")
    with aws.refused("AccessDenied", 403):
        worker.receive_message(QueueUrl=other)
    with aws.refused("AccessDenied", 403):  # also where there is no such queue: nothing is told
        worker.receive_message(QueueUrl=url + "-missing")
    assert aws.depth(url) == (0, 0, 0)


def test_wildcards_not_action_and_deny(aws: Any) -> None:
    url = aws.queue()
    worker = identity(aws, grant("sqs:Get*", "arn:aws:sqs:*:*:?"))
    worker.get_queue_attributes(QueueUrl=url)
    with aws.refused("AccessDenied", 403):
        worker.purge_queue(QueueUrl=url)
    worker = identity(aws, {"Effect": "Allow", "NotAction": "sqs:PurgeQueue", "Resource": "*"})
    worker.send_message(QueueUrl=url, MessageBody="m")
    with aws.refused("AccessDenied", 403):
        worker.purge_queue(QueueUrl=url)
    worker = identity(aws, grant("*", "*"), grant("sqs:SendMessage", effect="Deny"))
    worker.receive_message(QueueUrl=url)
    with aws.refused("AccessDenied", 403, match="explicit deny in an identity-based policy"):
        worker.send_message(QueueUrl=url, MessageBody="m")


def test_conditions_of_identity_policies(aws: Any) -> None:
    url = aws.queue()
    worker = identity(aws, grant("sqs:*", Condition={"Bool": {"aws:SecureTransport": True}}))
    worker.get_queue_attributes(QueueUrl=url)
    worker = identity(aws, grant("sqs:*", Condition={"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}))
    with aws.refused("AccessDenied", 403):
        worker.get_queue_attributes(QueueUrl=url)


def test_a_queue_policy_may_give_what_the_identity_lacks(aws: Any) -> None:
    url = aws.queue()
    worker = identity(aws, grant("sqs:ListQueues", "*"))
    user = {"AWS": "arn:aws:iam::000000000000:user/worker"}
    account = {"AWS": "arn:aws:iam::000000000000:root"}
    aws.policy(url, allow(aws, url, "", Principal=account, Condition=None))
    with aws.refused("AccessDenied", 403):  # the account may; its identity policies would have to hand it on
        worker.send_message(QueueUrl=url, MessageBody="m")
    aws.policy(url, allow(aws, url, "", Principal=user, Condition=None))
    worker.send_message(QueueUrl=url, MessageBody="m")


def test_rights_on_topics(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    worker = identity(aws, grant("sns:Publish", topic), service="sns")
    worker.publish(TopicArn=topic, Message="m")
    worker.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "m"}])
    with aws.refused("AuthorizationError", 403, match=f"SNS:Subscribe on resource: {topic}"):
        worker.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=aws.arn(url))
    worker = identity(aws, grant("sns:GetTopicAttributes", topic), service="sns")
    with aws.refused("AuthorizationError", 403, match=f"SNS:Publish on resource: {topic}"):
        worker.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "m"}])


def test_topic_policies_and_the_keys_of_subscribe(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    worker = identity(aws, grant("sns:List*", "*"), service="sns")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::000000000000:user/worker"},
        "Action": "sns:Subscribe",
        "Resource": topic,
        "Condition": {"StringEquals": {"sns:Protocol": "sqs"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    aws.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=document)
    worker.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=aws.arn(url))
    with aws.refused("AuthorizationError", 403):
        worker.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")


def test_other_keys_may_do_everything_and_a_policy_can_be_taken_back(aws: Any) -> None:
    url = aws.queue()
    worker = identity(aws, grant("sqs:ListQueues", "*"))
    aws.client("sqs", access_key="anybody").send_message(QueueUrl=url, MessageBody="m")
    with aws.refused("AccessDenied", 403):
        worker.send_message(QueueUrl=url, MessageBody="m")
    aws.server.identities.remove("worker")
    worker.send_message(QueueUrl=url, MessageBody="m")


def test_only_known_access_keys_where_they_are_named(aws: Any) -> None:
    aws.server.credentials = {"local"}
    aws.queue()
    with aws.refused("InvalidClientTokenId", 403):
        aws.client("sqs", access_key="stranger").list_queues()


def test_who_am_i(aws: Any) -> None:
    aws.server.identities.put("worker", {"Version": "2012-10-17", "Statement": [grant("sts:GetCallerIdentity", "*")]})
    found = aws.client("sts", access_key="worker").get_caller_identity()
    assert (found["Account"], found["Arn"]) == ("000000000000", "arn:aws:iam::000000000000:user/worker")
    assert aws.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"


@pytest.mark.parametrize(
    "statement",
    [
        {},
        {"Effect": "Maybe", "Action": "*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*"},
        {"Effect": "Allow", "Action": [], "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"},
        {"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Conditions": {}},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringIs": {"a": "b"}}},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "here"}}},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"a": []}}},
    ],
)
def test_documents_that_are_no_policies(aws: Any, statement: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        aws.server.identities.put("worker", {"Version": "2012-10-17", "Statement": [statement]})


def test_permissions_are_statements_of_the_policy(aws: Any) -> None:
    url, topic = aws.queue(), aws.topic()
    aws.sqs.add_permission(QueueUrl=url, Label="share", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    [statement] = json.loads(aws.attribute(url, "Policy"))["Statement"]
    assert (statement["Sid"], statement["Action"]) == ("share", "SQS:SendMessage")
    assert statement["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    with aws.refused("InvalidParameterValue", match="Already exists"):
        aws.sqs.add_permission(QueueUrl=url, Label="share", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    aws.sqs.remove_permission(QueueUrl=url, Label="share")
    assert "Attributes" not in aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    with aws.refused("InvalidParameterValue"):
        aws.sqs.remove_permission(QueueUrl=url, Label="share")
    aws.sns.add_permission(TopicArn=topic, Label="share", AWSAccountId=["111111111111"], ActionName=["Publish"])
    policy = json.loads(aws.sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["__default_statement_ID", "share"]
    aws.sns.remove_permission(TopicArn=topic, Label="share")
