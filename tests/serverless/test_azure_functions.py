"""Azure Functions: single messages, batches, sessions."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from azure.functions import ServiceBusMessage
from shop import Order, Shop, binding
from trigger import ENQUEUED, messages
from trigger import message as trigger_message

from polybus import App, AppFailed, ConfigError, Delivery
from polybus.envelope import Envelope, split
from polybus.serverless import AzureFunction, HandlersFailed, azure_functions

Make = Callable[..., AzureFunction]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[AzureFunction] = []

    def make(app: App, **options: Any) -> AzureFunction:
        made.append(azure_functions(app, binding("azure"), **options))
        return made[-1]

    yield make
    for function in made:
        await function.close()


def body(order: str) -> bytes:
    return json.dumps({"id": order}).encode()


def message(order: str, **given: Any) -> ServiceBusMessage:
    return trigger_message(body(order), **{"MessageId": order, **given})


def batch(*orders: str, **given: Any) -> list[ServiceBusMessage]:
    return messages([(body(order), {"MessageId": order, **given}) for order in orders])


async def test_a_batch_is_completed_by_returning(make: Make) -> None:
    shop = Shop()
    await make(shop.app)(batch("a", "b"))
    assert sorted(shop.ids) == ["a", "b"]


async def test_a_failure_in_a_batch_says_what_failed_and_that_all_comes_again(make: Make) -> None:
    shop = Shop()
    with pytest.raises(
        HandlersFailed, match=r"1 of 3 messages of 'billing' failed \(fails\); all of the batch"
    ) as raised:
        await make(shop.app)(batch("a", "fails", "b"))
    assert raised.value.ids == ("fails",)
    assert sorted(shop.ids) == ["a", "b", "fails"]


async def test_after_a_failure_the_rest_of_its_session_is_not_handled(make: Make) -> None:
    shop = Shop("packing")
    with pytest.raises(HandlersFailed, match="2 of 3"):
        await make(shop.app)(batch("a", "fails", "c", SessionId="A"))
    assert shop.ids == ["a", "fails"]
    assert shop.deliveries[0].ordering_key == "A"


async def test_a_batch_whose_session_an_old_host_does_not_say_is_one(make: Make) -> None:
    shop = Shop("packing")
    with pytest.raises(HandlersFailed):
        await make(shop.app)(batch("a", "fails", "c"))
    assert shop.ids == ["a", "fails"]


async def test_what_service_bus_carries_natively_is_where_it_belongs(make: Make) -> None:
    shop = Shop()
    properties = {"count": 3, "vip": True, "polybus_to": "ab12"}
    function = make(shop.app)
    await function(message("a", properties=properties, SessionId="A", DeliveryCount=4))
    await function(batch("a", properties=properties, SessionId="A", DeliveryCount=4))
    for delivery in shop.deliveries:
        assert delivery.attributes == {"count": "3", "vip": "true"}
        assert (delivery.id, delivery.attempt, delivery.ordering_key) == ("a", 4, "A")
        assert delivery.message.content_type == "application/json"
        assert delivery.message.published_at == datetime.datetime.fromisoformat(f"{ENQUEUED[:-1]}Z").timestamp()
    assert len(shop.deliveries) == 2


async def test_what_came_before_the_rule_of_its_subscription_is_completed_and_not_handled() -> None:
    shop, bound = Shop(), binding("azure")
    billing = msgspec.structs.replace(bound.subscriptions["billing"], filter='region == "eu"', tag="ab12")
    function = azure_functions(shop.app, msgspec.structs.replace(bound, subscriptions={"billing": billing}))
    try:
        await function(message("us", properties={"region": "us"}))
        assert shop.ids == []
        given = [
            ({"region": "us"}, "us"),
            ({"region": "eu"}, "eu"),
            ({"region": "us", "polybus_rule": "ab12"}, "older"),
        ]
        await function([message(order, properties=properties) for properties, order in given])
        assert sorted(shop.ids) == ["eu", "older"]
        assert [dict(one.attributes) for one in shop.deliveries] == [{"region": "eu"}, {"region": "us"}]
    finally:
        await function.close()


async def test_a_redriven_message_has_its_own_id_and_attributes_again(make: Make) -> None:
    shop = Shop()
    envelope = Envelope(id="4f1c", moves=2, folded={"long": "x" * 200})
    await make(shop.app)(message("4f1c.2", properties=split(envelope.to_text(), 100), DeliveryCount=1))
    (delivery,) = shop.deliveries
    assert (delivery.id, delivery.redelivered, delivery.attempt) == ("4f1c", True, 1)
    assert delivery.attributes == {"long": "x" * 200}


@pytest.mark.parametrize("given", [b"", b"\xde\xad\xbe\xef", b'"text"', "grüße".encode()])
async def test_bodies_are_the_publishers_bytes(make: Make, given: bytes) -> None:
    app, seen = App(), []

    @app.handler("billing")
    async def bill(body: bytes) -> None:
        seen.append(body)

    await make(app)(trigger_message(given))
    assert seen == [given]


async def test_what_the_host_does_not_say_is_left_out(make: Make) -> None:
    app, seen = App(), []

    @app.handler("billing")
    async def bill(delivery: Delivery) -> None:
        seen.append(delivery)

    await make(app)(trigger_message(b"", MessageId="", ContentType=None, DeliveryCount=None, EnqueuedTimeUtc=None))
    (delivery,) = seen
    assert (delivery.id, delivery.attempt, delivery.message.published_at) == ("17", 1, None)
    assert (delivery.message.content_type, delivery.ordering_key, delivery.attributes) == (None, None, {})


async def test_a_trigger_of_several_handlers_says_which(make: Make) -> None:
    shop = Shop("billing", "packing")
    with pytest.raises(ConfigError, match=r"with handles=... one of: billing, packing"):
        make(shop.app)
    await make(shop.app, handles="packing")(message("a"))
    assert shop.deliveries[0].source == "packing"


async def test_a_trigger_is_told_the_names_of_the_stack_and_its_sessions(make: Make) -> None:
    shop = Shop("billing", "packing")
    assert make(shop.app, handles="billing").trigger == {
        "topic_name": "orders",
        "subscription_name": "billing",
        "is_sessions_enabled": False,
    }
    assert make(shop.app, handles="packing").trigger == {"queue_name": "packing", "is_sessions_enabled": True}
    with pytest.raises(ConfigError, match="bus 'shop' is on 'gcp', where Service Bus triggers nothing"):
        _ = azure_functions(Shop().app, binding("gcp")).trigger


async def test_calls_at_the_same_time_open_the_app_once(make: Make) -> None:
    shop = Shop()
    function = make(shop.app)
    await asyncio.gather(*(function(message(str(number))) for number in range(5)))
    assert shop.lifespans == ["begin"]
    assert len(shop.ids) == 5


async def test_an_app_whose_start_is_cancelled_fails_who_waits_and_is_tried_again(make: Make) -> None:
    app, attempts = App(), []

    @app.lifespan
    async def resources(app: App) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise asyncio.CancelledError
        yield

    @app.handler("billing")
    async def bill(order: Order) -> None: ...

    function = make(app)
    waiting = [asyncio.create_task(function(message(str(number)))) for number in range(2)]
    for outcome in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30):
        assert isinstance(outcome, AppFailed)
        assert "was cancelled, and not by polybus" in str(outcome)
    await function(message("a"))


async def test_handlers_are_cancelled_and_come_again_when_a_close_waits_no_longer(make: Make) -> None:
    app, begun, cancelled = App(), asyncio.Event(), []

    @app.handler("billing", grace=0)
    async def bill(order: Order) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(order.id)
            raise

    function = make(app)
    call = asyncio.create_task(function(message("a")))
    await begun.wait()
    await function.close()
    with pytest.raises(HandlersFailed, match="it comes again"):
        await call
    assert cancelled == ["a"]
