"""What a changed topology would do: made, changed in place, replaced, deleted, and what that would lose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.clouds import CLOUDS

from polybus.plan.diff import Action, Change, diff, lossy
from polybus.plan.planning import immutable
from polybus.plan.table import plan_for
from polybus.topology.file import loads
from polybus.topology.model import Topology

from .strategies import topologies

BASE = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[queues.jobs]
"""
each_cloud = pytest.mark.parametrize("cloud", CLOUDS)
many = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def changes(cloud: str, old: str, new: str) -> dict[tuple[str, str], Change]:
    """Give the changes by kind and entry."""
    plans: list[Any] = [plan_for(loads(text, source="polybus.toml"), cloud, stack="dev") for text in (old, new)]
    return {(change.kind, change.logical): change for change in diff(plans[0].resources, plans[1].resources)}


def actions(found: dict[tuple[str, str], Change]) -> set[tuple[str, str]]:
    return {(change.action.value, change.kind) for change in found.values()}


@each_cloud
@many
@given(topology=topologies())
def test_a_topology_does_not_differ_from_itself(cloud: str, topology: Topology) -> None:
    first: Any = plan_for(topology, cloud, stack="dev")
    again: Any = plan_for(topology, cloud, stack="dev")
    assert diff(first.resources, again.resources) == []


@each_cloud
@many
@given(topology=topologies())
def test_all_is_made_from_nothing_and_all_that_keeps_messages_loses_them_at_the_end(
    cloud: str, topology: Topology
) -> None:
    plan: Any = plan_for(topology, cloud, stack="dev")
    made = diff((), plan.resources)
    assert {change.action for change in made} == {Action.CREATE}
    assert lossy(made) == []
    gone = diff(plan.resources, ())
    assert {change.action for change in gone} == {Action.DELETE}
    assert len(lossy(gone)) == sum(resource.keeps_messages for resource in plan.resources)


@each_cloud
@many
@given(topology=topologies())
def test_every_type_that_is_planned_says_what_can_not_be_changed(cloud: str, topology: Topology) -> None:
    plan: Any = plan_for(topology, cloud, stack="dev")
    for resource in plan.resources:
        if resource.kind != "lookup":
            assert "tags" not in immutable(resource.type) or cloud == "gcp"


@each_cloud
def test_a_lease_is_changed_in_place(cloud: str) -> None:
    found = changes(cloud, BASE, BASE + 'lease = "30s"\n')
    assert {change.action for change in found.values()} == {Action.CHANGE}
    assert lossy(found.values()) == []
    edits = {(edit.property, edit.old, edit.new) for edit in found["queue", "queues.jobs"].edits}
    lease = {
        "aws": ("visibility_timeout_seconds", "60", "30"),
        "azure": ("lock_duration", "PT1M", "PT30S"),
        "gcp": ("ack_deadline_seconds", "60", "30"),
    }
    assert edits == {lease[cloud]}


@each_cloud
def test_a_filter_is_changed_in_place_but_on_google(cloud: str) -> None:
    found = changes(cloud, BASE, BASE.replace('"eu"', '"uk"'))
    [change] = [change for change in found.values() if change.kind != "access"]
    if cloud == "gcp":
        assert (change.action, change.loses) == (Action.REPLACE, "what waits in it")
        assert [(edit.property, edit.forces) for edit in change.edits] == [("filter", True)]
    else:
        assert (change.action, change.loses) == (Action.CHANGE, "")


def test_order_needs_other_queues_on_aws() -> None:
    found = changes("aws", BASE, BASE + "ordered = true\n")
    queue, letters = found["queue", "queues.jobs"], found["dead letters", "queues.jobs"]
    assert (queue.action, queue.loses, queue.physical) == (Action.REPLACE, "what waits in it", "shop-dev-jobs")
    assert (letters.action, letters.loses) == (Action.REPLACE, "its dead letters")
    assert {edit.property for edit in queue.edits if edit.forces} == {"name", "fifo_queue"}
    # What is attached to a queue by its URL goes with it, and loses nothing itself.
    assert found["access", "queues.jobs"].action is Action.REPLACE
    assert {change.kind for change in lossy(found.values())} == {"queue", "dead letters"}


def test_order_needs_another_queue_on_azure_and_another_subscription_on_google() -> None:
    queue = changes("azure", BASE, BASE + "ordered = true\n")["queue", "queues.jobs"]
    assert (queue.action, queue.loses) == (Action.REPLACE, "what waits in it, and its dead letters")
    found = changes("gcp", BASE, BASE + "ordered = true\n")
    assert actions(found) >= {("replace", "queue")}
    assert ("replace", "dead letters") not in actions(found)


@pytest.mark.parametrize("cloud", ["azure", "gcp"])
def test_what_refers_to_a_replaced_topic_is_replaced_with_it(cloud: str) -> None:
    options = {
        "azure": "[topics.orders.azure]\nrequires_duplicate_detection = false\n",
        "gcp": '[topics.orders.gcp]\ntags = { "1/a" = "b" }\n',
    }
    found = changes(cloud, BASE, BASE + options[cloud])
    assert found["topic", "topics.orders"].action is Action.REPLACE
    subscription = found["subscription", "subscriptions.billing"]
    assert subscription.action is Action.REPLACE
    assert "of the new orders-topic" in subscription.edits[0].new
    assert subscription.loses


@each_cloud
def test_another_bus_name_replaces_all_that_bears_it(cloud: str) -> None:
    found = changes(cloud, BASE, BASE.replace('"shop"', '"store"'))
    lost = {change.kind for change in lossy(found.values())}
    assert lost >= {"subscription", "queue"}
    assert not {change for change in found.values() if change.action in (Action.CREATE, Action.DELETE)}


@each_cloud
def test_a_queue_that_goes_and_one_that_comes(cloud: str) -> None:
    found = changes(cloud, BASE, BASE.replace("queues.jobs", "queues.tasks"))
    assert found["queue", "queues.jobs"].action is Action.DELETE
    assert found["queue", "queues.jobs"].loses
    assert found["queue", "queues.tasks"].action is Action.CREATE
    assert actions(found) <= {(action, kind) for action in ("create", "delete") for _, kind in actions(found)}


def test_adopting_a_queue_that_the_stack_made_deletes_it() -> None:
    """So it is: Pulumi deletes what a program no longer names, whatever else names it."""
    new = BASE + 'existing = "arn:aws:sqs:eu-west-1:1:shop-dev-jobs"\n'
    assert changes("aws", BASE, new)["queue", "queues.jobs"].loses == "what waits in it"
