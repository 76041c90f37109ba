"""One handler, invoked by every platform with what that platform documents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from platforms import PLATFORMS, Platform
from shop import Shop

from polybus.envelope import Envelope


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(params=PLATFORMS, ids=lambda kind: kind.__name__)
async def platform(request: pytest.FixtureRequest, shop: Shop) -> AsyncIterator[Platform]:
    platform: Platform = request.param(shop)
    yield platform
    await platform.close()


def order(id_: str) -> bytes:
    return json.dumps({"id": id_}).encode()


async def test_what_is_handled_does_not_come_again(platform: Platform, shop: Shop) -> None:
    assert not await platform.invoke(order("fine"), {})
    assert shop.ids == ["fine"]


async def test_body_and_attributes_are_those_of_a_foreign_producer(platform: Platform, shop: Shop) -> None:
    await platform.invoke(order("fine"), {"vip": "yes"})
    (delivery,) = shop.deliveries
    assert delivery.body == order("fine")
    assert delivery.attributes["region"] == "eu"
    assert delivery.attributes["vip"] == "yes"
    assert not [name for name in delivery.attributes if name.startswith(("x-", "host", "user-"))]
    assert delivery.id
    assert delivery.source == "billing"
    assert delivery.message.published_at is not None


async def test_a_message_of_polybus_keeps_its_id_and_folded_attributes(platform: Platform, shop: Shop) -> None:
    envelope = Envelope(id="4f1c", type="j", folded={"empty": ""}).to_text()
    await platform.invoke(order("fine"), {"polybus": envelope})
    (delivery,) = shop.deliveries
    assert delivery.id == "4f1c"
    assert delivery.attributes["empty"] == ""
    assert "polybus" not in delivery.attributes


@pytest.mark.parametrize("id_", ["fails", "later"])
async def test_what_fails_comes_again(platform: Platform, shop: Shop, id_: str) -> None:
    assert await platform.invoke(order(id_), {})
    assert shop.ids == [id_]


async def test_attempts_are_the_platforms_count(platform: Platform, shop: Shop) -> None:
    await platform.invoke(order("fine"), {})
    assert shop.deliveries[0].attempt == (2 if platform.counts else 1)
    assert shop.deliveries[0].redelivered == platform.counts


async def test_what_can_not_be_dead_lettered_here_is_left_to_the_platform(platform: Platform, shop: Shop) -> None:
    assert await platform.invoke(order("dead"), {})
    assert await platform.invoke(b"not an order", {})
    assert shop.ids == ["dead"]


async def test_the_app_is_opened_once_for_all_invocations(platform: Platform, shop: Shop) -> None:
    for number in range(3):
        await platform.invoke(order(str(number)), {})
    assert shop.lifespans == ["begin"]
    assert shop.ids == ["0", "1", "2"]
    await platform.close()
    assert shop.lifespans == ["begin", "end"]
