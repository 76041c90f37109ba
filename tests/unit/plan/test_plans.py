"""What holds for every cloud's plan of any topology: names, references, limits, rights, dead letters, bindings."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clouds import CLOUDS, LIMITS

from polybus.binding import Binding
from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.embedded import plan as local
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan.table import describe, plan_for
from polybus.plan.values import Join, Json, Ref, Resource, refs
from polybus.topology.file import loads
from polybus.topology.limits import NameRule
from polybus.topology.model import Queue, Subscription, Topic, Topology, digest

from .shop import ONE, OTHER
from .strategies import topologies

PLANNERS: Mapping[str, Any] = {"aws": aws, "azure": azure, "gcp": gcp}
SETTINGS: Mapping[str, Any] = {
    "aws": aws.AwsSettings(stack="dev", region="eu-west-1", roles={"worker": "arn:aws:iam::1:role/w", "keeper": "k"}),
    "azure": azure.AzureSettings(
        stack="dev",
        location="westeurope",
        principals={"worker": azure.Principal(ONE), "keeper": azure.Principal(OTHER)},
    ),
    "gcp": gcp.GcpSettings(stack="dev", project="p", members={"worker": "serviceAccount:w@p", "keeper": "user:k"}),
}
each_cloud = pytest.mark.parametrize("cloud", CLOUDS)
many = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def planned(topology: Topology, cloud: str) -> Any:
    return PLANNERS[cloud].plan(topology, SETTINGS[cloud])


def outputs_of(plan: Any) -> dict[str, dict[str, str]]:
    """Make up what a realised plan would give: something different for every resource and output."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for resource in plan.resources:
        for output in ("arn", "id", "name", "url", "number"):
            found[resource.name][output] = f"<{resource.name}|{output}>"
    return found


def statements(resources: tuple[Resource, ...]) -> Iterator[dict[str, Any]]:
    for resource in resources:
        policy = resource.properties.get("policy")
        if isinstance(policy, Json):
            yield from policy.value["Statement"]


@each_cloud
@many
@given(topology=topologies())
def test_logical_names_are_unique_and_references_point_back(cloud: str, topology: Topology) -> None:
    seen: set[str] = set()
    for resource in planned(topology, cloud).resources:
        assert resource.name not in seen
        needed = {ref.resource for ref in refs(resource.properties)} | set(resource.after)
        assert needed <= seen, (resource.name, needed - seen)
        seen.add(resource.name)


@each_cloud
@many
@given(topology=topologies())
def test_physical_names_are_unique_and_accepted(cloud: str, topology: Topology) -> None:
    limits = LIMITS[cloud]
    rules: dict[str, tuple[str, NameRule]] = {
        "aws:sns/topic:Topic": ("name", limits.topic_name),
        "aws:sqs/queue:Queue": ("name", limits.queue_name),
        "azure-native:servicebus:Topic": ("topic_name", limits.topic_name),
        "azure-native:servicebus:Queue": ("queue_name", limits.queue_name),
        "azure-native:servicebus:Subscription": ("subscription_name", limits.subscription_name),
        "gcp:pubsub/topic:Topic": ("name", limits.topic_name),
        "gcp:pubsub/subscription:Subscription": ("name", limits.subscription_name),
    }
    seen: set[tuple[str, str]] = set()
    for resource in planned(topology, cloud).resources:
        if resource.type in rules:
            key, rule = rules[resource.type]
            name = resource.properties[key]
            assert rule.accepts(name), name
            assert (resource.type, name) not in seen
            seen.add((resource.type, name))


@each_cloud
@many
@given(topology=topologies())
def test_nothing_changes_when_unrelated_entries_come_or_change_places(cloud: str, topology: Topology) -> None:
    before = {resource.name: resource for resource in planned(topology, cloud).resources}
    more = dataclasses.replace(
        topology,
        topics={"zz-new-topic": Topic("zz-new-topic"), **dict(reversed(topology.topics.items()))},
        subscriptions={"zz-new": Subscription("zz-new", "zz-new-topic"), **topology.subscriptions},
        queues={**dict(reversed(topology.queues.items())), "zz-new-queue": Queue("zz-new-queue")},
    )
    after = {resource.name: resource for resource in planned(more, cloud).resources}
    for name, resource in before.items():
        if name != "dashboard":
            assert after[name] == resource


@each_cloud
@many
@given(topology=topologies())
def test_every_consumer_s_dead_letters_have_somewhere_to_go(cloud: str, topology: Topology) -> None:
    plan = planned(topology, cloud)
    binding: Binding = PLANNERS[cloud].binding(plan, outputs_of(plan))
    for entity in (*binding.subscriptions.values(), *binding.queues.values()):
        assert entity.dead_letter
        assert entity.dead_letter != entity.address
    kept = {resource.name for resource in plan.resources if resource.keeps_messages}
    for name in (*topology.subscriptions, *topology.queues):
        if cloud != "azure":  # there they are built in
            assert f"{name}-dead-letters" in kept


@each_cloud
@many
@given(topology=topologies())
def test_a_binding_has_every_entry_and_only_what_is_planned(cloud: str, topology: Topology) -> None:
    plan = planned(topology, cloud)
    binding: Binding = PLANNERS[cloud].binding(plan, outputs_of(plan))
    assert (binding.backend, binding.bus, binding.digest) == (cloud, topology.name, digest(topology))
    assert set(binding.topics) == set(topology.topics)
    assert set(binding.subscriptions) == set(topology.subscriptions)
    assert set(binding.queues) == set(topology.queues)
    addresses = [
        entity.address for part in (binding.topics, binding.subscriptions, binding.queues) for entity in part.values()
    ]
    assert len(set(addresses)) == len(addresses)
    for name, subscription in topology.subscriptions.items():
        assert binding.subscriptions[name].ordered is topology.is_ordered(name)
        assert binding.subscriptions[name].lease == subscription.lease
    exported = PLANNERS[cloud].binding_values(plan)
    names = {resource.name for resource in plan.resources}
    assert {ref.resource for ref in refs(exported)} <= names
    assert "\0" not in repr(exported)
    assert Binding.from_json(binding.to_json()).to_json() == binding.to_json()


@many
@given(topology=topologies())
def test_no_aws_statement_that_allows_has_a_wildcard(topology: Topology) -> None:
    plan = planned(topology, "aws")
    documents = [statement for document in plan.policies.values() for statement in document["Statement"]]
    for statement in (*statements(plan.resources), *documents):
        if statement["Effect"] == "Allow":
            assert "*" not in repr(statement)
        else:
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@many
@given(topology=topologies())
def test_aws_keeps_its_limits(topology: Topology) -> None:
    for resource in planned(topology, "aws").resources:
        properties = resource.properties
        if resource.type == "aws:sqs/queue:Queue":
            assert 0 <= properties["visibility_timeout_seconds"] <= 43_200
            assert 60 <= properties["message_retention_seconds"] <= 1_209_600
            assert 1_024 <= properties["max_message_size"] <= 1_048_576
            assert properties["sqs_managed_sse_enabled"] is True
            assert properties["name"].endswith(".fifo") is bool(properties.get("fifo_queue"))
        if resource.type == "aws:sqs/redrivePolicy:RedrivePolicy":
            count = properties["redrive_policy"].value["maxReceiveCount"]
            assert isinstance(count, int)
            assert 1 <= count <= 1_000


@many
@given(topology=topologies())
def test_azure_keeps_its_limits(topology: Topology) -> None:
    for resource in planned(topology, "azure").resources:
        properties = resource.properties
        if resource.kind in ("subscription", "queue"):
            assert 1 <= properties["max_delivery_count"] <= 2_000
            assert seconds(properties["lock_duration"]) <= 300
        if resource.kind == "filter":
            assert len(properties["sql_filter"]["sql_expression"]) <= 1_024


def seconds(text: str) -> float:
    import re

    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", text)
    assert found is not None
    days, hours, minutes, left = (int(part or 0) for part in found.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + left


@given(st.integers(min_value=1, max_value=10**9))
def test_an_iso_duration_is_canonical(value: int) -> None:
    text = azure.iso_duration(value)
    assert seconds(text) == value
    assert "P0" not in text
    assert "T0" not in text


@many
@given(topology=topologies())
def test_gcp_keeps_its_limits_and_never_loses_a_letter(topology: Topology) -> None:
    resources = {resource.name: resource for resource in planned(topology, "gcp").resources}
    agents = {resource.name for resource in resources.values() if isinstance(resource.properties.get("member"), Join)}
    for resource in resources.values():
        if resource.type != "gcp:pubsub/subscription:Subscription":
            continue
        properties = resource.properties
        assert 10 <= properties["ack_deadline_seconds"] <= 600
        assert 600 <= int(properties["message_retention_duration"].removesuffix("s")) <= 2_678_400
        assert properties["expiration_policy"] == {"ttl": ""}
        assert len(properties.get("filter", "").encode()) <= 256
        policy = properties.get("dead_letter_policy")
        if policy:
            assert 5 <= policy["max_delivery_attempts"] <= 100
            letters = policy["dead_letter_topic"].resource
            entry = resource.name.removesuffix("-subscription")
            assert resources[f"{entry}-dead-letters"].properties["topic"] == Ref(letters, "id")
            assert {f"{entry}-agent", f"{entry}-dead-letters-agent"} <= agents
            assert "retry_policy" not in properties


@each_cloud
def test_what_a_cloud_refuses_is_not_planned(cloud: str) -> None:
    topology = loads('[bus]\nname = "b"\n[queues.q]\nordered = true\nmax_delay = "1m"\n', source="polybus.toml")
    with pytest.raises(UnsupportedFeature, match=rf"polybus.toml: at \$.queues.q.max_delay: {cloud}"):
        PLANNERS[cloud].plan(topology)


@each_cloud
def test_a_role_for_a_service_that_is_not_declared_is_refused(cloud: str) -> None:
    topology = loads('[bus]\nname = "b"\n[queues.q]\n[services.work]\nconsumes = ["q"]\n', source="polybus.toml")
    with pytest.raises(ConfigError, match="declares: work"):
        PLANNERS[cloud].plan(topology, SETTINGS[cloud])


@pytest.mark.parametrize("place", ["local", *CLOUDS])
@many
@given(topology=topologies())
def test_every_resource_is_a_row(place: str, topology: Topology) -> None:
    plan: Any = local.plan(topology) if place == "local" else plan_for(topology, place, stack="dev")
    rows = local.rows(topology) if place == "local" else describe(plan)
    assert len(rows) == len(plan.resources)
    assert all(row.kind and row.logical for row in rows)
    kinds = {row.kind for row in rows}
    assert {"topic", "queue"} <= kinds
    assert all(row.physical for row in rows if row.kind in ("topic", "subscription", "queue"))
