"""Azure Functions: single messages, batches, sessions."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from platforms import TriggerMessage
from shop import Order, Shop, binding

from polybus import App, ConfigError
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


def message(order: str, **more: Any) -> TriggerMessage:
    return TriggerMessage(json.dumps({"id": order}).encode(), more.pop("properties", {}), message_id=order, **more)


async def test_a_batch_is_completed_by_returning(make: Make) -> None:
    shop = Shop()
    await make(shop.app)([message("a"), message("b")])
    assert sorted(shop.ids) == ["a", "b"]


async def test_a_failure_in_a_batch_says_what_failed_and_that_all_comes_again(make: Make) -> None:
    shop = Shop()
    with pytest.raises(
        HandlersFailed, match=r"1 of 3 messages of 'billing' failed \(fails\); all of the batch"
    ) as raised:
        await make(shop.app)([message("a"), message("fails"), message("b")])
    assert raised.value.ids == ("fails",)
    assert sorted(shop.ids) == ["a", "b", "fails"]


async def test_after_a_failure_the_rest_of_its_session_is_not_handled(make: Make) -> None:
    shop = Shop("packing")
    batch = [message("a", session_id="A"), message("fails", session_id="A"), message("c", session_id="A")]
    with pytest.raises(HandlersFailed, match="2 of 3"):
        await make(shop.app)(batch)
    assert shop.ids == ["a", "fails"]
    assert shop.deliveries[0].ordering_key == "A"


async def test_a_batch_whose_session_the_library_does_not_say_is_one(make: Make) -> None:
    shop = Shop("packing")
    with pytest.raises(HandlersFailed):
        await make(shop.app)([message("a"), message("fails"), message("c")])
    assert shop.ids == ["a", "fails"]


async def test_what_service_bus_carries_natively_is_where_it_belongs(make: Make) -> None:
    shop = Shop()
    given = message("a", properties={"count": 3, "vip": True, "polybus_to": "ab12"}, session_id="A", delivery_count=4)
    await make(shop.app)(given)
    (delivery,) = shop.deliveries
    assert delivery.attributes == {"count": "3", "vip": "true"}
    assert (delivery.id, delivery.attempt, delivery.ordering_key) == ("a", 4, "A")
    assert delivery.message.content_type == "application/json"
    assert delivery.message.published_at == datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC).timestamp()


async def test_a_redriven_message_has_its_own_id_and_attributes_again(make: Make) -> None:
    shop = Shop()
    envelope = Envelope(id="4f1c", moves=2, folded={"long": "x" * 200})
    await make(shop.app)(message("4f1c.2", properties=split(envelope.to_text(), 100), delivery_count=1))
    (delivery,) = shop.deliveries
    assert (delivery.id, delivery.redelivered, delivery.attempt) == ("4f1c", True, 1)
    assert delivery.attributes == {"long": "x" * 200}


async def test_a_message_without_properties_body_or_time_is_a_message(make: Make) -> None:
    app, seen = App(), []

    @app.handler("billing")
    async def bill(body: bytes) -> None:
        seen.append(body)

    given = TriggerMessage(b"", {}, content_type=None, delivery_count=None)
    given.enqueued_time_utc = None
    await make(app)(given)
    assert seen == [b""]


async def test_a_trigger_of_several_handlers_says_which(make: Make) -> None:
    shop = Shop("billing", "packing")
    with pytest.raises(ConfigError, match=r"with handles=... one of: billing, packing"):
        make(shop.app)
    await make(shop.app, handles="packing")(message("a"))
    assert shop.deliveries[0].source == "packing"


async def test_calls_at_the_same_time_open_the_app_once(make: Make) -> None:
    shop = Shop()
    function = make(shop.app)
    await asyncio.gather(*(function(message(str(number))) for number in range(5)))
    assert shop.lifespans == ["begin"]
    assert len(shop.ids) == 5


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
