"""A subscription that is new to Azure lets everything pass until it has its rule: its consumers never see that."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterator, Mapping

import msgspec
import pytest

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.clouds.azure.driver.sieve import Sieve
from polybus.clouds.azure.local import Realiser, realise
from polybus.clouds.azure.plan.resources import AzurePlan, AzureSettings, plan
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.topology.file import loads

TOPOLOGY = """\
[bus]
name = "shop"
[topics.orders]
{ordered}
[subscriptions.billing]
topic = "orders"
{declared}
lease = "30s"
[subscriptions.audit]
topic = "orders"
"""
RULE = "azure-native:servicebus:DefaultRule"
ORDERED = pytest.mark.parametrize("ordered", ["", "ordered = true"], ids=["unordered", "ordered"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceBusServer]:
    with running_in_thread(ServiceBusServer()) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        yield server


def planned(ordered: str, filter_: str | None = 'region == "eu"') -> AzurePlan:
    declared = "" if filter_ is None else f"filter = '{filter_}'"
    text = TOPOLOGY.format(ordered=ordered, declared=declared)
    return plan(loads(text, source="polybus.toml"), AzureSettings())


def made(server: ServiceBusServer, planned: AzurePlan, *, rules: bool = True) -> Binding:
    """Make everything on the server, without its rules as it is between Azure's two calls."""
    resources = tuple(one for one in planned.resources if rules or one.type != RULE)
    planned = dataclasses.replace(planned, resources=resources)
    return realise(planned, connection_string=server.connection_string(), ca_file=server.certificate)


async def take(bus: polybus.Bus, source: str, count: int) -> list[polybus.Delivery]:
    """Consume `count` messages, and show that there is nothing behind them."""
    taken: list[polybus.Delivery] = []
    async with asyncio.timeout(30), bus.consume(source) as deliveries:
        async for delivery in deliveries:
            async with delivery:
                taken.append(delivery)
            if len(taken) == count:
                break
    stats = await bus.stats(source)
    assert (stats.waiting, stats.dead) == (0, 0)
    return taken


def bodies(taken: list[polybus.Delivery]) -> list[str]:
    return sorted(one.message.body.decode() for one in taken)


async def publish(bus: polybus.Bus, body: str, ordered: str, **attributes: str) -> str:
    return await bus.publish("orders", body, attributes=attributes, ordering_key="k" if ordered else None)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.message for record in caplog.records if record.levelno == logging.INFO and "refuses" in record.message
    ]


@ORDERED
async def test_what_came_before_its_rule_is_completed_and_never_shown(
    server: ServiceBusServer, ordered: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polybus")
    binding = await asyncio.to_thread(made, server, planned(ordered), rules=False)
    async with polybus.connect(binding) as bus:
        for place in range(3):
            await publish(bus, f"us{place}", ordered, region="us")
            await publish(bus, f"eu{place}", ordered, region="eu")
        await publish(bus, "none", ordered)
        await asyncio.to_thread(made, server, planned(ordered))
        await publish(bus, "us3", ordered, region="us")
        await publish(bus, "eu3", ordered, region="eu")
        taken = await take(bus, "billing", 4)
        assert bodies(taken) == ["eu0", "eu1", "eu2", "eu3"]
        assert {one.attempt for one in taken} == {1}
        assert [dict(one.attributes) for one in taken] == [{"region": "eu"}] * 4
        assert not ordered or [one.message.body for one in taken] == [b"eu0", b"eu1", b"eu2", b"eu3"]
        assert len(await take(bus, "audit", 9)) == 9
    assert len(told(caplog)) == 1
    assert "'billing'" in told(caplog)[0]


@ORDERED
async def test_a_rule_that_was_widened_knows_better_than_an_old_binding(server: ServiceBusServer, ordered: str) -> None:
    """A stack is deployed before its services: who still has the old binding gets what the new filter lets pass."""
    binding = await asyncio.to_thread(made, server, planned(ordered))
    await asyncio.to_thread(made, server, planned(ordered, 'region in ("eu", "us")'))
    async with polybus.connect(binding) as bus:
        await publish(bus, "us", ordered, region="us")
        await publish(bus, "uk", ordered, region="uk")
        await publish(bus, "eu", ordered, region="eu")
        assert bodies(await take(bus, "billing", 2)) == ["eu", "us"]


@ORDERED
@pytest.mark.parametrize("before", ['region in ("eu", "us")', None])
async def test_what_waits_as_a_filter_is_narrowed_is_delivered(
    server: ServiceBusServer, ordered: str, before: str | None
) -> None:
    binding = await asyncio.to_thread(made, server, planned(ordered, before))
    async with polybus.connect(binding) as bus:
        await publish(bus, "us", ordered, region="us")
    binding = await asyncio.to_thread(made, server, planned(ordered))
    async with polybus.connect(binding) as bus:
        await publish(bus, "us too", ordered, region="us")
        assert bodies(await take(bus, "billing", 1)) == ["us"]


@ORDERED
async def test_what_is_redriven_comes_back_to_its_own_subscription_alone(
    server: ServiceBusServer, ordered: str
) -> None:
    """Into one without its rule it comes too, and isn't shown there, filter or not."""
    binding = await asyncio.to_thread(made, server, planned(ordered), rules=False)
    async with polybus.connect(binding) as bus:
        # As an operator may, by hand: it doesn't pass the filter, and its letter has no mark.
        await publish(bus, "us", ordered, region="us")
        await take(bus, "audit", 1)
    letters = msgspec.structs.replace(binding.subscriptions["billing"], filter=None, tag=None)
    by_hand = msgspec.structs.replace(binding, subscriptions={**binding.subscriptions, "billing": letters})
    async with polybus.connect(by_hand) as bus, asyncio.timeout(30), bus.consume("billing") as deliveries:
        async for delivery in deliveries:
            await delivery.dead_letter("by hand")
            break
    async with polybus.connect(binding) as bus:
        assert await bus.dead_letters("billing").redrive() == 1
        [back] = await take(bus, "billing", 1)
        assert (back.message.body, dict(back.attributes)) == (b"us", {"region": "us"})
        await publish(bus, "after", ordered, region="eu")
        assert bodies(await take(bus, "audit", 1)) == ["after"]


@pytest.mark.parametrize(
    ("properties", "passes"),
    [
        (None, False),
        ({b"region": b"eu"}, True),
        ({b"REGION": b"eu"}, True),  # Service Bus SQL doesn't tell names apart by case
        ({b"region": b"us"}, False),
        ({b"region": 5}, True),  # what isn't text Service Bus compares in its own way, and has
        ({b"region": b"us", b"polybus_rule": b"1a2b3c4d"}, True),
        ({b"region": b"us", b"polybus_rule": b"another"}, False),
        ({b"region": b"us", b"polybus_to": b"1a2b3c4d"}, True),
        ({b"region": b"eu", b"polybus_to": b"another"}, False),
        ({b"region": b"eu", b"polybus_to": b"another", b"polybus_rule": b"1a2b3c4d"}, False),
        ({b"region": b"us", b"Region": b"eu"}, True),
        ({"region": "us"}, False),
    ],
)
def test_what_is_for_a_subscription(properties: Mapping[str | bytes, object] | None, passes: bool) -> None:
    source = Entity(
        kind=Kind.SUBSCRIPTION,
        name="billing",
        address="orders/Subscriptions/billing",
        dead_letter="orders/Subscriptions/billing/$DeadLetterQueue",
        filter='region == "eu"',
        tag="1a2b3c4d",
    )
    assert Sieve(source).passes(properties) is passes
    assert Sieve(source.dead_letters).passes(properties)
    assert Sieve(msgspec.structs.replace(source, kind=Kind.QUEUE)).passes(properties)


def test_the_local_rule_is_made_by_the_same_words_as_azure_s(server: ServiceBusServer) -> None:
    made(server, planned(""))
    realiser = Realiser(connection_string=server.connection_string(), ca_file=server.certificate)
    try:
        rule = realiser._client.get_rule("shop-orders", "billing", "$Default")
    finally:
        realiser.close()
    [declared] = [one for one in planned("").resources if one.name == "billing-rule"]
    assert rule.action.sql_expression == declared.properties["action"]["sql_expression"]
    assert rule.action.sql_expression.startswith("SET polybus_rule='")
