"""CloudEvents in and out, where no cloud makes a difference; tests/conformance/test_contracts.py has the rest."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

import polybus
from polybus import App, DecodeError, Message
from polybus.body import decoder
from polybus.cloudevents import CloudEvent
from polybus.topology.file import loads

TOPOLOGY = """
[bus]
name = "{name}"
[queues.jobs]
format = "{format}"
[queues.other]
[services.shop]
publishes = ["jobs"]
consumes = ["jobs"]
"""
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def topology(name: str, form: str = "cloudevents") -> Any:
    return loads(TOPOLOGY.format(name=name, format=form), source="polybus.toml")


async def first(bus: polybus.Bus, source: str = "jobs") -> Message:
    async with asyncio.timeout(10), bus.consume(source) as deliveries:
        async for delivery in deliveries:
            async with delivery:
                return delivery.message
    raise AssertionError


async def test_what_nobody_says_is_filled_in() -> None:
    async with polybus.connect(topology("filled"), service="shop") as bus:
        identity = await bus.publish("jobs", {"id": 7}, attributes={"note": "x"})
        message = await first(bus)
    assert message.attributes.pop("ce-time")[-1] == "Z"  # type: ignore[attr-defined]
    assert message.attributes == {
        "note": "x",
        "ce-specversion": "1.0",
        "ce-id": identity,
        "ce-type": "jobs",
        "ce-source": "/filled/shop",
    }
    assert (message.body, message.content_type) == (b'{"id":7}', "application/json")


@pytest.mark.parametrize(
    ("body", "field", "data"),
    [({"a": 1}, "data", {"a": 1}), ("plain text", "data", "plain text"), (b"\x00\xff", "data_base64", "AP8=")],
)
async def test_structured_mode_has_data_as_its_content_type_asks(body: object, field: str, data: object) -> None:
    async with polybus.connect(topology(f"structured{field}{type(body).__name__}", "cloudevents-structured")) as bus:
        await bus.publish("jobs", body)
        message = await first(bus)
    assert json.loads(message.body)[field] == data
    back = decoder(CloudEvent[dict[str, int] if isinstance(body, dict) else type(body)])(message)  # type: ignore[misc]
    assert back.data == body


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-structured"])
async def test_an_event_that_is_passed_on_stays_as_it_is(form: str, tmp_path: Path) -> None:
    """What its contract says is held to its data still, though that is within another body."""
    (tmp_path / "order.json").write_text('{"type": "object", "properties": {"id": {"type": "integer"}}}')
    text = TOPOLOGY.format(name=f"passed{form}", format=form).replace(
        "[queues.other]", f'schema = "{tmp_path}/order.json"'
    )
    async with polybus.connect(loads(text, source="polybus.toml")) as bus:
        await bus.publish("jobs", {"id": 7}, attributes={"type": "t", "source": "/a"})
        once = await first(bus)
        await bus.publish("jobs", once)
        again = await first(bus)
        wrong = Message(once.body.replace(b'"id":7', b'"id":"7"'), once.attributes, content_type=once.content_type)
        with pytest.raises(polybus.PublishFailed):
            await bus.publish("jobs", wrong)
    assert dict(again.attributes) == dict(once.attributes)
    assert again.body == once.body


async def test_a_handler_of_messages_gets_them_as_they_came() -> None:
    app, seen = App(source=topology("messages", "cloudevents-structured")), []

    @app.handler("jobs")
    async def look(message: Message) -> None:
        seen.append(message)

    async with app.running():
        await app.bus.publish("jobs", {"id": 7})
        async with asyncio.timeout(10):
            while not seen:  # noqa: ASYNC110 - the bus's own tasks move
                await asyncio.sleep(0)
    assert seen[0].content_type == "application/cloudevents+json"


def in_process(body: dict[str, int]) -> None: ...


async def test_a_handler_in_a_process_is_refused_where_it_would_see_the_event() -> None:
    app = App(source=topology("process"))
    app.handler("jobs", executor="process")(in_process)
    with pytest.raises(polybus.ConfigError, match=r"in_process .*CloudEvent"):
        async with app.running():
            pass


@pytest.mark.parametrize("name", ["Region", "a-b", "é", "type", "data"])
async def test_extensions_have_the_names_that_events_allow(name: str) -> None:
    async with polybus.connect(topology("names")) as bus:
        with pytest.raises(ValueError, match="no name of an extension"):
            await bus.publish("jobs", CloudEvent("t", "/s", {}, extensions={name: "x"}))


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (Message(b"{}"), "is no CloudEvent"),
        (Message(b"[1]"), "is no CloudEvent"),
        (Message(b"\xff{"), "is no CloudEvent"),
        (Message(b"{}", {"ce-specversion": "0.3", "ce-id": "1", "ce-type": "t", "ce-source": "s"}), "specversion"),
        (Message(b"{}", {"ce-specversion": "1.0", "ce-id": "1"}), "no source and no type"),
        (Message(json.dumps({**EVENT, "type": ""}).encode()), "no type"),
        (Message(json.dumps({**EVENT, "type": None}).encode()), "no type"),
        (Message(json.dumps({**EVENT, "specversion": "2.0"}).encode()), "specversion"),
        (Message(json.dumps({**EVENT, "data_base64": "?"}).encode()), "no base64"),
        (Message(json.dumps({**EVENT, "time": "yesterday", "data": {}}).encode()), "no timestamp"),
        (Message(json.dumps({**EVENT, "data": {"a": "x"}}).encode()), r"Expected `int`, got `str` at \$\[\.\.\.\]"),
        (Message(b"{}", content_type="application/cloudevents+json"), "is missing"),
        (Message(b"[]", content_type="application/cloudevents-batch+json"), "can't be read"),
        (Message(b"", content_type="application/cloudevents+avro"), "can't be read"),
    ],
)
def test_what_is_no_event_is_said_to_be_none(message: Message, found: str) -> None:
    with pytest.raises(DecodeError, match=found):
        decoder(CloudEvent[dict[str, int]])(message)


def test_an_event_without_a_type_of_its_data_has_it_as_json() -> None:
    event = decoder(CloudEvent)(Message(json.dumps({**EVENT, "data": [1]}).encode()))
    assert event.data == [1]
    binary = {**EVENT, "datacontenttype": "image/png", "data_base64": base64.b64encode(b"\x89").decode()}
    assert decoder(CloudEvent[bytes])(Message(json.dumps(binary).encode())).data == b"\x89"
