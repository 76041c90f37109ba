"""What a type checker must accept; checked by test_typing.py, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict, assert_type

import msgspec
import pydantic

import polybus
import polybus.otel
import polybus.telemetry
from polybus.clouds.aws import AwsSettings
from polybus.provision import MessageBus


@dataclass
class Order:
    id: int


class Payment(msgspec.Struct):
    amount: int


class Refund(pydantic.BaseModel):
    amount: int


class Row(TypedDict):
    name: str


app = polybus.App(service="billing")


@app.handler("orders", concurrency=4, max_lease="10m", grace=10)
async def bill(order: Order, delivery: polybus.Delivery) -> None:
    assert_type(delivery.message, polybus.Message)
    assert_type(delivery.attempt, int)
    assert_type(delivery.lost, bool)
    assert_type(delivery.ordering_key, str | None)
    identity = await app.bus.publish("payments", Payment(1), attributes={"region": "eu"}, delay=timedelta(seconds=5))
    assert_type(identity, str)


@app.handler("payments", executor="process")
def pay(payment: Payment) -> None: ...


@app.handler("refunds")
async def refund(body: Refund, *, delivery: polybus.Delivery) -> None: ...


@app.handler("rows")
async def row(body: Row, retries: int = 3) -> None: ...


@app.handler("raw")
async def raw(body: bytes) -> None: ...


@app.handler("messages")
async def message(message: polybus.Message) -> None: ...


@app.handler("deliveries")
async def delivered(delivery: polybus.Delivery) -> None: ...


@app.handler("batches", max_batch=10, max_wait="2s")
async def batch(orders: list[Order], deliveries: list[polybus.Delivery]) -> None:
    raise polybus.BatchFailed({deliveries[0]: ValueError("no"), 1: polybus.Retry(after=3)})


@app.handler("alone", max_batch=10)
def alone(orders: list[Order]) -> None: ...


@app.handler("keywords", max_batch=10)
async def keywords(orders: list[Order], *, deliveries: list[polybus.Delivery]) -> None: ...


@app.lifespan
async def resources(app: polybus.App) -> AsyncIterator[None]:
    yield


other = polybus.App()


@other.lifespan
@asynccontextmanager
async def managed(app: polybus.App) -> AsyncIterator[None]:
    yield


async def unchanged(order: Order) -> None:
    """The decorator keeps the handler's own type: it can be called and tested as what it is."""
    await bill(order, *deliveries())
    assert_type(pay(Payment(1)), None)


def deliveries() -> list[polybus.Delivery]:
    return []


async def use() -> None:
    async with polybus.connect() as bus:
        assert_type(await bus.publish("orders", Order(1), ordering_key="c7"), str)
        assert_type(await bus.publish_many("orders", [Order(1), b"raw", "text"]), list[str])
        assert_type(await bus.publish_many("orders", [Order(1)], outcomes=True), list[polybus.Sent | polybus.Fault])
        async with bus.consume("billing") as received:
            async for delivery in received:
                async with delivery as entered:
                    assert_type(entered, polybus.Delivery)
                    assert_type(delivery.body, bytes)
        assert_type(await bus.stats("billing"), polybus.Stats)


def use_blocking() -> None:
    with polybus.sync.connect() as bus:
        assert_type(bus.publish("orders", {"id": 1}), str)
        assert_type(bus.publish_many("orders", []), list[str])
        with bus.consume("billing") as received:
            for delivery in received:
                with delivery:
                    assert_type(delivery.attributes.get("region"), str | None)
            assert_type(received.receive(timeout=1.0), polybus.sync.SyncDelivery | None)


class Listener(polybus.telemetry.NoHooks):
    def inject(self, event: polybus.telemetry.Publishing) -> dict[str, str]:
        return {}


MessageBus("bus", topology="polybus.toml", cloud="aws", settings=AwsSettings(region="eu-west-1"))
hooked: Any = polybus.connect(hooks=[Listener(), polybus.otel.OpenTelemetryHooks()])
