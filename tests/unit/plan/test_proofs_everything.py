"""What holds for every plan of every stack that a cloud takes: names that stay, letters that arrive, no wildcard."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from polybus.clouds.aws.plan import resources as aws
from polybus.plan.facts import refused
from polybus.plan.planning import planning_of
from polybus.plan.table import physical_of
from polybus.plan.values import Join, Json, Ref, Resource
from polybus.topology.model import Queue, Subscription, Topic, Topology

from .everything import Stack, stacks
from .test_limits import PHASES, SLOW, each_cloud, planned

few = settings(max_examples=25, suppress_health_check=SLOW, deadline=None, phases=PHASES)


@each_cloud
def test_names_on_the_cloud_are_unique_where_they_have_to_be(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud))
    def proof(stack: Stack) -> None:
        named = [
            # Azure doesn't tell names apart by case; a subscription's is its topic's own.
            (item.type, str(physical_of(item)).lower(), str(item.properties.get("topic_name")))
            for item in planned(stack, cloud).values()
            if physical_of(item) and item.kind != "filter"  # the one rule of a subscription has none of its own
        ]
        assert len(set(named)) == len(named)

    proof()


@each_cloud
def test_the_provider_takes_all_that_is_planned(cloud: str) -> None:
    facts = planning_of(cloud).facts

    @few
    @given(stack=stacks(cloud))
    def proof(stack: Stack) -> None:
        for item in planned(stack, cloud).values():
            if item.kind != "lookup":
                assert (item.type, list(refused(facts[item.type], item.properties))) == (item.type, [])

    proof()


_APART = ("scope", "principal_id", "role_definition_id", "topic", "subscription", "crypto_key_id", "member", "role")


@each_cloud
def test_a_right_is_one_resource_whoever_asks_for_it(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud))
    def proof(stack: Stack) -> None:
        rights = [
            (item.type, item.properties.get("name"), *(repr(item.properties.get(key)) for key in _APART))
            for item in planned(stack, cloud).values()
            if "member" in item.properties or "principal_id" in item.properties
        ]
        assert len(set(rights)) == len(rights)

    proof()


def with_more(topology: Topology) -> Topology:
    """Add a topic, a subscription of it and a queue, and turn the order of all that is declared around."""
    return dataclasses.replace(
        topology,
        topics={"zz-new-topic": Topic("zz-new-topic"), **dict(reversed(topology.topics.items()))},
        subscriptions=dict(reversed({**topology.subscriptions, "zz": Subscription("zz", "zz-new-topic")}.items())),
        queues={**dict(reversed(topology.queues.items())), "zz-new-queue": Queue("zz-new-queue")},
        services=dict(reversed(topology.services.items())),
    )


def without(topology: Topology, gone: set[str]) -> Topology:
    """Remove some topics and queues, and what can't be without them: subscriptions, and services that name any."""
    subscriptions = dict(topology.subscriptions)
    queues = {name: item for name, item in topology.queues.items() if name not in gone}
    topics = {name: item for name, item in topology.topics.items() if name not in gone}
    left = {*topics, *queues}
    for name, item in topology.subscriptions.items():
        if item.topic not in topics or (item.push is not None and item.push.forward not in {None, *left}):
            del subscriptions[name]
    there = queues.keys() | subscriptions.keys()
    services = {
        name: service
        for name, service in topology.services.items()
        # A topic may bear the name of a subscription, which nobody publishes to.
        if left.issuperset(service.publishes) and there.issuperset((*service.consumes, *service.operates))
    }
    return dataclasses.replace(topology, topics=topics, subscriptions=subscriptions, queues=queues, services=services)


def whole(name: str) -> bool:
    """Tell what is about all entries, or all of a service, and so changes with them.

    A binding says of which topology it is.
    """
    ends = (".binding", "dashboard", "dashboard-2", "bodies-expiry")
    return name.endswith(ends) or re.search(r"\.(bus|service)-alarm", name) is not None


@each_cloud
def test_what_is_there_stays_as_it_is_when_others_come_and_all_change_places(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud))
    def proof(stack: Stack) -> None:
        before = planned(stack, cloud)
        after = planned(dataclasses.replace(stack, topology=with_more(stack.topology)), cloud)
        changed = [name for name in before if not whole(name) and made_of(after[name]) != made_of(before[name])]
        assert changed == []

    proof()


@each_cloud
def test_what_is_left_stays_as_it_is_when_others_go(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud), data=st.data())
    def proof(stack: Stack, data: st.DataObject) -> None:
        entries = sorted({*stack.topology.topics, *stack.topology.queues})
        gone = data.draw(st.sets(st.sampled_from(entries))) if entries else set()
        part = without(stack.topology, gone)
        who = {"aws": "roles", "azure": "principals", "gcp": "members"}[cloud]
        named = {name: one for name, one in getattr(stack.settings, who).items() if name in part.services}
        left = Stack(part, dataclasses.replace(stack.settings, **{who: named}))
        before, after = planned(stack, cloud), planned(left, cloud)
        # SNS logs by what a topic delivers to, so a topic that lost a subscription may log less.
        fewer = {item.topic for item in stack.topology.subscriptions.values() if item.name not in part.subscriptions}
        logs = getattr(stack.settings, "delivery_logs", None) is not None
        held = [name for name in after if not whole(name) and not (logs and name.removesuffix("-topic") in fewer)]
        # So may its alarm be raised later: it goes by the lowest of its subscriptions' own thresholds.
        held = [name for name in held if name.removesuffix("-undelivered-alarm") not in fewer]
        # One that a service's alarm spoke for speaks for itself when that service is gone.
        own = by_service(stack) - by_service(left)
        held = [name for name in held if not (name.endswith("-alarm") and after[name].entry in own)]
        changed = [name for name in held if comparable(after[name]) != comparable(before[name])]
        assert changed == []

    proof()


def by_service(stack: Stack) -> set[str]:
    """Name the entries whose alarms notify through that of a service, where the stack asks for one a service."""
    if getattr(stack.settings, "composite_alarms", None) != "service":
        return set()
    return {name for item in stack.topology.services.values() for name in (*item.publishes, *item.consumes)}


def made_of(resource: Resource) -> Any:
    """Give what the cloud gets; what two entries share names the first of them as where it comes from.

    At what age bodies go is about all entries.
    """
    given_ = {name: value for name, value in resource.properties.items() if name != "lifecycle_rules"}
    return dataclasses.replace(resource, entry="", properties=given_)


def comparable(resource: Resource) -> Any:
    """Leave out what is of others: the topics that may send to a queue, and what says so first."""
    policy = resource.properties.get("policy")
    if not isinstance(policy, Json) or resource.kind != "access":
        return made_of(resource)
    kept = [one for one in policy.value["Statement"] if one.get("Sid") != "AllowTopic"]
    return made_of(dataclasses.replace(resource, properties={**resource.properties, "policy": Json(kept)}))


@each_cloud
def test_every_consumer_s_dead_letters_have_somewhere_to_go_and_stay_there(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud))
    def proof(stack: Stack) -> None:
        plan = planned(stack, cloud)
        for name in (*stack.topology.subscriptions, *stack.topology.queues):
            LETTERS[cloud](plan, name, stack.topology)

    proof()


def _aws_letters(plan: Mapping[str, Resource], name: str, topology: Topology) -> None:
    letters = plan[f"{name}-dead-letters"]
    to = {"deadLetterTargetArn": Ref(letters.name, "arn")}
    item = topology.subscriptions.get(name)
    if item is not None and item.push is not None:
        # SNS itself moves them, and the queue takes them from the topic.
        assert plan[f"{name}-subscription"].properties["redrive_policy"].value == to
        statements = plan[f"{name}-dead-letters-access"].properties["policy"].value["Statement"]
        assert "sqs:SendMessage" in [one["Action"] for one in statements if one["Effect"] == "Allow"]
        source_fifo = (
            plan[f"{item.topic}-topic"].properties.get("fifo_topic") if f"{item.topic}-topic" in plan else None
        )
        assert not source_fifo or letters.properties.get("fifo_queue")
    else:
        redrive = plan[f"{name}-redrive"].properties["redrive_policy"].value
        assert redrive == {**to, "maxReceiveCount": redrive["maxReceiveCount"]}
        allow = plan[f"{name}-redrive-allow"].properties["redrive_allow_policy"].value
        source = topology.queues[name].existing if name in topology.queues else None
        assert allow == {"redrivePermission": "byQueue", "sourceQueueArns": [source or Ref(f"{name}-queue", "arn")]}
        if source is None:
            assert plan[f"{name}-queue"].properties.get("fifo_queue") == letters.properties.get("fifo_queue")
        else:
            assert source.endswith(".fifo") is bool(letters.properties.get("fifo_queue"))
    assert letters.keeps_messages


def _azure_letters(plan: Mapping[str, Resource], name: str, topology: Topology) -> None:
    kind = "subscription" if name in topology.subscriptions else "queue"
    if kind == "queue" and topology.queues[name].existing:
        return  # whose it is decides; they are built in
    made = plan[f"{name}-{kind}"]
    assert made.properties["max_delivery_count"] >= 1
    assert made.keeps_messages
    assert "forward_dead_lettered_messages_to" not in made.properties


def _gcp_letters(plan: Mapping[str, Resource], name: str, topology: Topology) -> None:
    source, kept = plan[f"{name}-subscription"], plan[f"{name}-dead-letters"]
    topic = Ref(f"{name}-dead-letters-topic", "id")
    assert source.properties["dead_letter_policy"]["dead_letter_topic"] == topic
    assert kept.properties["topic"] == topic
    assert "dead_letter_policy" not in kept.properties
    assert source.keeps_messages
    assert kept.keeps_messages
    publish, acknowledge = plan[f"{name}-dead-letters-agent"].properties, plan[f"{name}-agent"].properties
    assert (publish["topic"], publish["role"]) == (topic, "roles/pubsub.publisher")
    subscribed = (Ref(source.name, "name"), "roles/pubsub.subscriber")
    assert (acknowledge["subscription"], acknowledge["role"]) == subscribed
    assert isinstance(publish["member"], Join)
    assert publish["member"] == acknowledge["member"]


LETTERS = {"aws": _aws_letters, "azure": _azure_letters, "gcp": _gcp_letters}


@each_cloud
def test_nothing_that_gives_a_right_has_a_wildcard(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud))
    def proof(stack: Stack) -> None:
        for resource in planned(stack, cloud).values():
            for statement in statements(resource.properties.get("policy")):
                if statement["Effect"] == "Allow":
                    assert "*" not in json.dumps(but_inside(statement), default=str), resource.name
            if resource.kind in ("rights", "access"):
                given_ = {key: value for key, value in resource.properties.items() if key != "policy"}
                assert "*" not in json.dumps(given_, default=str), resource.name
                assert given_.get("member") not in ("allUsers", "allAuthenticatedUsers")
                assert given_.get("principal") != "*"

    proof()


def but_inside(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what stands for the streams of a log group, which SNS names, and for a bus's objects in its bucket."""
    resources = statement.get("Resource")
    if not isinstance(resources, list):
        return dict(statement)
    inside = [one for one in resources if isinstance(one, Join)]
    for one in inside:
        assert isinstance(one.parts[0], Ref)
        if one.parts[0].resource == "bus.bodies-bucket":
            assert set(statement["Action"]) <= {"s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject"}
            assert re.fullmatch(r"/polybus/[A-Za-z0-9_-]+/\*", str(one.parts[1]))
            assert len(one.parts) == 2
        else:
            assert one.parts[0].resource.endswith(("-delivery-log", "-failure-log"))
            assert one.parts[1:] == (":*",)
    return {**statement, "Resource": [one for one in resources if one not in inside]}


@given(stack=stacks("aws"))
@few
def test_no_exported_policy_has_a_wildcard_either(stack: Stack) -> None:
    exported = aws.exports(aws.plan(stack.topology, stack.settings))
    documents = [*exported["policies"].values(), *([exported["keyPolicy"]] if "keyPolicy" in exported else [])]
    for document in documents:
        for statement in statements(document):
            assert statement["Effect"] == "Allow"
            assert "*" not in json.dumps(but_inside(statement), default=str)


def statements(policy: Any) -> Iterator[dict[str, Any]]:
    if isinstance(policy, Json):
        yield from policy.value["Statement"]
