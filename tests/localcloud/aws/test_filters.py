"""Filter policies: what they pass, and which ones SNS refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

S, N, A = "String", "Number", "String.Array"

# (policy, attributes as name -> (type, value), whether the message passes)
ATTRIBUTES: list[tuple[dict[str, Any], dict[str, tuple[str, str]], bool]] = [
    ({"a": ["x", "y"]}, {"a": (S, "y")}, True),
    ({"a": ["x", "y"]}, {"a": (S, "z")}, False),
    ({"a": ["x"]}, {"a": (S, "X")}, False),
    ({"a": ["x"]}, {}, False),
    ({"a": ["x"], "b": ["y"]}, {"a": (S, "x"), "b": (S, "y"), "c": (S, "z")}, True),
    ({"a": ["x"], "b": ["y"]}, {"a": (S, "x")}, False),
    ({"a": [1]}, {"a": (N, "1.0")}, True),
    ({"a": [1]}, {"a": (S, "1")}, False),
    ({"a": ["1"]}, {"a": (N, "1")}, False),
    ({"a": ["x"]}, {"a": (A, '["w", "x"]')}, True),
    ({"a": [2]}, {"a": (A, '["2"]')}, False),
    ({"a": [2]}, {"a": (A, "[1, 2]")}, True),
    ({"a": [True]}, {"a": (A, "[true]")}, True),
    ({"a": [True]}, {"a": (A, "[1]")}, False),
    ({"a": [None]}, {"a": (A, "[null]")}, True),
    ({"a": [None]}, {"a": (S, "null")}, False),
    ({"a": [{"prefix": "ab"}]}, {"a": (S, "abc")}, True),
    ({"a": [{"prefix": "ab"}]}, {"a": (S, "cab")}, False),
    ({"a": [{"suffix": "bc"}]}, {"a": (S, "abc")}, True),
    ({"a": [{"suffix": "bc"}]}, {"a": (S, "bcd")}, False),
    ({"a": [{"equals-ignore-case": "AbC"}]}, {"a": (S, "aBc")}, True),
    ({"a": [{"equals-ignore-case": "AbC"}]}, {"a": (S, "abcd")}, False),
    ({"a": [{"anything-but": "x"}]}, {"a": (S, "y")}, True),
    ({"a": [{"anything-but": "x"}]}, {"a": (S, "x")}, False),
    ({"a": [{"anything-but": "x"}]}, {}, False),
    ({"a": [{"anything-but": ["x", 1]}]}, {"a": (S, "y")}, True),
    ({"a": [{"anything-but": ["x", 1]}]}, {"a": (N, "1")}, False),
    ({"a": [{"anything-but": [100, 200]}]}, {"a": (N, "101")}, True),
    ({"a": [{"anything-but": ["x"]}]}, {"a": (A, '["x", "y"]')}, True),
    ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": (S, "yx")}, True),
    ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": (S, "xy")}, False),
    ({"a": [{"anything-but": "x"}, {"exists": False}]}, {}, True),
    ({"a": [{"exists": True}]}, {"a": (S, "any")}, True),
    ({"a": [{"exists": True}]}, {}, False),
    ({"a": [{"exists": False}]}, {}, True),
    ({"a": [{"exists": False}]}, {"a": (S, "any")}, False),
    ({"a": [{"numeric": ["=", 1.5]}]}, {"a": (N, "15e-1")}, True),
    ({"a": [{"numeric": [">", 1]}]}, {"a": (N, "1")}, False),
    ({"a": [{"numeric": [">=", 1, "<", 2]}]}, {"a": (N, "1")}, True),
    ({"a": [{"numeric": [">=", 1, "<", 2]}]}, {"a": (N, "2")}, False),
    ({"a": [{"numeric": ["<=", -1]}]}, {"a": (N, "-1.00001")}, True),
    ({"a": [{"numeric": [">", 1]}]}, {"a": (S, "5")}, False),
    ({"a": ["x", {"prefix": "y"}, {"numeric": ["=", 3]}]}, {"a": (N, "3")}, True),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": (S, "10.0.0.7")}, True),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": (S, "10.0.1.7")}, False),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": (S, "no address")}, False),
    ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": (S, "y")}, True),
    ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"a": (S, "y")}, False),
    ({"c": ["z"], "$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"a": (S, "x")}, False),
    ({"c": ["z"], "$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"a": (S, "x"), "c": (S, "z")}, True),
    ({"$or": [{"a": ["x"], "b": ["y"]}, {"$or": [{"c": [1]}, {"c": [2]}]}]}, {"c": (N, "2")}, True),
    ({"$or": [{"a": ["x"], "b": ["y"]}, {"$or": [{"c": [1]}, {"c": [2]}]}]}, {"a": (S, "x")}, False),
]

BODIES: list[tuple[dict[str, Any], Any, bool]] = [
    ({"a": ["x"]}, {"a": "x"}, True),
    ({"a": ["x"]}, {"a": ["w", "x"]}, True),
    ({"a": ["x"]}, {"b": "x"}, False),
    ({"a": {"b": ["x"]}}, {"a": {"b": "x"}}, True),
    ({"a": {"b": ["x"]}}, {"a": {"c": "x"}}, False),
    ({"a": {"b": ["x"]}}, {"a": [{"b": "w"}, {"b": "x"}]}, True),
    ({"a": {"b": {"c": [{"numeric": [">", 5]}]}}}, {"a": {"b": {"c": 6}}}, True),
    ({"a": {"b": {"c": [{"numeric": [">", 5]}]}}}, {"a": {"b": {"c": "6"}}}, False),
    ({"a": [None]}, {"a": None}, True),
    ({"a": [None]}, {}, False),
    ({"a": [True]}, {"a": True}, True),
    ({"a": [True]}, {"a": 1}, False),
    ({"a": [False]}, {"a": 0}, False),
    ({"a": [1]}, {"a": 1.0}, True),
    ({"a": [1]}, {"a": True}, False),
    ({"a": [{"exists": True}]}, {"a": None}, True),
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}, False),
    ({"a": {"b": [{"exists": False}]}}, {"a": {}}, True),
    ({"a": {"b": [{"exists": False}]}}, {}, True),
    ({"a": {"b": [{"exists": False}]}}, {"a": {"b": 1}}, False),
    ({"a": {"$or": [{"b": [1]}, {"c": [2]}]}}, {"a": {"c": 2}}, True),
    ({"a": {"$or": [{"b": [1]}, {"c": [2]}]}}, {"a": {"b": 2}}, False),
    ({"a": [{"anything-but": ["x"]}]}, {"a": "y"}, True),
    ({"a": ["x"]}, ["x"], False),
    ({"a": ["x"]}, "not an object", False),
]


def passes(aws: Any, policy: dict[str, Any], scope: str, message: str, **more: Any) -> bool:
    """Publish `message` and one that the same subscription must pass, and tell which arrived."""
    topic, url = aws.topic(), aws.queue()
    attributes = {"FilterPolicy": json.dumps(policy), "FilterPolicyScope": scope, "RawMessageDelivery": "true"}
    arn = aws.subscribe(topic, url, **attributes)
    aws.sns.publish(TopicArn=topic, Message=message, **more)
    aws.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue="{}")
    aws.sns.publish(TopicArn=topic, Message="the next one")
    found = aws.bodies(url)
    assert found[-1] == "the next one"
    return found[:-1] == [message]


@pytest.mark.parametrize(("policy", "attributes", "expected"), ATTRIBUTES)
def test_on_attributes(aws: Any, policy: Any, attributes: dict[str, tuple[str, str]], expected: bool) -> None:
    wire = {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in attributes.items()}
    assert passes(aws, policy, "MessageAttributes", "m", MessageAttributes=wire) is expected


@pytest.mark.parametrize(("policy", "body", "expected"), BODIES)
def test_on_bodies(aws: Any, policy: Any, body: Any, expected: bool) -> None:
    assert passes(aws, policy, "MessageBody", json.dumps(body)) is expected


def test_a_body_that_is_not_json_passes_no_policy_on_bodies(aws: Any) -> None:
    assert not passes(aws, {"a": [{"exists": False}]}, "MessageBody", "{")


def test_binary_attributes_are_not_there_for_filters(aws: Any) -> None:
    binary = {"a": {"DataType": "Binary", "BinaryValue": b"x"}}
    assert passes(aws, {"a": [{"exists": False}]}, "MessageAttributes", "m", MessageAttributes=binary)


REFUSED: list[tuple[str, str]] = [
    ("{", "MessageAttributes"),
    ("[]", "MessageAttributes"),
    ('{"a": "x"}', "MessageAttributes"),
    ('{"a": []}', "MessageAttributes"),
    ('{"a": [["x"]]}', "MessageAttributes"),
    ('{"a": [{}]}', "MessageAttributes"),
    ('{"a": [{"prefix": "x", "suffix": "y"}]}', "MessageAttributes"),
    ('{"a": [{"like": "x"}]}', "MessageAttributes"),
    ('{"a": [{"wildcard": "x*"}]}', "MessageAttributes"),
    ('{"a": [{"prefix": 1}]}', "MessageAttributes"),
    ('{"a": [{"suffix": ["x"]}]}', "MessageAttributes"),
    ('{"a": [{"exists": "yes"}]}', "MessageAttributes"),
    ('{"a": [{"anything-but": []}]}', "MessageAttributes"),
    ('{"a": [{"anything-but": [null]}]}', "MessageAttributes"),
    ('{"a": [{"anything-but": {"suffix": "x"}}]}', "MessageAttributes"),
    ('{"a": [{"anything-but": {"numeric": ["=", 1]}}]}', "MessageAttributes"),
    ('{"a": [{"numeric": []}]}', "MessageAttributes"),
    ('{"a": [{"numeric": ["=="]}]}', "MessageAttributes"),
    ('{"a": [{"numeric": ["="]}]}', "MessageAttributes"),
    ('{"a": [{"numeric": ["=", "1"]}]}', "MessageAttributes"),
    ('{"a": [{"numeric": ["<", 1, ">", 0]}]}', "MessageAttributes"),
    ('{"a": [{"numeric": [">", 2, "<", 1]}]}', "MessageAttributes"),
    ('{"a": [{"numeric": [">", 1, "<", 2, "<", 3]}]}', "MessageAttributes"),
    ('{"a": [{"cidr": "10.0.0.0/99"}]}', "MessageAttributes"),
    ('{"a": [1000000001]}', "MessageAttributes"),
    ('{"a": {"b": ["x"]}}', "MessageAttributes"),
    ('{"$or": [{"a": ["x"]}, 1]}', "MessageAttributes"),
    ('{"$or": [{"a": ["x"]}]}', "MessageAttributes"),
    ('{"a": {}}', "MessageBody"),
    (json.dumps({f"k{n}": ["x"] for n in range(6)}), "MessageAttributes"),
    (json.dumps({"$or": [{f"k{n}": ["x"]} for n in range(6)]}), "MessageAttributes"),
    (json.dumps({"a": [str(n) for n in range(151)]}), "MessageAttributes"),
    (json.dumps({"a": [str(n) for n in range(16)], "b": [str(n) for n in range(10)]}), "MessageAttributes"),
    (json.dumps({"a": {"b": [str(n) for n in range(76)]}}), "MessageBody"),
    (json.dumps({"a": ["x" * 262_144]}), "MessageAttributes"),
    ('{"a": ["x"]}', "Nowhere"),
]


@pytest.mark.parametrize(("policy", "scope"), REFUSED, ids=[f"{p[:40]}-{s}" for p, s in REFUSED])
def test_policies_that_are_refused(aws: Any, policy: str, scope: str) -> None:
    topic, url = aws.topic(), aws.queue()
    with aws.refused("InvalidParameter"):
        aws.subscribe(topic, url, FilterPolicy=policy, FilterPolicyScope=scope)
    arn = aws.subscribe(topic, url, FilterPolicy='{"a": ["kept"]}', RawMessageDelivery="true")
    if scope == "MessageAttributes":
        with aws.refused("InvalidParameter"):
            aws.sns.set_subscription_attributes(
                SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue=policy
            )
    found = aws.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (found["FilterPolicy"], found["FilterPolicyScope"]) == ('{"a": ["kept"]}', "MessageAttributes")


def test_policies_at_the_limits(aws: Any) -> None:
    topic, url = aws.topic(), aws.queue()
    arn = aws.subscribe(topic, url)
    for policy in (
        {f"k{n}": ["x"] for n in range(5)},
        {"a": [str(n) for n in range(150)]},
        {"a": [str(n) for n in range(15)], "b": [str(n) for n in range(10)]},
        {"$or": [{"a": [str(n) for n in range(75)]}, {"b": [str(n) for n in range(75)]}]},
    ):
        aws.sns.set_subscription_attributes(
            SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue=json.dumps(policy)
        )
        found = aws.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert json.loads(found["FilterPolicy"]) == policy


def test_a_topic_has_at_most_200_filter_policies(aws: Any) -> None:
    topic = aws.topic()
    for n in range(201):
        endpoint = f"arn:aws:sqs:us-east-1:000000000000:q{n}"
        subscribe = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": endpoint}
        policy = {"Attributes": {"FilterPolicy": '{"a": ["x"]}'}}
        if n < 200:
            aws.sns.subscribe(**subscribe, **policy)
        else:
            with aws.refused("FilterPolicyLimitExceeded", 403):
                aws.sns.subscribe(**subscribe, **policy)
            aws.sns.subscribe(**subscribe)
