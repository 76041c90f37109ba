"""The Functions host, played against the local Service Bus server: receive, call the function, complete or abandon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import azure.functions as func
import pytest
import trigger
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusReceivedMessage
from served import BOUND
from shop import Shop

import polybus
from polybus.clouds.azure.local import realise
from polybus.clouds.azure.plan.namespace import Principal
from polybus.clouds.azure.plan.resources import AzureSettings, plan
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.serverless import HandlersFailed, azure_functions
from polybus.topology.file import loads

TOPOLOGY = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
max_attempts = 3
push = { function = "/subscriptions/1/resourceGroups/2/providers/Microsoft.Web/sites/billing" }
[queues.packing]
ordered = true
"""
FUNCTION = "/subscriptions/1/resourceGroups/2/providers/Microsoft.Web/sites/billing"


class Host:
    """What the host does with autoCompleteMessages on, for one function.

    https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger (PeekLock behavior)
    """

    def __init__(self, connection_string: str, function: Any) -> None:
        (binding,) = function.get_bindings()
        self._settings = binding.get_dict_repr()
        self._call: Callable[[Any], Awaitable[None]] = function.get_user_function()
        self._client = ServiceBusClient.from_connection_string(connection_string)

    def _receiver(self, **more: Any) -> Any:
        if self._settings.get("isSessionsEnabled"):
            more |= {"session_id": NEXT_AVAILABLE_SESSION, "max_wait_time": 5}
        if "queueName" in self._settings:
            return self._client.get_queue_receiver(self._settings["queueName"], **more)
        return self._client.get_subscription_receiver(
            self._settings["topicName"], self._settings["subscriptionName"], **more
        )

    async def poll(self) -> int:
        """Hand over what is there to the function; return how many messages it completed."""
        receiver = await asyncio.to_thread(self._receiver)
        try:
            received = await asyncio.to_thread(receiver.receive_messages, max_message_count=10, max_wait_time=1)
            many = "cardinality" in self._settings and "MANY" in str(self._settings["cardinality"])
            batches = [received] if many and received else [[one] for one in received]
            return sum([await self._hand_over(receiver, batch, many) for batch in batches])
        finally:
            await asyncio.to_thread(receiver.close)

    async def _hand_over(self, receiver: Any, batch: Sequence[ServiceBusReceivedMessage], many: bool) -> int:
        said = [(b"".join(one.body), _metadata(one)) for one in batch]
        given = trigger.messages(said) if many else trigger.message(said[0][0], **said[0][1])
        try:
            await self._call(given)
        except HandlersFailed:
            settle, completed = receiver.abandon_message, 0
        else:
            settle, completed = receiver.complete_message, len(batch)
        for one in batch:
            await asyncio.to_thread(settle, one)
        return completed

    def letters(self) -> list[tuple[bytes, str]]:
        """Return what Service Bus has dead-lettered, and why."""
        with self._receiver(sub_queue="deadletter") as receiver:
            return [(b"".join(one.body), one.dead_letter_reason) for one in receiver.peek_messages(10)]

    def close(self) -> None:
        self._client.close()


def _metadata(one: ServiceBusReceivedMessage) -> dict[str, Any]:
    properties = {_text(name): _text(value) for name, value in (one.application_properties or {}).items()}
    return {
        "MessageId": one.message_id,
        "ContentType": one.content_type,
        "DeliveryCount": (one.delivery_count or 0) + 1,
        "SequenceNumber": one.sequence_number,
        "SessionId": one.session_id,
        "properties": properties,
    }


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


class Stack:
    def __init__(self, shop: Shop, bus: polybus.Bus, functions: func.FunctionApp, connection_string: str) -> None:
        self.shop = shop
        self.bus = bus
        self.hosts = {one.get_function_name(): Host(connection_string, one) for one in functions.get_functions()}


@pytest.fixture
async def stack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    shop, functions = Shop("billing", "packing"), func.FunctionApp()
    settings = AzureSettings(functions={FUNCTION: Principal("0a1b2c3d-1111-2222-3333-444455556666")})
    async with contextlib.AsyncExitStack() as open_:
        server = open_.enter_context(running_in_thread(ServiceBusServer()))
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        planned = plan(loads(TOPOLOGY, source="shop.toml"), settings)
        connection_string = server.connection_string()
        binding = await asyncio.to_thread(
            realise, planned, connection_string=connection_string, ca_file=server.certificate
        )
        bus = await open_.enter_async_context(polybus.connect(binding))
        billing = azure_functions(shop.app, binding, handles="billing")
        packing = azure_functions(shop.app, binding, handles="packing")
        open_.push_async_callback(billing.close)
        open_.push_async_callback(packing.close)

        @functions.service_bus_topic_trigger(arg_name="message", connection="ServiceBus", **billing.trigger)
        async def on_billing(message: func.ServiceBusMessage) -> None:
            await billing(message)

        @functions.service_bus_queue_trigger(
            arg_name="messages", connection="ServiceBus", cardinality="many", **packing.trigger
        )
        async def on_packing(messages: list[func.ServiceBusMessage]) -> None:
            await packing(messages)

        stack = Stack(shop, bus, functions, connection_string)
        for host in stack.hosts.values():
            open_.callback(host.close)
        yield stack


async def test_what_is_published_is_handled_and_completed(stack: Stack) -> None:
    id_ = await stack.bus.publish("orders", {"id": "one"}, attributes={"region": "eu"})
    assert await stack.hosts["on_billing"].poll() == 1
    (delivery,) = stack.shop.deliveries
    assert (delivery.id, delivery.attributes, delivery.attempt) == (id_, {"region": "eu"}, 1)
    assert await stack.hosts["on_billing"].poll() == 0
    assert len(stack.shop.deliveries) == 1


async def test_what_fails_comes_again_until_service_bus_dead_letters_it(stack: Stack) -> None:
    await stack.bus.publish("orders", {"id": "fails"})
    host = stack.hosts["on_billing"]
    async with asyncio.timeout(BOUND):
        while not (letters := await asyncio.to_thread(host.letters)):
            assert await host.poll() == 0
    assert letters == [(b'{"id":"fails"}', "MaxDeliveryCountExceeded")]
    assert [delivery.attempt for delivery in stack.shop.deliveries] == [1, 2, 3]


async def test_a_batch_of_a_session_is_kept_in_order_through_a_failure(stack: Stack) -> None:
    for order in ("a", "later", "b"):
        await stack.bus.publish("packing", {"id": order}, ordering_key="A")
    host = stack.hosts["on_packing"]
    assert await host.poll() == 0
    assert stack.shop.ids == ["a", "later"]
    assert {delivery.ordering_key for delivery in stack.shop.deliveries} == {"A"}
    assert await host.poll() == 0
    assert stack.shop.ids == ["a", "later"] * 2
