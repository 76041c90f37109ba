"""Contracts and CloudEvents are the same on every backend: on the embedded ones, and on the local clouds.

C1  what isn't of the contract is refused before anything is sent, and nothing of it arrives;
C2  each type of messages reaches its handler, versions side by side, and unknown ones do as was declared;
C3  a row that can't be decoded stops the consumer, and nothing is lost;
E1  events in binary mode arrive with all their attributes, as the official SDK reads them;
E2  the same in structured mode;
E3  filters decide by the type and the source of events;
E4  events of other programs, in any of their forms, are read by typed handlers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.v1.event import CloudEvent as SdkEvent

import polybus
from polybus import App, Binding
from polybus.cloudevents import CloudEvent
from polybus.testing.rig import Rig
from polybus.testing.rigs import MemoryRig, SqliteRig
from polybus.topology.file import loads

from .rig_aws import AwsRig
from .rig_azure import AzureRig
from .rig_gcp import GcpRig

TOPOLOGY = """
[bus]
name = "events"

[topics.orders]
schema = "{schema}"

[subscriptions.billing]
topic = "orders"

[topics.binary]
format = "cloudevents"
schema = "{schema}"

[topics.structured]
format = "cloudevents-structured"
schema = "{schema}"

[subscriptions.all-binary]
topic = "binary"

[subscriptions.paid-binary]
topic = "binary"
filter = 'type == "order.paid" and prefix(source, "/eu/")'

[subscriptions.all-structured]
topic = "structured"

[subscriptions.paid-structured]
topic = "structured"
filter = 'type == "order.paid" and prefix(source, "/eu/")'

[queues.foreign]
"""
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}, "who": {"type": "string"}}, "required": ["id"]}


@dataclasses.dataclass
class Order:
    id: int
    who: str = ""


@dataclasses.dataclass
class Named:
    name: str


class Shop:
    """A bus on one backend, and what its tests do again and again; `patience` is in seconds."""

    patience = 60.0

    def __init__(self, rig: Rig, binding: Binding) -> None:
        self.binding = binding
        self.clock = rig.clock

    def bus(self) -> Any:
        return polybus.connect(self.binding, clock=self.clock)

    def app(self) -> App:
        return App(source=self.binding, clock=self.clock)

    async def one(self, bus: polybus.Bus, source: str) -> polybus.Message:
        """Take the next message of a source."""
        async with asyncio.timeout(self.patience), bus.consume(source) as deliveries:
            async for delivery in deliveries:
                async with delivery:
                    return delivery.message
        raise AssertionError

    async def until(self, check: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(self.patience):
            while not await check():  # noqa: ASYNC110 - servers of their own move, without telling
                await asyncio.sleep(0.02)


@asynccontextmanager
async def shop_on(rig: Rig, folder: Path) -> AsyncIterator[Shop]:
    """Give a shop on a backend; its contract is a file in `folder`."""
    (folder / "order.json").write_text(json.dumps(SCHEMA))
    topology = loads(TOPOLOGY.format(schema=folder / "order.json"), source=str(folder / "polybus.toml"))
    try:
        yield Shop(rig, await rig.realise(topology))
    finally:
        await rig.drop()


@pytest.fixture(params=[MemoryRig, SqliteRig, AwsRig, AzureRig, GcpRig], ids=lambda rig: rig.name)
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_on(request.param(), tmp_path) as shop:
        yield shop


async def test_c1_what_is_not_of_the_contract_is_not_sent(shop: Shop) -> None:
    async with shop.bus() as bus:
        for body in ({"id": "1"}, {"who": "ada"}, {"id": 1, "other": 2}, b"?"):
            with pytest.raises(polybus.PublishFailed, match=r"'orders' is not what .*order\.json says"):
                await bus.publish("orders", body)
        sent = await bus.publish("orders", {"id": 7, "who": "ada"})
        assert (await shop.one(bus, "billing")).id == sent
        with pytest.raises(polybus.PublishFailed, match="'binary' is not what"):
            await bus.publish("binary", {"id": "1"})


async def test_c2_each_type_reaches_its_handler(shop: Shop) -> None:
    app, seen = shop.app(), []

    @app.handler("foreign", type="order.v1")
    async def first(order: Order) -> None:
        seen.append(order)

    @app.handler("foreign", type="order.v2")
    async def second(named: Named) -> None:
        seen.append(named)

    async with app.running():
        for kind, body in (("order.v1", {"id": 1}), ("order.v2", {"name": "a"}), ("order.v3", {"id": 3})):
            await app.bus.publish("foreign", body, attributes={"type": kind})

        async def done() -> bool:
            return len(seen) == 2 and bool([letter async for letter in app.bus.dead_letters("foreign").peek()])

        await shop.until(done)
        [letter] = [letter async for letter in app.bus.dead_letters("foreign").peek()]
    assert sorted(map(str, seen)) == [str(Named("a")), str(Order(1))]
    assert letter.reason == "UnknownType"


async def test_c3_a_row_that_can_not_be_decoded_stops_and_loses_nothing(shop: Shop) -> None:
    count = 25
    app = shop.app()

    @app.handler("foreign", concurrency=1, undecodable=5)
    async def wrong(named: Named) -> None: ...

    async with app.running():
        await app.bus.publish_many("foreign", [{"id": number} for number in range(count)])

        async def stopped() -> bool:
            return "5 messages in a row" in (app.problem or "")

        await shop.until(stopped)
    right, seen = shop.app(), set()

    @right.handler("foreign")
    async def read(order: Order) -> None:
        seen.add(order.id)

    async with right.running():
        letters = right.bus.dead_letters("foreign")
        assert await letters.redrive() == 4

        async def all_read() -> bool:
            return len(seen) == count

        await shop.until(all_read)
    assert seen == set(range(count))


def headers_of(message: polybus.Message) -> dict[str, str]:
    return {**message.attributes, "content-type": message.content_type or ""}


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_e1_e2_an_event_arrives_as_the_official_sdk_reads_it(shop: Shop, mode: str) -> None:
    at = datetime(2024, 2, 29, 12, 0, 0, 250000, tzinfo=UTC)
    event = CloudEvent(
        "order.placed", "/eu/checkout", Order(7, "ada"), "e-1", "orders/7", at, extensions={"region": "eu"}
    )
    async with shop.bus() as bus:
        assert await bus.publish(mode, event, attributes={"note": "näher"}) == "e-1"
        message = await shop.one(bus, f"all-{mode}")
    assert message.attributes["note"] == "näher"
    read = http.from_http_event(http.HTTPMessage(headers_of(message), message.body))
    assert isinstance(read, SdkEvent)
    assert read.get_attributes() == {
        "specversion": "1.0",
        "id": "e-1",
        "type": "order.placed",
        "source": "/eu/checkout",
        "subject": "orders/7",
        "time": at,
        "region": "eu",
        "datacontenttype": "application/json",
    }
    data = read.get_data()
    assert (json.loads(data) if isinstance(data, bytes | str) else data) == {"id": 7, "who": "ada"}


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_e3_filters_decide_by_type_and_source(shop: Shop, mode: str) -> None:
    app, paid, every = shop.app(), [], []

    @app.handler(f"paid-{mode}", type="order.paid")
    async def handle(order: Order) -> None:
        paid.append(order.id)

    @app.handler(f"all-{mode}")
    async def look(event: CloudEvent[Order]) -> None:
        every.append((event.type, event.source, event.data.id))

    events = [("order.placed", "/eu/a", 1), ("order.paid", "/us/a", 2), ("order.paid", "/eu/a", 3)]
    async with app.running():
        for kind, source, number in events:
            await app.bus.publish(mode, {"id": number}, attributes={"type": kind, "source": source})

        async def done() -> bool:
            return len(every) == 3 and bool(paid)

        await shop.until(done)
    assert sorted(every) == sorted(events)
    assert paid == [3]


EVENT_BRIDGE = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "order.placed",
    "source": "com.example.shop",
    "account": "111122223333",
    "time": "2017-12-22T18:43:48Z",
    "region": "us-west-1",
    "resources": [],
    "detail": {"id": 11, "who": "bridge"},
}
EVENT_GRID = {
    "topic": "/subscriptions/1/shop",
    "subject": "orders/12",
    "eventType": "order.placed",
    "eventTime": "2018-01-25T22:12:19.4556811Z",
    "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
    "data": {"id": 12, "who": "grid"},
    "dataVersion": "",
    "metadataVersion": "1",
}


def foreign() -> list[polybus.Message]:
    """Return events as other programs put them on a queue, each in another form."""
    attributes = {"type": "order.placed", "source": "/other", "time": datetime(2024, 1, 1, tzinfo=UTC)}

    def event(number: int) -> SdkEvent:
        own = {**attributes, "id": f"s-{number}", "specversion": "1.0", "datacontenttype": "application/json"}
        return SdkEvent(own, {"id": number, "who": "sdk"})

    by_http = http.to_binary_event(event(1))
    whole = http.to_structured_event(event(2))
    by_kafka = kafka.to_binary_event(event(3))
    texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in by_kafka.headers.items()}
    plain = {
        name.replace("ce-", "cloudEvents_"): value for name, value in http.to_binary_event(event(4)).headers.items()
    }
    return [
        polybus.Message(by_http.body, by_http.headers),
        polybus.Message(whole.body, content_type=whole.headers["content-type"]),
        polybus.Message(whole.body.replace(b"s-2", b"s-5").replace(b'"id": 2', b'"id": 5')),  # no content type
        polybus.Message(by_kafka.value, texts),
        polybus.Message(by_http.body.replace(b"1", b"4"), plain),
        polybus.Message(json.dumps(EVENT_BRIDGE).encode()),
        polybus.Message(json.dumps(EVENT_GRID).encode()),
    ]


async def test_e4_events_of_other_programs_are_read_by_typed_handlers(shop: Shop) -> None:
    app, seen = shop.app(), []

    @app.handler("foreign", type="order.placed")
    async def placed(event: CloudEvent[Order]) -> None:
        seen.append(event)

    async with app.running():
        messages = foreign()
        await app.bus.publish_many("foreign", messages)

        async def done() -> bool:
            letters = [letter async for letter in app.bus.dead_letters("foreign").peek()]
            assert letters == []
            return len(seen) == len(messages)

        await shop.until(done)
    found = {event.id: event for event in seen}
    assert sorted(event.data.id for event in seen) == [1, 2, 3, 4, 5, 11, 12]
    bridge, grid = found[EVENT_BRIDGE["id"]], found[EVENT_GRID["id"]]
    assert (bridge.source, bridge.time, bridge.extensions["account"]) == (
        "com.example.shop",
        datetime(2017, 12, 22, 18, 43, 48, tzinfo=UTC),
        "111122223333",
    )
    assert (grid.source, grid.subject) == ("/subscriptions/1/shop", "orders/12")
    assert found["s-1"].time == datetime(2024, 1, 1, tzinfo=UTC)
