"""What a service hasn't declared is refused, on every backend."""

from __future__ import annotations

import pytest

import polybus
from polybus.topology.file import loads

TOPOLOGY = loads(
    """
    [bus]
    name = "rights"
    [topics.orders]
    [subscriptions.billing]
    topic = "orders"
    [queues.jobs]
    [services.checkout]
    publishes = ["orders"]
    [services.biller]
    consumes = ["billing"]
    operates = ["billing"]
    """,
    source="polybus.toml",
)


async def test_a_publisher_may_publish_what_it_declared_and_nothing_else() -> None:
    async with polybus.connect(TOPOLOGY, service="checkout") as bus:
        await bus.publish("orders", "one")
        with pytest.raises(polybus.NotDeclared, match=r"at \$\.services\.checkout\.publishes: found \['orders'\]"):
            await bus.publish("jobs", "one")
        with pytest.raises(polybus.NotDeclared, match=r"services\.checkout\.consumes"):
            bus.consume("billing")
        with pytest.raises(polybus.NotDeclared, match=r"services\.checkout\.operates"):
            await bus.stats("billing")


async def test_an_operator_may_look() -> None:
    async with polybus.connect(TOPOLOGY, service="biller") as bus:
        assert (await bus.stats("billing")).dead == 0
        assert [letter async for letter in bus.dead_letters("billing").peek()] == []


def test_an_unknown_service_is_refused_at_connect() -> None:
    with pytest.raises(polybus.NotDeclared, match="there are: biller, checkout"):
        polybus.connect(TOPOLOGY, service="bill")
