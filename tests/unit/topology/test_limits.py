"""Limits as data, and the portable rules for attribute names and ordering keys."""

from __future__ import annotations

import dataclasses

import pytest
from tests.clouds import CLOUDS, LIMITS

from polybus.clouds.aws.limits import AWS
from polybus.clouds.azure.limits import AZURE
from polybus.clouds.gcp.limits import GCP
from polybus.topology.limits import Count, NameRule, Range, attribute_name_problem, ordering_key_problem


def test_every_cloud_has_limits_and_every_limit_its_source() -> None:
    assert tuple(LIMITS) == CLOUDS
    for cloud, limits in LIMITS.items():
        assert limits.cloud == cloud
        for item in dataclasses.fields(limits):
            value = getattr(limits, item.name)
            if isinstance(value, (Range, Count, NameRule)):
                assert value.source in {"B", "PA", "PG", "PZ", "AZ", "TF", "SNS", "Q", "GQ", "k"}, item.name
            if isinstance(value, Range):
                assert value.least <= value.most


@pytest.mark.parametrize("name", ["a", "_", "A1", "x-y", "order.kind", "a" * 128, "awkward", "go", "_aws"])
def test_portable_attribute_names_pass(name: str) -> None:
    assert attribute_name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1a",
        ".a",
        "-a",
        "a..b",
        "a.",
        "a b",
        "née",
        "a\n",
        "a" * 129,
        "aws.x",
        "AWSx",
        "Amazon",
        "googol",
        "polybus",
        3,
    ],
)
def test_other_attribute_names_say_what_is_allowed(name: object) -> None:
    problem = attribute_name_problem(name)
    assert problem is not None
    assert repr(name) in problem


@pytest.mark.parametrize("key", ["a", "customer-7", "!~", "k" * 128, "a/b:c"])
def test_portable_ordering_keys_pass(key: str) -> None:
    assert ordering_key_problem(key) is None


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a\n", "k" * 129, "\x7f", 7, None])
def test_other_ordering_keys_say_what_is_allowed(key: object) -> None:
    assert ordering_key_problem(key) is not None


@pytest.mark.parametrize(
    ("rule", "name", "accepted"),
    [
        (AWS.queue_name, "shop-orders.fifo", True),
        (AWS.queue_name, "a" * 76 + ".fifo", False),
        (AWS.topic_name, "a" * 256, True),
        (AWS.queue_name, "a.b", False),
        (AZURE.subscription_name, "a" * 50, True),
        (AZURE.subscription_name, "a" * 51, False),
        (AZURE.topic_name, "a/b", True),
        (AZURE.topic_name, "-a", False),
        (AZURE.namespace_name, "contoso-bus", True),
        (AZURE.namespace_name, "contoso-sb", False),
        (AZURE.namespace_name, "contoso-mgmt", False),
        (AZURE.namespace_name, "short", False),
        (GCP.topic_name, "shop-orders", True),
        (GCP.topic_name, "Google-orders", False),
        (GCP.topic_name, "ab", False),
        (GCP.topic_name, "1ab", False),
    ],
)
def test_name_rules(rule: NameRule, name: str, accepted: bool) -> None:
    assert rule.accepts(name) is accepted


def test_a_range_clamps_to_the_nearest_allowed() -> None:
    assert (GCP.attempts.clamp(3), GCP.attempts.clamp(25), GCP.attempts.clamp(500)) == (5, 25, 100)
    assert 5 in GCP.attempts
    assert 4 not in GCP.attempts
