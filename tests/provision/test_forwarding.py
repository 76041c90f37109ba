"""What a push forwards arrives where it leads, as if it had been published there; and so does what is redriven."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

import polybus
from polybus.binding import Binding
from polybus.bus.bus import Bus
from polybus.clouds.aws import local as aws_realise
from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure import local as azure_realise
from polybus.clouds.azure.live import live
from polybus.clouds.azure.plan import resources as azure
from polybus.errors import BindingError, UnsupportedFeature
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.plan.drift import compare
from polybus.topology.file import loads

from . import flow

DECLARED = """
[bus]
name = "shop"
[topics.orders]
[queues.work]
max_attempts = 2
[subscriptions.urgent]
topic = "orders"
filter = 'urgency == "high"'
push = { forward = "work" }
"""
CHAINED = """
[topics.archive]
[subscriptions.everything]
topic = "orders"
push = { forward = "archive" }
[subscriptions.kept]
topic = "archive"
filter = 'exists(urgency)'
"""


@pytest.fixture
def on_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Binding]:
    with running_in_thread(AwsServer(region="eu-west-1")) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        settings = aws.AwsSettings(stack="dev", region="eu-west-1")
        plan = aws.plan(loads(DECLARED, source="x"), settings)
        binding = aws_realise.realise(plan, endpoint=server.url, region="eu-west-1")
        # A drain waits for the long poll that is under way: short ones make a short test.
        yield msgspec.structs.replace(binding, settings={**binding.settings, "long_poll": 1})


@pytest.fixture
def on_azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Binding]:
    with running_in_thread(ServiceBusServer()) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        plan = azure.plan(loads(DECLARED + CHAINED, source="x"))
        text = server.connection_string()
        yield azure_realise.realise(plan, connection_string=text, ca_file=server.certificate)


@asynccontextmanager
async def connected(binding: Binding) -> AsyncIterator[Bus]:
    async with polybus.connect(binding) as bus:
        yield bus


async def what_is_forwarded_is_consumed_and_dead_lettered_as_any_other(bus: Bus) -> None:
    await bus.publish("orders", "slow", attributes={"urgency": "low"})
    forwarded = await bus.publish("orders", "fast", attributes={"urgency": "high"})
    direct = await bus.publish("work", "direct")
    taken = {delivery.message.id: delivery.message for delivery in await flow.take(bus, "work", 2)}
    assert taken.keys() == {forwarded, direct}
    assert (taken[forwarded].body, dict(taken[forwarded].attributes)) == (b"fast", {"urgency": "high"})
    again = await bus.publish("orders", "again", attributes={"urgency": "high"})
    await flow.fail(bus, "work")
    assert await bus.dead_letters("work").redrive() == 1
    (back,) = await flow.take(bus, "work", 1)
    assert (back.message.id, dict(back.message.attributes)) == (again, {"urgency": "high"})
    with pytest.raises(BindingError, match="push subscription"):
        async with bus.consume("urgent"):
            pass


async def test_sns_forwards_to_a_queue(on_aws: Binding) -> None:
    async with connected(on_aws) as bus:
        await what_is_forwarded_is_consumed_and_dead_lettered_as_any_other(bus)
        with pytest.raises(UnsupportedFeature, match="redrive of the push subscription 'urgent'"):
            await bus.dead_letters("urgent").redrive()


async def test_service_bus_forwards_to_a_queue_and_to_a_topic(on_azure: Binding) -> None:
    async with connected(on_azure) as bus:
        await what_is_forwarded_is_consumed_and_dead_lettered_as_any_other(bus)
        kept = await flow.take(bus, "kept", 3)
        assert {delivery.message.body for delivery in kept} == {b"slow", b"fast", b"again"}


async def test_what_forwards_as_declared_is_no_drift(on_azure: Binding) -> None:
    plan = azure.plan(loads(DECLARED + CHAINED, source="x"))
    assert compare(plan.resources, await live(on_azure, plan)).drifts == ()
    undeclared = azure.plan(loads((DECLARED + CHAINED).replace('"work" }', '"archive" }'), source="x"))
    (drift,) = compare(undeclared.resources, await live(on_azure, undeclared)).drifts
    assert [edit.property for edit in drift.differences] == ["forward_to"]


async def test_what_is_redriven_to_a_forwarding_subscription_passes_the_filters_behind_it(on_azure: Binding) -> None:
    """It says whom it is for by an attribute, which the filters of the next topic would take for theirs."""
    tag = on_azure.subscriptions["everything"].tag
    client = ServiceBusClient.from_connection_string(os.environ["AZURE_SERVICEBUS_CONNECTION_STRING"])
    redriven = ServiceBusMessage("redriven", application_properties={"urgency": "low", "polybus_to": tag})
    with client, client.get_topic_sender(on_azure.topics["orders"].address) as sender:
        sender.send_messages(redriven)
    async with connected(on_azure) as bus:
        (kept,) = await flow.take(bus, "kept", 1)
        assert kept.message.body == b"redriven"
        assert dict(kept.message.attributes) == {"urgency": "low"}
