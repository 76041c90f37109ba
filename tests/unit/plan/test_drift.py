"""Comparing a plan with what a cloud has: nothing where it is the same, however written, else exactly what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clouds import CLOUDS

from polybus.clouds.aws.plan.same import access, policies
from polybus.clouds.gcp.plan.drift import members
from polybus.plan import drift, same
from polybus.plan.drift import DriftKind, compare, stack_of
from polybus.plan.names import physical_name
from polybus.plan.observed import Observed
from polybus.plan.planning import planning_of
from polybus.plan.table import plan_for
from polybus.plan.values import Json, Ref, Resource, resolve
from polybus.topology.model import Topology

from .strategies import ENTRY_NAMES, topologies

each_cloud = pytest.mark.parametrize("cloud", CLOUDS)
many = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)

RULES = {type_: rules for cloud in CLOUDS for type_, rules in planning_of(cloud).drift.items()}


def realised(resources: tuple[Resource, ...]) -> list[Observed]:
    """Give what a cloud would have of a plan; it gives JSON back as text, and more tags than were asked for."""

    def find(ref: Ref) -> str:
        return f"<{ref.resource}|{ref.output}>"

    found = []
    for resource in resources:
        if resource.type not in RULES:
            continue
        properties = resolve(resource.properties, find)
        for key, value in properties.items():
            if isinstance(value, Json):
                properties[key] = json.dumps(value.value, indent=1)
            elif key in ("tags", "labels"):
                properties[key] = {**value, "cost-centre": "7"}
        outputs = {output: find(Ref(resource.name, output)) for output in ("arn", "id", "name", "owner", "url")}
        name = None if RULES[resource.type].identity else resource.name
        found.append(Observed(resource.type, name, f"at {resource.name}", properties, outputs))
    named = [Observed("looked-up", item.name, "", None, {"number": "<project|number>"}) for item in resources]
    return [*found, *(item for item in named if item.name == "project")]


def planned(topology: Topology, cloud: str) -> tuple[Resource, ...]:
    plan: Any = plan_for(topology, cloud, stack="dev")
    resources: tuple[Resource, ...] = plan.resources
    return resources


@each_cloud
@many
@given(topology=topologies())
def test_what_is_as_planned_is_no_drift(cloud: str, topology: Topology) -> None:
    resources = planned(topology, cloud)
    result = compare(resources, realised(resources))
    assert result.drifts == ()
    assert result.compared + sum(result.unread.values()) == sum(item.kind != "lookup" for item in resources)


@each_cloud
@many
@given(topology=topologies(), data=st.data())
def test_what_is_gone_is_missing_and_nothing_else_is_said_of_it(
    cloud: str, topology: Topology, data: st.DataObject
) -> None:
    resources = planned(topology, cloud)
    observed = realised(resources)
    compared = [item for item in resources if item.type in RULES]
    gone = data.draw(st.sampled_from(range(len(compared))))
    item = observed[gone]
    there_not = Observed(item.type, item.name, item.address, None, item.outputs)
    rest = [*observed[:gone], *([there_not] if item.name else []), *observed[gone + 1 :]]
    [found] = compare(resources, rest).drifts
    assert (found.kind, found.resource) == (DriftKind.MISSING, compared[gone].kind)


@each_cloud
@many
@given(topology=topologies(), data=st.data())
def test_a_property_that_was_changed_is_named(cloud: str, topology: Topology, data: st.DataObject) -> None:
    resources = planned(topology, cloud)
    observed = realised(resources)
    changing = [at for at, item in enumerate(observed) if item.type in RULES and _numbers(item)]
    at = data.draw(st.sampled_from(changing))
    item = observed[at]
    name = data.draw(st.sampled_from(_numbers(item)))
    properties: Mapping[str, Any] = {**(item.properties or {}), name: 7}
    observed[at] = Observed(item.type, item.name, item.address, properties, item.outputs)
    [found] = compare(resources, observed).drifts
    assert found.kind is DriftKind.CHANGED
    assert [(edit.property, edit.found) for edit in found.differences] == [(name, "7")]


def _numbers(item: Observed) -> list[str]:
    """List the compared properties that are numbers; none is planned to be 7."""
    compared, properties = RULES[item.type].compared, item.properties or {}
    return [name for name in compared if type(properties.get(name)) is int and properties[name] != 7]


def test_what_nobody_planned_is_extra_unless_it_may_be_anothers() -> None:
    queue = "aws:sqs/queue:Queue"
    observed = [
        Observed(queue, None, "a", {}),
        Observed(queue, None, "b", {}, shared=True),
        Observed(queue, "c", "c", None),
    ]
    [found] = compare((), observed).drifts
    assert (found.kind, found.resource, found.address) == (DriftKind.EXTRA, "queue", "a")


@given(bus=ENTRY_NAMES, stack=ENTRY_NAMES | st.just(""), entry=ENTRY_NAMES, longest=st.sampled_from([80, 260]))
def test_the_stack_is_found_in_names_that_are_not_cut(bus: str, stack: str, entry: str, longest: int) -> None:
    name = physical_name(bus, stack, entry, longest=longest)
    whole = "-".join(part for part in (bus, stack, entry) if part)
    assert stack_of(bus, {entry: name}) == (stack if name.startswith(whole) else "")


def test_the_stack_of_names_that_have_none_or_are_strange() -> None:
    assert stack_of("shop", {}) == ""
    assert stack_of("shop", {"orders": "something-else"}) == ""
    assert stack_of("shop", {"orders": "something-else", "jobs": "shop-dev-jobs"}) == "dev"


POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": ["sqs:Send", "sqs:B"]}]}
DENIAL = {"Sid": "S", "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage"}
ALLOWANCE = {**DENIAL, "Effect": "Allow"}


@pytest.mark.parametrize(
    ("alike", "planned", "found", "expected"),
    [
        (policies, Json(POLICY), json.dumps(POLICY), True),
        (policies, Json({"a": 25}), '{"a": "25"}', True),
        (policies, {"Action": ["sqs:Send"]}, {"Action": "SQS:send"}, True),
        (policies, {"Principal": "*"}, {"Principal": {"AWS": "*"}}, True),
        (policies, {"Bool": "false"}, {"Bool": False}, True),
        (policies, {"Resource": "a"}, {"Resource": "A"}, False),
        (policies, Json(POLICY), None, False),
        (access("S"), Json(POLICY), {**POLICY, "Statement": [*POLICY["Statement"], DENIAL]}, True),
        (
            access("S"),
            Json(POLICY),
            {**POLICY, "Statement": [*POLICY["Statement"], {**DENIAL, "Sid": "T"}]},
            False,
        ),
        (access("S"), Json(POLICY), {**POLICY, "Statement": [*POLICY["Statement"], ALLOWANCE]}, False),
        (access("S"), Json(POLICY), {**POLICY, "Statement": [DENIAL]}, False),
        (access("S"), Json(POLICY), None, False),
        (same.documents, Json({"a": ["x", "y"]}), '{"a": ["y", "x"]}', True),
        (same.documents, Json({"a": [{"exists": False}]}), '{"a": [{"exists": "false"}]}', False),
        (same.documents, None, "{}", True),
        (same.documents, Json({"a": ["x"]}), "{}", False),
        (same.within, Json({"h": {"n": 1}}), '{"h": {"n": 1, "m": 2}, "more": {}}', True),
        (same.within, Json({"h": {"n": 1}}), '{"h": {"n": 2}}', False),
        (same.within, Json({"h": {"n": 1}}), "{}", False),
        (same.numbers(30), None, "30", True),
        (same.numbers(30), 60, None, False),
        (same.flags, None, "false", True),
        (same.flags, True, "true", True),
        (same.flags, True, None, False),
        (same.texts, None, "", True),
        (same.texts, same.ANY, "whatever", True),
        (same.texts, "a", "b", False),
        (same.at_least_on, "off", "on", True),
        (same.at_least_on, "on", "off", False),
        (same.tags, {"a": "1"}, {"a": "1", "b": "2"}, True),
        (same.tags, {"a": "1"}, {"a": "2"}, False),
        (same.tags, {"a": "1"}, None, False),
        (same.seconds("60s"), None, "60s", True),
        (same.seconds("60s"), "604800s", "604800.0s", True),
        (same.seconds("60s"), "30s", None, False),
        (same.durations, {"m": "0.5s"}, {"m": "0.500s"}, True),
        (same.durations, None, {"m": "10s"}, False),
        (same.expiries, {"ttl": ""}, {}, True),
        (same.expiries, {"ttl": ""}, None, False),
        (same.expiries, {"ttl": ""}, {"ttl": "86400s"}, False),
        (members, "serviceAccount:service-1@gcp-sa-pubsub.x", "serviceAccount:service-2@gcp-sa-pubsub.x", True),
        (members, "serviceAccount:a@p", "serviceAccount:b@p", False),
    ],
)
def test_when_two_values_mean_the_same(alike: same.Same, planned: Any, found: Any, expected: bool) -> None:
    assert alike(planned, found) is expected


def test_of_what_waits_for_consent_only_that_is_said() -> None:
    type_ = "aws:sns/topicSubscription:TopicSubscription"
    identity = {"topic": "t", "protocol": "email", "endpoint": "a@b"}
    resource = Resource(type_, "x-subscription", {**identity, "redrive_policy": Json({"a": 1})}, "push", "$.x")
    observed = Observed(type_, None, "email:a@b", {**identity, "status": "PendingConfirmation"})
    [found] = drift.compare((resource,), [observed]).drifts
    assert [edit.property for edit in found.differences] == ["status"]


def test_who_hears_of_alarms_may_take_time_to_consent() -> None:
    type_ = "aws:sns/topicSubscription:TopicSubscription"
    identity = {"topic": "t", "protocol": "email", "endpoint": "a@b"}
    resource = Resource(type_, "bus.alarms-subscription", identity, "alarm", "$.alarms")
    observed = Observed(type_, None, "email:a@b", {**identity, "status": "PendingConfirmation"})
    result = compare((resource,), (observed,))
    assert (result.drifts, result.compared) == ((), 1)
    assert [(drift.address, drift.entry) for drift in result.waiting] == [("email:a@b", "alarms")]
    assert [drift.kind for drift in compare((resource,), ()).drifts] == [DriftKind.MISSING]
