"""An Avro schema as a contract: publishing writes by it, handlers read by it, versions side by side."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polybus
from polybus import FaultKind, Message, PublishFailed
from polybus.avro import Avro
from polybus.cloudevents import CloudEvent

TOPOLOGY = """
[bus]
name = "avro-contracts"

[topics.orders]
schema = "messages/order.avsc"

[subscriptions.billing]
topic = "orders"

[topics.events]
schema = "messages/order.avsc"
format = "cloudevents"

[subscriptions.audit]
topic = "events"

[topics.whole]
schema = "messages/order.avsc"
format = "cloudevents-structured"

[subscriptions.archive]
topic = "whole"
"""
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "who", "type": ["null", "string"], "default": None},
    ],
}
FIRST = {"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "id", "type": "int"}]}
LATER = {**ORDER, "fields": [*ORDER["fields"], {"name": "eu", "type": "boolean"}]}  # type: ignore[misc]


@dataclasses.dataclass
class Order:
    id: int
    who: str | None = None


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "messages").mkdir()
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    (tmp_path / "messages" / "order.avsc").write_text(json.dumps(ORDER))
    (tmp_path / "messages" / "order.1.avsc").write_text(json.dumps(FIRST))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLYBUS_BINDING", raising=False)
    return tmp_path


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - the bus's own tasks move
            await asyncio.sleep(0.01)


async def test_publishing_writes_by_the_contract_and_handlers_read_by_it(shop: Path) -> None:
    app, seen = polybus.App(source=shop / "polybus.toml"), []

    @app.handler("billing")
    async def billing(order: Order) -> None:
        seen.append(order)

    async with app.running():
        await app.bus.publish("orders", Order(1, "ada"))
        await app.bus.publish("orders", {"id": 2})
        await app.bus.publish("orders", Avro(ORDER).encode({"id": 3}))
        await app.bus.publish("orders", Message(Avro(ORDER).encode({"id": 4})))
        await app.bus.publish("orders", Message(Avro(ORDER).encode({"id": 5}), content_type="application/avro"))
        await until(lambda: len(seen) == 5)
    assert sorted(order.id for order in seen) == [1, 2, 3, 4, 5]
    assert Order(1, "ada") in seen


async def test_the_wire_has_single_objects(shop: Path) -> None:
    async with polybus.connect(shop / "polybus.toml") as bus:
        await bus.publish("orders", {"id": 2})
        async with bus.consume("billing") as deliveries:
            async for delivery in deliveries:
                async with delivery:
                    assert delivery.message.content_type == "avro/binary"
                    assert delivery.message.body == b"\xc3\x01" + bytes.fromhex(Avro(ORDER).fingerprint) + b"\x04\x00"
                break


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"id": "1"}, "at $.id: long is declared"),
        ({"who": "x"}, "at $.id: required"),
        ({"id": 1, "note": "x"}, "a field that is not declared"),
        (b'{"id": 1}', "no single object"),
        (Message(b'{"id": 1}'), "no single object"),
        (Message(Avro(FIRST).encode({"id": 1})), "not known here"),
        (Message(Avro(ORDER).encode({"id": 1}), content_type="application/json"), "its content type"),
    ],
)
async def test_publish_refuses_what_is_not_of_the_contract_with_target_and_place(
    shop: Path, body: Any, told: str
) -> None:
    async with polybus.connect(shop / "polybus.toml") as bus:
        for target in ("orders", "events", "whole"):
            with pytest.raises(PublishFailed) as caught:
                await bus.publish(target, body)
            [fault] = caught.value.faults
            assert fault.kind is FaultKind.INVALID
            assert repr(target) in fault.detail
            assert told in fault.detail
        [good, bad] = await bus.publish_many("orders", [{"id": 1}, body], outcomes=True)
        assert isinstance(good, polybus.Sent)
        assert isinstance(bad, polybus.Fault)


async def test_versions_that_are_kept_beside_the_schema_are_read(shop: Path) -> None:
    topology = shop / "polybus.toml"
    free = topology.read_text().replace('schema = "messages/order.avsc"\n', "", 1)
    app, seen, order = polybus.App(source=topology), [], Avro(FIRST)

    @app.handler("billing")
    async def billing(order: Order) -> None:
        seen.append(order)

    (shop / "foreign.toml").write_text(free)  # a publisher that knows nothing of the contract
    async with polybus.connect(shop / "foreign.toml") as bus:
        await bus.publish("orders", Message(order.encode({"id": 1}), content_type="avro/binary"))
        await bus.publish("orders", Message(order.encode({"id": 2})))
        await bus.publish("orders", {"id": 3})  # from before it was Avro
        await bus.publish("orders", Message(Avro(LATER).encode({"id": 4, "eu": True}), content_type="avro/binary"))
    async with app.running():
        await until(lambda: len(seen) == 3)

        found: list[str | None] = []
        async with asyncio.timeout(20):
            while not found:
                found = [peeked.reason async for peeked in app.bus.dead_letters("billing").peek()]
    assert sorted(order.id for order in seen) == [1, 2, 3]
    assert len(found) == 1


async def test_cloud_events_carry_avro_in_both_modes(shop: Path) -> None:
    app, seen = polybus.App(source=shop / "polybus.toml"), []

    @app.handler("audit")
    async def audit(event: CloudEvent[Order]) -> None:
        seen.append((event.type, event.datacontenttype, event.data))

    @app.handler("archive")
    async def archive(order: Order) -> None:
        seen.append(order)

    async with app.running():
        await app.bus.publish("events", CloudEvent("order.placed", "/shop", Order(1)))
        await app.bus.publish("whole", Order(2))
        await until(lambda: len(seen) == 2)
    assert ("order.placed", "avro/binary", Order(1)) in seen
    assert Order(2) in seen


async def test_a_schema_that_is_not_there_is_told_before_anything_runs(shop: Path) -> None:
    (shop / "messages" / "order.avsc").unlink()
    app = polybus.App(source=shop / "polybus.toml")

    @app.handler("billing")
    async def billing(order: Order) -> None: ...

    with pytest.raises(polybus.ConfigError, match=r"order\.avsc"):
        async with app.running():
            pass
