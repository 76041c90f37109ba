"""Attempts where what consumes isn't polybus: the cloud's own count is the declared one, or is refused."""

from __future__ import annotations

import pytest

from polybus.errors import TopologyError
from polybus.plan.check import Finding, Severity, check
from polybus.plan.table import plan_for
from polybus.topology.file import loads
from polybus.topology.model import Topology

TOPICS = '[bus]\nname = "shop"\n[topics.orders]\n'


def topology(more: str) -> Topology:
    return loads(
        f'{TOPICS}[subscriptions.lambda]\ntopic = "orders"\n{more}\n[queues.jobs]\n{more}\n', source="polybus.toml"
    )


def counts(found: Topology, cloud: str) -> list[int]:
    """List the cloud's own limits, of the subscription and of the queue."""
    counted = []
    for resource in plan_for(found, cloud).resources:
        given = resource.properties
        if "max_delivery_count" in given:
            counted.append(given["max_delivery_count"])
        elif "dead_letter_policy" in given:
            counted.append(given["dead_letter_policy"]["max_delivery_attempts"])
        elif "redrive_policy" in given and "maxReceiveCount" in given["redrive_policy"].value:
            counted.append(given["redrive_policy"].value["maxReceiveCount"])
    return counted


def found(topology: Topology, cloud: str, severity: Severity, key: str) -> list[Finding]:
    return [one for one in check(topology, cloud) if one.severity is severity and one.path.endswith(key)]


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_the_clouds_own_count_is_the_declared_one(cloud: str) -> None:
    assert counts(topology("max_attempts = 7"), cloud) == [27, 27]
    assert counts(topology('max_attempts = 7\nconsumers = "foreign"'), cloud) == [7, 7]
    assert counts(topology('max_attempts = 7\nconsumers = "polybus"'), cloud) == [27, 27]


def test_a_count_that_a_cloud_does_not_have_is_refused_with_the_nearest() -> None:
    few = topology('max_attempts = 3\nconsumers = "foreign"')
    assert [one.instead for one in found(few, "gcp", Severity.ERROR, ".max_attempts")] == ["5", "5"]
    assert counts(few, "aws") == counts(few, "azure") == [3, 3]
    many = topology('max_attempts = 1000\nconsumers = "foreign"')
    assert [one.instead for one in found(many, "gcp", Severity.ERROR, ".max_attempts")] == ["100", "100"]
    assert counts(many, "aws") == [1000, 1000]
    assert found(topology("max_attempts = 3"), "gcp", Severity.ERROR, ".max_attempts") == []


def test_pauses_are_the_clouds_own_where_it_has_them() -> None:
    slow = topology('consumers = "foreign"\nbackoff = { initial = "5s", maximum = "1m" }')
    given = [one.properties for one in plan_for(slow, "gcp").resources]
    policies = [one["retry_policy"] for one in given if "retry_policy" in one]
    assert policies == [{"minimum_backoff": "5s", "maximum_backoff": "60s"}] * 2
    assert found(slow, "gcp", Severity.NOTE, ".backoff") == []
    for cloud in ("aws", "azure"):
        assert len(found(slow, cloud, Severity.NOTE, ".backoff")) == 2
    mine = topology('backoff = { initial = "5s", maximum = "1m" }')
    assert not [one for one in plan_for(mine, "gcp").resources if "retry_policy" in one.properties]


@pytest.mark.parametrize(("cloud", "count"), [("aws", "25"), ("azure", "25"), ("gcp", "25")])
def test_check_tells_of_counts_that_nobody_here_keeps(cloud: str, count: str) -> None:
    services = '[services.a]\nconsumes = ["jobs"]\n'
    [note] = found(loads(f'{TOPICS}[subscriptions.b]\ntopic = "orders"\n[queues.jobs]\n{services}', source="x"), cloud,
                   Severity.NOTE, ".max_attempts")  # fmt: skip
    assert note.path == "$.subscriptions.b.max_attempts"
    assert f"{count} deliveries" in note.limit
    assert 'consumers = "foreign"' in note.instead


@pytest.mark.parametrize("value", ['"java"', "true", "[]"])
def test_consumers_are_one_of_two(value: str) -> None:
    with pytest.raises(TopologyError, match=r"consumers: .*\"polybus\", or \"foreign\""):
        topology(f"consumers = {value}")


def test_a_push_is_the_clouds_already() -> None:
    with pytest.raises(TopologyError, match="foreign beside push"):
        loads(f'{TOPICS}[subscriptions.b]\ntopic = "orders"\nconsumers = "foreign"\npush = {{ email = "a@b.c" }}\n',
              source="x")  # fmt: skip
