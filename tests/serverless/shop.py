"""The app that every function runs, the bindings that it runs with, and the events that the clouds document."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from polybus import App, DeadLetter, Delivery, Retry
from polybus.binding import Binding, Entity, Kind, Rights

EVENTS = Path(__file__).parent / "events"
TOPIC = "arn:aws:sns:us-east-2:123456789012:shop-orders"
SQS = "https://sqs.us-east-2.amazonaws.com/123456789012"


@dataclass
class Order:
    id: str


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


class Shop:
    """An app with a handler whose end the order's id decides, and a note of all that happened."""

    def __init__(self, *sources: str, service: str | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self.lifespans: list[str] = []
        self.app = App(service)
        for source in sources or ("billing",):
            self.app.handler(source)(self.handle)
        self.app.lifespan(self.lifespan)

    async def handle(self, order: Order, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if order.id == "fails":
            raise RuntimeError("this order fails")
        if order.id == "later":
            raise Retry("not yet", after=5)
        if order.id == "dead":
            raise DeadLetter("Unpayable", "no such customer")

    async def lifespan(self, app: App) -> AsyncIterator[None]:
        self.lifespans.append("begin")
        yield
        self.lifespans.append("end")

    @property
    def ids(self) -> list[str]:
        return [msgspec.json.decode(delivery.body)["id"] for delivery in self.deliveries]


def binding(backend: str, *, push: bool = False, max_attempts: int = 5) -> Binding:
    """What a stack on this cloud exports for subscription `billing` of topic `orders`, and ordered queue `packing`."""
    topic, billing, packing, settings = {
        "aws": (TOPIC, f"{SQS}/shop-billing", f"{SQS}/shop-packing.fifo", {"region": "us-east-2"}),
        "azure": (
            "orders",
            "orders/Subscriptions/billing",
            "packing",
            {"namespace": "shop.servicebus.windows.net"},
        ),
        "gcp": (
            "projects/myproject/topics/shop-orders",
            "projects/myproject/subscriptions/shop-billing",
            "projects/myproject/subscriptions/shop-packing",
            {"project": "myproject"},
        ),
    }[backend]
    shared: Any = {"max_attempts": max_attempts, "lease": 60.0}
    return Binding(
        backend=backend,
        bus="shop",
        settings=settings,
        topics={"orders": Entity(kind=Kind.TOPIC, name="orders", address=topic)},
        subscriptions={
            "billing": Entity(
                kind=Kind.SUBSCRIPTION, name="billing", topic="orders", address=billing, push=push, **shared
            )
        },
        queues={"packing": Entity(kind=Kind.QUEUE, name="packing", address=packing, ordered=True, **shared)},
        services={"billing": Rights(consumes=() if push else ("billing",))},
    )
