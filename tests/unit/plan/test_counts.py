"""How many entities each cloud takes."""

from __future__ import annotations

import pytest

from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.resources import AzureSettings
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan.check import Finding, check
from polybus.topology.filters import parse
from polybus.topology.model import Queue, Subscription, Topic, Topology


def of_queues(count: int) -> Topology:
    queues = {f"q{number}": Queue(name=f"q{number}") for number in range(count)}
    return Topology(name="shop", queues=queues)


def found(topology: Topology, cloud: str, path: str) -> list[Finding]:
    return [finding for finding in check(topology, cloud) if finding.path == path]


def test_a_project_holds_ten_thousand_topics_and_subscriptions_dead_letters_counted() -> None:
    assert found(of_queues(5_000), "gcp", "$") == []
    topics, subscriptions = found(of_queues(5_001), "gcp", "$")
    assert "10002 topics" in topics.found
    assert "10002 subscriptions" in subscriptions.found


def test_no_namespace_holds_more_than_sixteen_units_do() -> None:
    assert [finding.found for finding in found(of_queues(16_000), "azure", "$")] == ["dead letters"]
    assert found(of_queues(16_001), "azure", "$")[0].found == "16001 topics and queues"


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        (AzureSettings(), 10_000),
        (AzureSettings(sku="Premium"), 1_000),
        (AzureSettings(sku="Premium", capacity=2), 2_000),
    ],
    ids=["Standard", "Premium", "Premium of two units"],
)
def test_a_namespace_holds_what_its_tier_and_units_allow(settings: AzureSettings, most: int) -> None:
    azure.Home(of_queues(most), settings)
    with pytest.raises(UnsupportedFeature, match=f"found {most + 1} topics and queues.* holds {most}"):
        azure.Home(of_queues(most + 1), settings)


def test_messaging_units_come_in_steps() -> None:
    with pytest.raises(ConfigError, match="capacity: found 3; allowed: 1, 2, 4, 8, 16 messaging units"):
        azure.plan(of_queues(1), AzureSettings(sku="Premium", capacity=3))


def filtered(count: int) -> Topology:
    items = [Subscription(name=f"s{number}", topic="orders", filter=parse("exists(kind)")) for number in range(count)]
    return Topology(name="shop", topics={"orders": Topic(name="orders")}, subscriptions={i.name: i for i in items})


def test_an_account_s_quota_of_filters_is_told() -> None:
    assert found(filtered(200), "aws", "$.topics.orders") == []
    [note] = found(filtered(201), "aws", "$.topics.orders")
    assert (note.found, note.severity) == ("201 filters of one topic", "note")


def test_an_account_s_quota_of_ordered_topics_is_told() -> None:
    def ordered(count: int) -> Topology:
        topics = {f"t{number}": Topic(name=f"t{number}", ordered=True) for number in range(count)}
        return Topology(name="shop", topics=topics)

    assert found(ordered(1_000), "aws", "$.topics") == []
    [note] = found(ordered(1_001), "aws", "$.topics")
    assert (note.found, note.severity) == ("1001 ordered topics", "note")
