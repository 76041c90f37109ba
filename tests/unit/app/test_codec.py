"""Codecs: messages of other content types than JSON, as an app reads them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import polybus
from polybus import App
from polybus.cloudevents import CloudEvent
from polybus.codec import MessagePack, encoded
from polybus.topology.file import loads

SECRET = "4111111111111111"


@dataclasses.dataclass
class Order:
    id: int
    picture: bytes = b""


class Shout:
    content_type = "text/shout"

    def encode(self, value: Any) -> bytes:
        return f"{value.id}!".encode()

    def decoder(self, annotation: Any) -> Callable[[bytes], Any]:
        if annotation is not Order:
            raise TypeError(f"{annotation} can't be shouted")
        return lambda body: Order(int(body.removesuffix(b"!")))


def app_of(name: str, **given: Any) -> App:
    return App(source=loads(f'[bus]\nname = "{name}"\n[queues.jobs]\n', source="polybus.toml"), **given)


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - the bus's own tasks move
            await asyncio.sleep(0)


async def test_each_message_is_read_by_the_codec_of_its_content_type() -> None:
    app, seen = app_of("codecs", codecs=[MessagePack(), Shout()]), []

    @app.handler("jobs")
    async def read(order: Order) -> None:
        seen.append(order)

    async with app.running():
        await app.bus.publish("jobs", Order(1, b"\x00"))
        await app.bus.publish("jobs", encoded(Order(2, b"\xff"), MessagePack()))
        await app.bus.publish("jobs", encoded(Order(3), Shout()))
        await until(lambda: len(seen) == 3)
    assert sorted(seen, key=lambda order: order.id) == [Order(1, b"\x00"), Order(2, b"\xff"), Order(3)]


async def test_what_a_codec_can_not_read_is_a_dead_letter_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    app = app_of("refusing", codecs=[MessagePack()])

    @app.handler("jobs")
    async def read(order: Order) -> None: ...

    async with app.running():
        await app.bus.publish("jobs", encoded({"id": SECRET}, MessagePack()))
        letters: list[polybus.Peeked] = []
        async with asyncio.timeout(10):
            while not letters:
                letters = [letter async for letter in app.bus.dead_letters("jobs").peek()]
    assert letters[0].description == "the body is not a valid Order as application/msgpack"
    assert SECRET not in caplog.text


async def test_data_of_events_is_read_by_codecs_where_their_handlers_take_it_alone() -> None:
    text = '[bus]\nname = "events"\n[queues.jobs]\nformat = "cloudevents"\n'
    app, seen = App(source=loads(text, source="polybus.toml"), codecs=[MessagePack()]), []

    @app.handler("jobs")
    async def read(order: Order) -> None:
        seen.append(order)

    async with app.running():
        await app.bus.publish("jobs", encoded(Order(2), MessagePack()))
        await app.bus.publish("jobs", CloudEvent("t", "/s", Order(3)))
        await until(lambda: len(seen) == 2)
    assert {order.id for order in seen} == {2, 3}


async def test_messages_and_bytes_come_as_they_are() -> None:
    app, seen = app_of("bytes", codecs=[Shout()]), []

    @app.handler("jobs")
    async def read(body: bytes) -> None:
        seen.append(body)

    async with app.running():
        await app.bus.publish("jobs", encoded(Order(3), Shout()))
        await until(lambda: seen)
    assert seen == [b"3!"]


async def test_a_type_that_a_codec_can_not_read_is_refused_before_anything_runs() -> None:
    app = app_of("types", codecs=[Shout()])

    @app.handler("jobs")
    async def read(body: dict[str, int]) -> None: ...

    with pytest.raises(polybus.ConfigError, match=r"read .*a codec can't read its type: .* can't be shouted"):
        async with app.running():
            pass


def in_process(order: Order) -> None: ...


async def test_a_process_of_its_own_has_no_codecs_and_says_so() -> None:
    app = app_of("processes", codecs=[MessagePack()])
    app.handler("jobs", executor="process")(in_process)
    with pytest.raises(polybus.ConfigError, match="executor='process'"):
        async with app.running():
            pass
