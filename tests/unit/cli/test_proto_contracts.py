"""Protobuf messages as contracts: compiled files and classes that protoc made; published, read, and compared."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from tests.unit.contracts.proto_random import class_of, descriptor_set

import polybus
from polybus import FaultKind, Message, PublishFailed

TOPOLOGY = """
[bus]
name = "proto-contracts"

[topics.orders]
schema = "messages/order.binpb#p.M"

[subscriptions.billing]
topic = "orders"
"""
STATE = {"NONE": 0, "OPEN": 1, "PAID": 2}


def field(name: str, number: int, kind: str, label: str = "plain") -> dict[str, Any]:
    return {"name": name, "number": number, "type": kind, "label": label}


ID, STATE_FIELD = field("id", 1, "int32"), field("state", 2, "enum")
LINES = field("lines", 3, "message", "list")


def order(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    inner = [field("sku", 1, "string")]
    return {"syntax": "proto3", "fields": list(fields), "inner": inner, "values": STATE, "reserved": [], **more}


ORDER = order(ID, STATE_FIELD, LINES)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "messages").mkdir()
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    write(tmp_path, ORDER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLYBUS_BINDING", raising=False)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before


def write(shop: Path, source: dict[str, Any]) -> None:
    (shop / "messages" / "order.binpb").write_bytes(descriptor_set(source))


def breaks(result: Any) -> set[tuple[str, str, str]]:
    return {(each["rule"], each["place"], each["side"]) for each in result.json()["contracts"]["breaks"]}


def test_a_changed_message_is_held_to_its_readers(cli: Callable, shop: Path) -> None:
    assert cli("check", "--no-notes").out.splitlines()[0] == "contracts: ok, 1 declared"
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    assert [path.name for path in (shop / "kept").iterdir()] == ["orders.p.M.binpb"]
    against = ("check", "--against", "kept", "--json")
    assert breaks(cli(*against)) == set()
    write(shop, order({**ID, "type": "int64"}, LINES, reserved=[2]))
    result = cli(*against)
    assert breaks(result) == {("type-narrowed", "$.id", "forward")}
    [found] = result.json()["contracts"]["breaks"]
    assert found["example"] == {"id": "9223372036854775807"}
    write(shop, order(ID, LINES))
    assert breaks(cli(*against)) == {("number-not-reserved", "$.state", "backward")}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("messages/order.proto#shop.Order", "protoc --include_imports --descriptor_set_out=messages/order.binpb"),
        ("messages/order.binpb#p.Other", "there is no message p.Other, only p.M"),
        ("messages/none.binpb#p.M", "No such file"),
        ("messages/bad.desc", "no FileDescriptorSet"),
        ("messages/open.desc", "--include_imports"),
    ],
)
def test_what_can_not_be_read_says_what_to_do(cli: Callable, shop: Path, schema: str, told: str) -> None:
    (shop / "messages" / "order.proto").write_text('syntax = "proto3";')
    (shop / "messages" / "bad.desc").write_bytes(b"\xff\xff")
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", dependency=["b.proto"])
    alone = descriptor_pb2.FileDescriptorSet(file=[file])
    (shop / "messages" / "open.desc").write_bytes(alone.SerializeToString())
    (shop / "polybus.toml").write_text(TOPOLOGY.replace("messages/order.binpb#p.M", schema))
    result = cli("check", "--json")
    assert result.code == 1
    [finding] = result.json()["contracts"]["findings"]
    assert finding["path"] == "$.topics.orders.schema"
    assert told in finding["found"]


def test_a_class_that_protoc_made_is_a_contract(cli: Callable, shop: Path) -> None:
    reference = "google.protobuf.descriptor_pb2:FileDescriptorProto"
    (shop / "polybus.toml").write_text(TOPOLOGY.replace("messages/order.binpb#p.M", reference))
    assert cli("check", "--no-notes").out.splitlines()[0] == "contracts: ok, 1 declared"
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    assert breaks(cli("check", "--against", "kept", "--json")) == set()
    old = shop / "old"
    old.mkdir()
    (old / "polybus.toml").write_text((shop / "polybus.toml").read_text())
    assert breaks(cli("check", "--against", str(old / "polybus.toml"), "--json")) == set()


def test_documents_have_the_text_of_the_message(cli: Callable, shop: Path) -> None:
    message = cli("export", "asyncapi").json()["components"]["messages"]["orders"]
    assert message["contentType"] == "application/protobuf"
    assert message["payload"]["schemaFormat"] == "application/vnd.google.protobuf;version=3"
    text = message["payload"]["schema"]
    for line in ('syntax = "proto3";', "package p;", "message M {", "int32 id = 1;", "repeated p.M.N lines = 3;"):
        assert line in text
    assert json.loads(cli("export", "jsonschema").out)["orders"] == text
    assert "repeated p.M.N lines = 3;" in cli("catalogue").out


async def test_publishing_holds_messages_to_the_contract(shop: Path) -> None:
    made, _held = class_of(ORDER)
    other, _also_held = class_of(order(ID, field("note", 9, "string")))
    async with polybus.connect(shop / "polybus.toml") as bus:
        good = made(id=7, state=2, lines=[{"sku": "a"}])
        for body in (good, {"id": 7, "state": "PAID"}, good.SerializeToString(), Message(good.SerializeToString())):
            await bus.publish("orders", body)
        for body, told in (
            ({"id": "seven"}, "no p.M"),
            ({"note": "x"}, "no p.M"),
            (other(note="x").SerializeToString(), "a number that is not declared"),
            (b"\xff", "not the bytes of a p.M"),
            (descriptor_pb2.FileDescriptorProto(), "google.protobuf.FileDescriptorProto, and p.M is declared"),
            (Message(good.SerializeToString(), content_type="application/json"), "its content type"),
        ):
            with pytest.raises(PublishFailed) as caught:
                await bus.publish("orders", body)
            [fault] = caught.value.faults
            assert fault.kind is FaultKind.INVALID
            assert told in fault.detail
        assert (await bus.stats("billing")).waiting == 4


async def test_handlers_read_it_by_the_class_or_as_plain_data(shop: Path) -> None:
    made, _held = class_of(ORDER)
    app, seen = polybus.App(source=shop / "polybus.toml"), []

    @app.handler("billing")
    async def billing(order: made) -> None:  # type: ignore[valid-type]
        seen.append(order)

    async with app.running():
        await app.bus.publish("orders", {"id": 7, "state": "PAID"})
        async with asyncio.timeout(20):
            while not seen:  # noqa: ASYNC110 - the bus's own tasks move
                await asyncio.sleep(0.01)
    assert (seen[0].id, seen[0].state) == (7, 2)
