"""Alarms of single entries: thresholds of their own, or none, on each cloud as far as it counts them."""

from __future__ import annotations

from typing import Any

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.check import check
from polybus.topology.file import loads
from polybus.topology.model import digest

from .shop import ALARMS, SHOP, by_name, topology

PLANNERS: dict[str, Any] = {"aws": aws, "azure": azure, "gcp": gcp}


def alarms(cloud: str, more: str) -> dict[str, float]:
    """Give the threshold of each alarm, as it is said in the topology."""
    found: dict[str, float] = {}
    for name, resource in by_name(PLANNERS[cloud].plan(topology(more + ALARMS))).items():
        given = resource.properties
        if resource.kind != "alarm" or not name.endswith("-alarm"):
            continue
        if cloud == "aws":
            found[name] = given["threshold"]
        elif cloud == "azure":
            found[name] = given["criteria"]["allOf"][0]["threshold"]
        else:
            found[name] = given["conditions"][0]["condition_threshold"]["threshold_value"] + 1
    return {name.removesuffix("-alarm"): threshold for name, threshold in found.items()}


def changed(cloud: str, more: str) -> dict[str, float | None]:
    """Give the alarms that differ from those of a bus whose entries say nothing; None for what is gone."""
    before, after = alarms(cloud, ""), alarms(cloud, more)
    names = sorted({*before, *after})
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


OF_BILLING = '[subscriptions.billing.alarms]\ndead_letters = 9\noldest_age = "2h"\nbacklog = 70\n'
OF_JOBS = '[queues.jobs.alarms]\ndead_letters = 9\noldest_age = "2h"\nbacklog = 70\n'


def test_an_entry_has_thresholds_of_its_own() -> None:
    own = {"billing-age": 7_200, "billing-backlog": 70, "billing-letters": 9}
    assert changed("aws", OF_BILLING) == changed("gcp", OF_BILLING) == own
    queue = {"jobs-age": 7_200, "jobs-backlog": 70, "jobs-letters": 9}
    assert changed("aws", OF_JOBS) == changed("gcp", OF_JOBS) == queue
    assert changed("azure", OF_JOBS) == {"jobs-backlog": 70, "jobs-letters": 9}


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_an_entry_is_switched_off_whole_or_in_part(cloud: str) -> None:
    all_of_jobs = {"jobs-age": None, "jobs-backlog": None, "jobs-letters": None}

    assert changed(cloud, "[queues.jobs.alarms]\noldest_age = false\n") == {"jobs-age": None}
    off = loads(SHOP.replace("[queues.jobs]\n", "[queues.jobs]\nalarms = false\n") + ALARMS, source="polybus.toml")
    left = {name.removesuffix("-alarm") for name in by_name(PLANNERS[cloud].plan(off))}
    assert left.isdisjoint(all_of_jobs)
    assert "billing-age" in left


def test_what_a_topic_says_is_for_its_subscriptions_too() -> None:
    of_topic = "[topics.orders.alarms]\nbacklog = 70\nfailed_pushes = 4\n"
    both = {"billing-backlog": 70, "fast-backlog": 70}
    assert changed("gcp", of_topic) == both
    assert changed("aws", of_topic) == {**both, "orders-undelivered": 4}
    assert changed("azure", of_topic) == {"orders-backlog": 70}
    nearer = of_topic + "[subscriptions.fast.alarms]\nbacklog = 80\n"
    assert changed("gcp", nearer) == {"billing-backlog": 70, "fast-backlog": 80}


def off(section: str, more: str = "") -> str:
    return SHOP.replace(f"[{section}]\n", f"[{section}]\nalarms = false\n") + more + ALARMS


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_a_topic_that_is_off_takes_its_subscriptions_along_but_those_that_speak(cloud: str) -> None:
    def left(more: str = "") -> set[str]:
        plan = PLANNERS[cloud].plan(loads(off("topics.orders", more), source="polybus.toml"))
        return {name for name in by_name(plan) if name.endswith("-alarm") and not name.startswith("jobs")}

    assert left() == set()
    spoken = left("[subscriptions.fast.alarms]\nbacklog = 80\n")
    assert (
        spoken
        == {
            "aws": {
                *("fast-letters-alarm", "fast-age-alarm", "fast-backlog-alarm"),
                *("orders-undelivered-alarm", "orders-lost-alarm"),
            },
            "azure": {"orders-letters-alarm", "orders-backlog-alarm"},
            "gcp": {"fast-letters-alarm", "fast-age-alarm", "fast-backlog-alarm"},
        }[cloud]
    )


def test_what_a_cloud_counts_by_topic_is_at_the_lowest_of_its_subscriptions() -> None:
    some = "[subscriptions.billing.alarms]\nbacklog = 20\nfailed_pushes = 9\n"
    more = some + "[subscriptions.fast.alarms]\nbacklog = 30\nfailed_pushes = 7\n"
    assert changed("azure", more) == {"orders-backlog": 20}
    assert changed("aws", more)["orders-undelivered"] == 7
    assert changed("aws", some).get("orders-undelivered", 1) == 1  # fast has the bus's own


def test_the_bus_may_have_none_of_a_kind() -> None:
    plan = aws.plan(topology("[alarms]\noldest_age = false\n[queues.jobs.alarms]\noldest_age = '1h'\n"))
    assert [name for name in by_name(plan) if name.endswith("-age-alarm")] == ["jobs-age-alarm"]


@pytest.mark.parametrize(
    ("cloud", "more", "path", "words"),
    [
        (
            "azure",
            OF_BILLING,
            "$.subscriptions.billing.alarms",
            "the lowest of its subscriptions, 2 dead_letters and 50",
        ),
        ("azure", OF_BILLING, "$.subscriptions.billing.alarms.oldest_age", "no age of the oldest message"),
        ("azure", OF_JOBS, "$.queues.jobs.alarms.oldest_age", "no age of the oldest message"),
        (
            "azure",
            "[topics.orders.alarms]\nfailed_pushes = 3\n",
            "$.topics.orders.alarms.failed_pushes",
            "no failed pushes",
        ),
        (
            "aws",
            "[subscriptions.billing.alarms]\nfailed_pushes = 3\n",
            "$.subscriptions.billing.alarms.failed_pushes",
            "the alarm of orders is at the lowest of its subscriptions, 1",
        ),
        (
            "aws",
            "[subscriptions.mail]\ntopic = 'news'\npush = { email = 'a@b.c' }\nalarms = { backlog = 3 }\n",
            "$.subscriptions.mail.alarms.backlog",
            "nothing waits in a queue: it raises no alarm",
        ),
        (
            "gcp",
            "[subscriptions.billing.alarms]\nfailed_pushes = 3\n",
            "$.subscriptions.billing.alarms.failed_pushes",
            "push subscriptions alone: it raises no alarm",
        ),
    ],
)
def test_what_a_cloud_does_not_count_is_said(cloud: str, more: str, path: str, words: str) -> None:
    found = [finding for finding in check(topology(more + ALARMS), cloud) if finding.path == path]
    assert [words in finding.limit for finding in found] == [True], found


def test_a_switched_off_subscription_is_said_to_be_counted_along_on_azure() -> None:
    declared = loads(off("subscriptions.billing"), source="polybus.toml")
    (note,) = [finding for finding in check(declared, "azure") if finding.path == "$.subscriptions.billing.alarms"]
    assert (note.found, "count this one along" in note.limit) == ("false", True)


def test_what_says_nothing_leaves_the_topology_as_it_was() -> None:
    """The digest, by which a service knows that its binding is of its topology."""
    assert digest(topology()) == digest(loads(SHOP, source="other"))
    assert digest(topology(ALARMS)) != digest(topology(OF_JOBS + ALARMS))
