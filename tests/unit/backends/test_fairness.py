"""Who is next where tenants are told apart, and where keys are: nobody waits behind all that another has."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from polybus.binding import Binding
from polybus.clock import ManualClock
from polybus.driver import Ack, ConsumerDriver, Nack, Received
from polybus.embedded.memory import Store
from polybus.message import Message
from polybus.registry import load

from .conftest import Rig, small_bus

QUIET = [f"quiet-{number}" for number in range(9)]


def shared_bus(backend: str, settings: dict[str, Any], fairness_key: str | None = "tenant") -> Binding:
    """Return the small bus with a queue and a topic on which tenants are told apart."""
    binding = small_bus(backend, settings)
    change = msgspec.structs.replace
    return change(
        binding,
        topics={**binding.topics, "orders": change(binding.topics["orders"], fairness_key=fairness_key)},
        subscriptions={**binding.subscriptions, "all": change(binding.subscriptions["all"], fairness_key=fairness_key)},
        queues={**binding.queues, "jobs": change(binding.queues["jobs"], fairness_key=fairness_key)},
    )


@pytest.fixture(params=["memory", "sqlite"])
async def fair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    backend: str = request.param
    binding = shared_bus(backend, {"store": Store()} if backend == "memory" else {"path": str(tmp_path / "bus.db")})
    clock = ManualClock()
    rig = Rig(binding, load(backend)(binding, clock), clock)
    yield rig
    await rig.aclose()


def of(tenant: str, count: int = 1) -> list[Message]:
    return [Message(f"{tenant} {number}".encode(), {"tenant": tenant} if tenant else {}) for number in range(count)]


def tenant(received: Received[Any]) -> str:
    return received.message.attributes.get("tenant", "")


async def take(consumer: ConsumerDriver[Any], count: int) -> list[Received[Any]]:
    return list(await consumer.receive_batch(count, wait=0))


@pytest.mark.parametrize("where", ["jobs", "orders"])
async def test_what_is_quiet_waits_for_one_message_of_each_other(fair: Rig, where: str) -> None:
    await fair.publish(where, *of("noisy", 500))
    consumer = await fair.consumer("jobs" if where == "jobs" else "all")
    await take(consumer, 10)
    await fair.publish(where, *[message for name in QUIET for message in of(name)])
    seen = [tenant(received) for _ in range(11) for received in await take(consumer, 1)]
    assert set(QUIET) <= set(seen), seen


@pytest.mark.parametrize("count", [1, 7, 10, 32])
async def test_everyone_has_as_much_as_anyone_while_all_have_enough(fair: Rig, count: int) -> None:
    names = [*QUIET, "", "Zürich \x00", "-"]
    await fair.publish("jobs", *[message for name in names for message in of(name, 100)])
    consumer = await fair.consumer("jobs")
    seen = Counter[str]()
    while sum(seen.values()) < 480:
        received = await take(consumer, count)
        seen.update(tenant(each) for each in received)
        assert len(received) == count
        await consumer.settle_batch([Ack(each) for each in received])
        assert max(seen.values()) - min(seen[name] for name in names) <= 2 * max(1, count // len(names) + 1)


async def test_within_a_tenant_what_came_first_is_first_and_what_comes_back_too(fair: Rig) -> None:
    await fair.publish("jobs", *of("a", 3), *of("b", 1))
    consumer = await fair.consumer("jobs")
    first, other = await take(consumer, 2)
    assert [first.message.body, other.message.body] == [b"a 0", b"b 0"]
    await consumer.settle_batch([Nack(first)])
    assert [each.message.body for each in await take(consumer, 3)] == [b"a 0", b"a 1", b"a 2"]
    await fair.clock.advance(fair.entity("jobs").lease + 1)
    assert sorted(each.message.body for each in await take(consumer, 10)) == [b"a 0", b"a 1", b"a 2", b"b 0"]


async def test_what_expires_or_is_purged_leaves_nothing_of_its_tenant(fair: Rig) -> None:
    await fair.publish("jobs", *of("a", 3), *of("b", 1))
    admin = await fair.admin()
    assert await admin.purge(fair.entity("jobs")) == 4
    await fair.publish("jobs", *of("a", 1))
    await fair.clock.advance(fair.entity("jobs").retention + 1)
    consumer = await fair.consumer("jobs")
    assert await take(consumer, 10) == []
    await fair.publish("jobs", *of("b", 1), *of("a", 1))
    assert sorted(tenant(each) for each in await take(consumer, 10)) == ["a", "b"]


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize(("before", "after"), [(None, "tenant"), ("tenant", None), ("tenant", "region")])
async def test_what_waits_is_delivered_whatever_was_declared_before(
    backend: str, before: str | None, after: str | None, tmp_path: Path
) -> None:
    settings = {"store": Store()} if backend == "memory" else {"path": str(tmp_path / "bus.db")}
    clock = ManualClock()
    for key in (before, after):
        binding = shared_bus(backend, settings, key)
        rig = Rig(binding, load(backend)(binding, clock), clock)
        await rig.publish("jobs", *of("a", 2), *of("b", 2))
        if key == after:
            consumer = await rig.consumer("jobs")
            found = [each.message.body for _ in range(8) for each in await take(consumer, 3)]
            assert sorted(found) == sorted([b"a 0", b"a 1", b"b 0", b"b 1"] * 2)
        await rig.aclose()


async def test_no_ordering_key_is_passed_over_for_others_that_have_more(rig: Rig) -> None:
    """Seven keys for ten places: two each would leave the last two without any, each time again."""
    keys = [f"key-{number}" for number in range(7)]
    await rig.publish("lines", *[Message(b"", {}, key) for _ in range(40) for key in keys])
    consumer = await rig.consumer("lines")
    seen = Counter[str]()
    for _ in range(6):
        received = await take(consumer, 10)
        seen.update(each.group or "" for each in received)
        await consumer.settle_batch([Ack(each) for each in received])
    assert min(seen[key] for key in keys) >= 4, seen
