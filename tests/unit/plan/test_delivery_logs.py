"""What SNS logs of its deliveries: only what is asked for, where, and with which rights."""

from __future__ import annotations

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.errors import ConfigError
from polybus.plan.policy import item_of, violations
from polybus.plan.values import Join, Ref, Resource

from .shop import by_name, topology

PUSHES = """
[subscriptions.hook]
topic = "news"
push = { https = "https://example.com/in" }
[subscriptions.call]
topic = "news"
push = { function = "arn:aws:lambda:eu-west-1:1:function:f" }
[subscriptions.mail]
topic = "news"
push = { email = "ops@example.com" }
[topics.quiet]
[topics.mails]
[subscriptions.ops]
topic = "mails"
push = { email = "ops@example.com" }
"""


def planned(percent: int | None, more: str = PUSHES) -> dict[str, Resource]:
    return by_name(aws.plan(topology(more), aws.AwsSettings(region="eu-west-1", delivery_logs=percent)))


def feedback(topic: Resource) -> dict[str, object]:
    return {name: value for name, value in topic.properties.items() if "_feedback_" in name}


def test_nothing_is_logged_unasked() -> None:
    found = planned(None)
    assert feedback(found["orders-topic"]) == {}
    assert not [item for item in found.values() if item.kind == "log" or item.type.startswith("aws:iam/role:")]


def test_what_fails_is_logged_and_of_the_rest_a_part() -> None:
    role = Ref("orders-delivery-role", "arn")
    assert feedback(planned(0)["orders-topic"]) == {"sqs_failure_feedback_role_arn": role}
    assert feedback(planned(10)["orders-topic"]) == {
        "sqs_failure_feedback_role_arn": role,
        "sqs_success_feedback_role_arn": role,
        "sqs_success_feedback_sample_rate": 10,
    }


def test_a_topic_logs_by_what_it_delivers() -> None:
    found = planned(0)
    news = Ref("news-delivery-role", "arn")
    assert feedback(found["news-topic"]) == {
        "http_failure_feedback_role_arn": news,
        "lambda_failure_feedback_role_arn": news,
    }
    assert feedback(found["quiet-topic"]) == {}
    assert feedback(found["mails-topic"]) == {}  # SNS logs no e-mail
    assert {"quiet-delivery-role", "mails-delivery-role"}.isdisjoint(found)


def test_the_groups_are_there_first_by_the_names_that_sns_gives_them_and_end() -> None:
    found = planned(0)
    account = Ref("account", "account_id")
    groups = [found[f"orders-{what}"].properties for what in ("delivery-log", "failure-log")]
    assert [group["name"] for group in groups] == [
        Join(("sns/", "eu-west-1", "/", account, "/", "shop-orders.fifo")),
        Join(("sns/", "eu-west-1", "/", account, "/", "shop-orders.fifo/Failure")),
    ]
    assert {group["retention_in_days"] for group in groups} == {14}
    assert set(found["orders-topic"].after) == {"orders-delivery-log", "orders-failure-log", "orders-delivery-rights"}
    assert found["account"].kind == "lookup"


def test_the_name_that_is_passed_on_is_the_one() -> None:
    found = planned(0, '[topics.own]\n[topics.own.aws]\nname = "mine"\n[subscriptions.s]\ntopic = "own"\n')
    assert found["own-delivery-log"].properties["name"].parts[-1] == "mine"


def test_sns_alone_may_write_and_there_alone() -> None:
    found = planned(10)
    (trust,) = found["orders-delivery-role"].properties["assume_role_policy"].value["Statement"]
    assert trust["Principal"] == {"Service": "sns.amazonaws.com"}
    rights = found["orders-delivery-rights"].properties
    assert rights["role"] == Ref("orders-delivery-role", "name")
    (statement,) = rights["policy"].value["Statement"]
    assert statement["Action"] == ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    groups = [Ref(f"orders-{what}", "arn") for what in ("delivery-log", "failure-log")]
    assert statement["Resource"] == [one for group in groups for one in (group, Join((group, ":*")))]
    assert violations([item_of(item) for item in found.values()]) == []


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percentage_is_one(percent: int) -> None:
    with pytest.raises(ConfigError, match=f"deliveryLogs: found {percent}; allowed: 0 to 100"):
        planned(percent)
