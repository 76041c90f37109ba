"""`polybus.testing.run`: a service developer's own tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import polybus
from polybus.errors import BindingError, NotDeclared
from polybus.testing import run

TOPOLOGY = """
[bus]
name = "shop"

[topics.orders]

[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
max_attempts = 2

[queues.receipts]

[services.billing]
consumes = ["billing"]
publishes = ["receipts"]
"""


@dataclass
class Order:
    number: int


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    path = tmp_path / "polybus.toml"
    path.write_text(TOPOLOGY)
    return path


def make_app(**options: Any) -> tuple[polybus.App, list[int]]:
    app = polybus.App("billing", **options)
    seen: list[int] = []

    @app.handler("billing")
    async def bill(order: Order, delivery: polybus.Delivery) -> None:
        seen.append(order.number)
        if order.number == 13:
            raise polybus.Retry(after=60)
        if order.number == 0:
            raise polybus.DeadLetter("Unpayable", "nothing to pay")
        await app.bus.publish("receipts", {"order": order.number})

    return app, seen


async def test_what_handlers_publish_is_seen(topology: Path) -> None:
    app, seen = make_app()
    async with run(app, topology) as t:
        await t.publish("orders", Order(1), attributes={"region": "eu"})
        await t.publish("orders", Order(2), attributes={"region": "us"})
        await t.publish("orders", Order(3), attributes={"region": "eu"})
        await t.idle()
        assert seen == [1, 3]
        assert [message.body for message in t.published("receipts")] == [b'{"order":1}', b'{"order":3}']
        assert len(t.published("orders")) == 3
        assert await t.dead_letters("billing") == []


async def test_only_advance_moves_the_clock(topology: Path) -> None:
    app, seen = make_app()
    async with run(app, topology) as t:
        await t.publish("orders", Order(13), attributes={"region": "eu"})
        await t.idle()
        assert seen == [13]
        await t.advance(59)
        assert seen == [13]
        await t.advance(2)
        assert seen == [13, 13]
        [letter] = await t.dead_letters("billing")
        assert letter.reason == "Retry"


async def test_dead_letters_have_their_reason(topology: Path) -> None:
    app, _ = make_app()
    async with run(app, topology) as t:
        await t.publish("orders", Order(0), attributes={"region": "eu"})
        await t.publish("orders", b"not an order", attributes={"region": "eu"})
        await t.idle()
        letters = await t.dead_letters("billing")
        assert [letter.reason for letter in letters] == ["Unpayable", "DecodeError"]


async def test_handlers_in_threads_are_waited_for(topology: Path) -> None:
    app = polybus.App()
    done: list[bytes] = []

    @app.handler("billing")
    def handle(body: bytes) -> None:
        time.sleep(0.05)  # what a blocking handler does
        done.append(body)

    async with run(app, topology) as t:
        for number in range(3):
            await t.publish("orders", b"%d" % number, attributes={"region": "eu"})
        await t.idle()
        assert sorted(done) == [b"0", b"1", b"2"]


async def test_the_lifespan_runs(topology: Path) -> None:
    app, _ = make_app()
    steps: list[str] = []

    @app.lifespan
    async def lifespan(app: polybus.App) -> AsyncIterator[None]:
        steps.append("start")
        yield
        steps.append("end")

    async with run(app, topology):
        assert steps == ["start"]
    assert steps == ["start", "end"]


async def test_the_service_is_held_to_its_declaration(topology: Path) -> None:
    app, _ = make_app()
    async with run(app, topology):
        with pytest.raises(NotDeclared, match="orders"):
            await app.bus.publish("orders", b"")


async def test_a_handler_that_hangs_is_cancelled_at_the_end(topology: Path) -> None:
    app = polybus.App()
    ended: list[bool] = []

    @app.handler("billing")
    async def handle(body: bytes, delivery: polybus.Delivery) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with run(app, topology) as t:
        await t.publish("orders", b"", attributes={"region": "eu"})
        await t.clock.settle()
    assert ended == [True]


async def test_the_apps_own_source_is_used(topology: Path) -> None:
    app, seen = make_app(source=topology)
    async with run(app) as t:
        await t.publish("orders", Order(1), attributes={"region": "eu"})
        await t.idle()
    assert seen == [1]


async def test_the_topology_is_found_upward(topology: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = topology.parent / "deeper"
    below.mkdir()
    monkeypatch.chdir(below)
    app, seen = make_app()
    async with run(app) as t:
        await t.publish("orders", Order(1), attributes={"region": "eu"})
        await t.idle()
    assert seen == [1]
    assert not (topology.parent / ".polybus").exists()


async def test_without_a_topology_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app, _ = make_app()
    with pytest.raises(BindingError, match=r"polybus\.toml"):
        async with run(app):
            pass


async def test_the_fixture_gives_run(topology: Path, polybus_run: Callable[..., Any]) -> None:
    app, seen = make_app()
    async with polybus_run(app, topology) as t:
        await t.publish("orders", Order(1), attributes={"region": "eu"})
        await t.idle()
    assert seen == [1]
