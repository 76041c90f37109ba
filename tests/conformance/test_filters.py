"""D8 as a property: what each cloud's own filters let through is what the evaluator says, for generated expressions.

Every expression is a subscription of its own, compiled by the plan and made on the local server, whose filter code
shares nothing with the compilers. The same cases run on each cloud of RIGS: a new one is added there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from polybus.binding import Binding, Entity
from polybus.clouds.aws.plan import filters as filters_aws
from polybus.clouds.azure.plan import filters as filters_azure
from polybus.clouds.gcp.plan import filters as filters_gcp
from polybus.driver import Ack, AdminDriver, ConsumerDriver, Driver, Outgoing, Received
from polybus.errors import Fault
from polybus.message import Message
from polybus.plan.names import subscription_tag
from polybus.testing.rig import Rig
from polybus.topology.filters import And, Compare, Exists, Filter, In, Node, Not, Or, Prefix
from polybus.topology.model import Subscription, Topic, Topology

from .rig_aws import AwsRig
from .rig_gcp import GcpRig

RIGS: tuple[type[Any], ...] = (AwsRig, GcpRig)

EXPRESSIONS = 300
MESSAGES = 12
SEED = 4
# SNS allows 200 filtered subscriptions a topic ("Amazon SNS endpoints and quotas").
PER_TOPIC = 100
# Subscriptions that are read at once.
TOGETHER = 16

BUS = "filters"
NAMES = ("a", "b", "x-y", "order.kind")
VALUES = ("x", "xy", "y", "eu", "EU", "it's", '50%_!"', "née", "back\\slash", "12", "0012", "true", "null", " x ")


def node(source: random.Random, depth: int = 2) -> Node:
    """Make a random expression."""
    kind = source.randrange(4 if depth == 0 else 8)
    name, value = source.choice(NAMES), source.choice(VALUES)
    if kind == 0:
        return Compare(name, value, source.random() < 0.5)
    if kind == 1:
        return In(name, tuple(source.sample(VALUES, source.randint(1, 3))), source.random() < 0.5)
    if kind == 2:
        return Prefix(name, value[: source.randint(1, len(value))])
    if kind == 3:
        return Exists(name)
    if kind == 4:
        return Not(node(source, depth - 1))
    items = tuple(node(source, depth - 1) for _ in range(source.randint(2, 3)))
    return And(items) if kind in (5, 6) else Or(items)


def expressible(filter_: Filter, tag: str) -> bool:
    """Say whether every cloud takes it; what one doesn't, `check` refuses."""
    problems = (
        filters_aws.filter_problem(filter_),
        filters_azure.filter_problem(filter_, tag),
        filters_gcp.filter_problem(filter_, tag),
    )
    return not any(problems)


def expressions() -> list[Filter]:
    source = random.Random(SEED)
    found: dict[str, Filter] = {}
    while len(found) < EXPRESSIONS:
        root = node(source)
        filter_ = Filter(root, str(root))
        if expressible(filter_, subscription_tag(BUS, "s-000")):
            found.setdefault(str(root), filter_)
    return list(found.values())


def messages() -> list[dict[str, str]]:
    source = random.Random(SEED + 1)
    chosen = [{name: source.choice(VALUES) for name in NAMES if source.random() < 0.6} for _ in range(MESSAGES - 1)]
    return [{}, *chosen]


def topology(filters: Sequence[Filter]) -> Topology:
    """Give each filter a subscription, on as few topics as clouds allow."""
    topics = {f"t-{number}": Topic(f"t-{number}") for number in range(-(-len(filters) // PER_TOPIC))}
    subscriptions = {
        f"s-{place:03}": Subscription(f"s-{place:03}", f"t-{place // PER_TOPIC}", filter=filter_)
        for place, filter_ in enumerate(filters)
    }
    return Topology(BUS, topics, subscriptions, source="generated")


async def publish(driver: Driver, target: Entity, cases: Sequence[dict[str, str]]) -> None:
    publisher = await driver.open_publisher(target)
    for place, attributes in enumerate(cases):
        prepared = publisher.prepare(Outgoing(Message(b"case", attributes, None, f"case-{place}")))
        assert not isinstance(prepared, Fault), prepared
        [outcome] = await publisher.publish_batch([prepared])
        assert not isinstance(outcome, Fault), outcome
    await publisher.aclose()


async def passed(driver: Driver, admin: AdminDriver, source: Entity) -> list[int]:
    """Return the messages that a subscription got, by their numbers.

    What is redriven passes every filter: it shows that all before it has come.
    """
    publisher = await admin.open_return(source)
    prepared = publisher.prepare(Outgoing(Message(b"last", {}, None, "last"), moves=1))
    assert not isinstance(prepared, Fault), prepared
    await publisher.publish_batch([prepared])
    await publisher.aclose()
    consumer = await driver.open_consumer(source, prefetch=2 * MESSAGES, concurrency=1)
    received: list[Received[Any]] = []
    try:
        while not any(each.message.id == "last" for each in received):
            received += await receive(consumer)
    finally:
        received += await consumer.stop()
        await consumer.aclose()
    return sorted(int(each.message.id.removeprefix("case-")) for each in received if each.message.id != "last")


async def receive(consumer: ConsumerDriver[Any]) -> Sequence[Received[Any]]:
    received = await consumer.receive_batch(2 * MESSAGES, wait=10.0)
    most = consumer.limits.count
    for start in range(0, len(received), most):
        faults = await consumer.settle_batch([Ack(each) for each in received[start : start + most]])
        assert not any(faults), faults
    return received


async def outcomes(rig: Rig, binding: Binding, cases: Sequence[dict[str, str]]) -> dict[str, list[int]]:
    driver = rig.driver(binding)
    admin = await driver.open_admin()
    gate = asyncio.Semaphore(TOGETHER)

    async def one(source: Entity) -> list[int]:
        async with gate:
            return await passed(driver, admin, source)

    try:
        for target in binding.topics.values():
            await publish(driver, target, cases)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(source)) for source in binding.subscriptions.values()]
    finally:
        await admin.aclose()
        await driver.aclose()
    return dict(zip(binding.subscriptions, (task.result() for task in tasks), strict=True))


@pytest.mark.parametrize("make", RIGS, ids=lambda make: str(make.name))
async def test_D8_generated_filters_pass_what_the_evaluator_says(make: type[Any]) -> None:
    filters, cases = expressions(), messages()
    rig: Rig = make()
    try:
        binding = await rig.realise(topology(filters))
        found = await outcomes(rig, binding, cases)
    finally:
        await rig.drop()
    for filter_, (name, numbers) in zip(filters, found.items(), strict=True):
        expected = [number for number, attributes in enumerate(cases) if filter_.matches(attributes)]
        assert numbers == expected, f"{make.name}, {name}: {filter_}: {[cases[number] for number in numbers]}"


def test_the_cases_are_worth_their_time() -> None:
    filters, cases = expressions(), messages()
    assert len({str(each) for each in filters}) == EXPRESSIONS
    passing = [sum(filter_.matches(case) for case in cases) for filter_ in filters]
    mixed = sum(0 < count < len(cases) for count in passing)
    assert mixed > EXPRESSIONS / 2  # most tell messages apart
    assert sum(passing) > EXPRESSIONS * MESSAGES / 5
