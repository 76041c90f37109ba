"""Several types of messages from one source, and what becomes of what no handler can read."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

import polybus
from polybus import App, Binding, ConfigError
from polybus.embedded.plan import local_binding
from polybus.topology.file import loads

T = TypeVar("T")
TOPOLOGY = """
[bus]
name = "{name}"
[topics.orders]
[subscriptions.billing]
topic = "orders"
"""


@dataclasses.dataclass
class Placed:
    id: int


@dataclasses.dataclass
class Paid:
    id: int
    amount: float


@pytest.fixture(params=["memory", "sqlite"])
def binding(request: pytest.FixtureRequest, tmp_path: Path) -> Binding:
    topology = loads(TOPOLOGY.format(name=f"types{abs(hash(str(tmp_path)))}"), source="polybus.toml")
    return local_binding(topology, backend=request.param, path=tmp_path / "bus.db")


async def until(check: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(20):
        while not (found := await check()):  # noqa: ASYNC110 - the store's own threads move, without telling
            await asyncio.sleep(0.005)
        return found


async def until_idle(app: App) -> None:
    async def idle() -> bool:
        stats = await app.bus.stats("billing")
        return not stats.waiting and not stats.leased and not stats.delayed

    await until(idle)


async def dead(bus: polybus.Bus) -> list[polybus.Peeked]:
    return [letter async for letter in bus.dead_letters("billing").peek(1000)]


def shop(binding: Binding) -> tuple[App, list[object]]:
    app = App(source=binding)
    seen: list[object] = []

    @app.handler("billing", type="order.placed")
    async def placed(order: Placed) -> None:
        seen.append(order)

    @app.handler("billing", type="order.paid")
    def paid(order: Paid, delivery: polybus.Delivery) -> None:
        seen.append((order, delivery.attributes["type"]))

    return app, seen


async def publish(bus: polybus.Bus, body: object, kind: str | None = None) -> None:
    await bus.publish("orders", body, attributes={} if kind is None else {"type": kind})


async def test_each_type_has_a_handler_of_its_own(binding: Binding) -> None:
    app, seen = shop(binding)
    async with app.running():
        await publish(app.bus, {"id": 1}, "order.placed")
        await publish(app.bus, {"id": 1, "amount": 2.5}, "order.paid")
        await until_idle(app)
    assert sorted(map(str, seen)) == [str((Paid(1, 2.5), "order.paid")), str(Placed(1))]


async def test_versions_of_a_type_are_handled_side_by_side(binding: Binding) -> None:
    app, seen = App(source=binding), []

    @app.handler("billing", type="order.v1")
    async def first(order: Placed) -> None:
        seen.append(order)

    @app.handler("billing", type="order.v2")
    async def second(order: Paid) -> None:
        seen.append(order)

    app.types("billing", attribute="schema")
    async with app.running():
        await app.bus.publish("orders", {"id": 1}, attributes={"schema": "order.v1"})
        await app.bus.publish("orders", {"id": 2, "amount": 1}, attributes={"schema": "order.v2"})
        await until_idle(app)
    assert sorted(map(str, seen)) == [str(Paid(2, 1.0)), str(Placed(1))]


async def test_one_without_a_type_handles_all_others(binding: Binding) -> None:
    app, seen = shop(binding)

    @app.handler("billing")
    async def others(body: dict[str, Any]) -> None:
        seen.append(body)

    async with app.running():
        await publish(app.bus, {"a": 1}, "order.lost")
        await publish(app.bus, {"b": 1})
        await publish(app.bus, {"id": 3}, "order.placed")
        await until_idle(app)
    assert sorted(map(str, seen)) == [str(Placed(3)), "{'a': 1}", "{'b': 1}"]


async def test_an_unknown_type_is_a_dead_letter_that_says_so(binding: Binding) -> None:
    app, seen = shop(binding)
    async with app.running():
        await publish(app.bus, {"id": 1}, "order.lost")
        await publish(app.bus, {"id": 2})
        await until_idle(app)
        letters = await dead(app.bus)
    assert seen == []
    assert {letter.reason for letter in letters} == {"UnknownType"}
    assert {letter.description for letter in letters} == {
        "the type 'order.lost', and 'billing' has handlers for: order.paid, order.placed",
        "no attribute 'type', and 'billing' has handlers for: order.paid, order.placed",
    }


async def test_unknown_types_are_ignored_where_that_is_said(binding: Binding) -> None:
    app, seen = shop(binding)
    app.types("billing", unknown="ignore")
    async with app.running():
        for number in range(30):
            await publish(app.bus, {"id": number}, "order.lost")
        await publish(app.bus, {"id": 31}, "order.placed")
        await until_idle(app)
        assert await dead(app.bus) == []
        assert app.problem is None
    assert seen == [Placed(31)]


async def test_an_unknown_type_pauses_where_that_is_said(binding: Binding, caplog: pytest.LogCaptureFixture) -> None:
    app, _ = shop(binding)
    app.types("billing", unknown="pause")
    async with app.running():
        await publish(app.bus, {"id": 1}, "order.lost")

        async def paused() -> bool:
            return "no handler" in (app.problem or "")

        await until(paused)
        assert "the type 'order.lost'" in str(app.problem)
        assert await dead(app.bus) == []
    async with polybus.connect(binding) as bus:
        assert (await bus.stats("billing")).waiting == 1
    assert [record for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("concurrency", [1, 16])
async def test_a_wrong_deploy_stops_before_it_dead_letters_the_backlog(
    binding: Binding, caplog: pytest.LogCaptureFixture, typed: bool, concurrency: int
) -> None:
    """Nothing is lost: what came before the tenth is among the dead letters, the rest is where it was."""
    count = 200
    app = App(source=binding)

    @app.handler("billing", type="order.placed" if typed else None, concurrency=concurrency)
    async def placed(order: Paid) -> None: ...

    async with polybus.connect(binding) as bus:
        await bus.publish_many("orders", [polybus.Message(b'{"id":1}', {"type": "order.placed"})] * count)
    async with app.running():

        async def stopped() -> bool:
            return app.problem is not None and "stopped: 10 messages in a row" in app.problem

        await until(stopped)

        async def given_back() -> bool:
            stats = await app.bus.stats("billing")
            return stats.leased == 0 and stats.waiting == count - 9

        await until(given_back)
        assert len(await dead(app.bus)) == 9
        assert "is not a valid Paid" in str(app.problem)
    [told] = [record for record in caplog.records if "in a row" in record.getMessage()]
    assert told.levelno == logging.ERROR

    right, seen = App(source=binding), []

    @right.handler("billing")
    async def read(order: Placed) -> None:
        seen.append(order)

    async with right.running():
        assert await right.bus.dead_letters("billing").redrive() == 9
        await until_idle(right)
    assert len(seen) == count


async def test_batches_of_a_wrong_deploy_stop_too(binding: Binding) -> None:
    app = App(source=binding)

    @app.handler("billing", max_batch=50, max_wait=0)
    async def placed(orders: list[Paid]) -> None: ...

    async with polybus.connect(binding) as bus:
        await bus.publish_many("orders", [{"id": 1}] * 60)
    async with app.running():

        async def given_back() -> bool:
            stats = await app.bus.stats("billing")
            return app.problem is not None and stats.leased == 0 and stats.waiting == 51

        await until(given_back)
        assert "stopped: 10 messages in a row" in str(app.problem)
        assert len(await dead(app.bus)) == 9


async def test_only_a_row_of_them_stops(binding: Binding) -> None:
    app, seen = App(source=binding), []

    @app.handler("billing", undecodable=2, concurrency=1)
    async def placed(order: Placed) -> None:
        seen.append(order)

    async with app.running():
        for number in range(8):
            await publish(app.bus, {"id": number} if number % 2 else b"?")
        await until_idle(app)
        assert app.problem is None
        assert len(await dead(app.bus)) == 4
    assert len(seen) == 4


async def test_none_is_never(binding: Binding) -> None:
    app = App(source=binding)

    @app.handler("billing", undecodable=None)
    async def placed(order: Placed) -> None: ...

    async with app.running():
        await app.bus.publish_many("orders", [b"?"] * 30)
        await until_idle(app)
        assert app.problem is None
        assert len(await dead(app.bus)) == 30


def test_what_can_not_be_meant_is_refused_with_its_place(binding: Binding) -> None:
    app, _ = shop(binding)
    with pytest.raises(ConfigError, match=r"type 'order.placed' of 'billing' is handled by .*placed"):
        app.handler("billing", type="order.placed")(one)
    with pytest.raises(ConfigError, match="share one consumer"):
        app.handler("billing", type="other", concurrency=3)(one)
    with pytest.raises(ConfigError, match="the name of a type"):
        app.handler("billing", type="")(one)
    with pytest.raises(ConfigError, match="undecodable=0"):
        app.handler("other", undecodable=0)(one)
    with pytest.raises(ConfigError, match="unknown='drop'"):
        app.types("billing", unknown="drop")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_batch and types"):
        app.handler("billing", type="batched", max_batch=2)(several)
    app.handler("billing")(one)
    with pytest.raises(ConfigError, match="give each a type of messages"):
        app.handler("billing")(one)
    assert len(app.handlers) == 1


async def one(order: Placed) -> None: ...


async def several(orders: list[Placed]) -> None: ...


async def test_types_of_a_source_without_typed_handlers_are_refused(binding: Binding) -> None:
    app = App(source=binding)
    app.handler("billing")(one)
    app.types("billing")
    with pytest.raises(ConfigError, match="no handler of it has a type"):
        async with app.running():
            pass
