"""What a log line says of where it comes from."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import sys

import polybus
from polybus import testing
from polybus.app.logs import JsonFormatter, TextFormatter, at_delivery, at_service, at_source
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "shop"\n[queues.a]\n[queues.b]\n', source="polybus.toml")


def record(text: str = "hello", **more: object) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.INFO, "shop.py", 1, text, None, None)
    made.created = 1_700_000_000.9996
    vars(made).update(more)
    return made


def test_a_line_without_a_place() -> None:
    text = contextvars.Context().run(TextFormatter().format, record())
    assert text == "2023-11-14T22:13:20.999Z INFO shop: hello"
    assert json.loads(contextvars.Context().run(JsonFormatter().format, record())) == {
        "time": "2023-11-14T22:13:20.999Z",
        "level": "INFO",
        "logger": "shop",
        "message": "hello",
    }


def test_a_line_has_the_place_of_its_context_and_its_records_first() -> None:
    context = contextvars.Context()
    context.run(at_service, "shop")
    context.run(at_source, "jobs")
    assert "Z service=shop source=jobs INFO" in context.run(TextFormatter().format, record())
    context.run(at_delivery, "jobs", "m1")
    assert "Z service=shop source=jobs message=m1 INFO" in context.run(TextFormatter().format, record())
    told = json.loads(context.run(JsonFormatter().format, record(source="other", message_id="m2")))
    assert (told["service"], told["source"], told["message_id"]) == ("shop", "other", "m2")


def test_json_stays_one_line_whatever_is_in_it() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        info = sys.exc_info()
    line = JsonFormatter().format(record("a\nb \ud800", exc_info=info, total=object(), set={1}))
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == "a\nb \ud800"
    assert told["exception"].endswith("ValueError: two\nlines")
    assert told["total"].startswith("<object")


async def test_handlers_that_run_at_once_have_each_its_own_place(caplog) -> None:
    app = polybus.App()
    both = asyncio.Barrier(2)
    lines: list[str] = []

    async def log() -> None:
        await both.wait()
        lines.append(TextFormatter().format(record()))

    @app.handler("a")
    async def first(body: str) -> None:
        await log()

    @app.handler("b")
    async def second(body: str) -> None:
        await asyncio.create_task(log())

    async with testing.run(app, TOPOLOGY) as running:
        ids = [await running.publish(name, "x") for name in ("a", "b")]
        await running.idle()
    found = {name: next(line for line in lines if f"source={name} " in line) for name in ("a", "b")}
    assert f"message={ids[0]} " in found["a"]
    assert f"message={ids[1]} " in found["b"]
    assert "source=" not in TextFormatter().format(record())
