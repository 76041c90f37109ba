"""What is Redis's own: what is refused, what other programs do to the keys, and a server that is full."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import redis.asyncio
from redis import exceptions

import polybus
from polybus.binding import Binding
from polybus.bus.bus import Bus
from polybus.clock import SystemClock
from polybus.driver import Ack, Outgoing, Prepared
from polybus.errors import FaultKind, PolybusError, UnsupportedFeature
from polybus.message import Message
from polybus.plan.check import check
from polybus.topology.file import loads
from polybus_redis.driver import RedisDriver
from polybus_redis.local import LOCAL, RedisServer
from polybus_redis.planning import REDIS

SHOP = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[queues.jobs]
ordered = true
"""


class Shop:
    """A server, what is on it, and a bus."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.client = redis.asyncio.from_url(server.url, protocol=2, decode_responses=True)
        self.binding = self.realise(SHOP)

    def realise(self, text: str) -> Binding:
        return LOCAL.realise(REDIS.plan(loads(text, source="shop.toml")), self.server)

    def key(self, name: str) -> str:
        return f"polybus:{{shop}}:{name}"

    async def taken(self, bus: Bus, name: str, count: int) -> list[str]:
        found = []
        async with bus.consume(name) as deliveries:
            async for delivery in deliveries:
                found.append(delivery.message.body.decode())
                await delivery.ack()
                if len(found) == count:
                    break
        return found


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    server = RedisServer("127.0.0.1", 0, tmp_path)
    await server.start()
    try:
        shop = Shop(server)
        yield shop
        await shop.client.aclose()
    finally:
        await server.stop()


def test_what_redis_can_not_do_is_refused_and_what_differs_is_said() -> None:
    text = SHOP + (
        '[topics.theirs]\nexisting = "t"\n[topics.wide]\nmax_message_size = "65MiB"\n[subscriptions.call]\n'
        'topic = "orders"\npush = { https = "https://x.example/" }\n[services.web]\npublishes = ["orders"]\n[alarms]\n'
    )
    topology = loads(text, source="shop.toml")
    found = {finding.path: finding.severity.value for finding in check(topology, "redis")}
    assert found == {
        "$.topics.theirs.existing": "error",
        "$.topics.wide.max_message_size": "error",
        "$.subscriptions.call.push": "error",
        "$.alarms": "note",
        "$.services": "note",
    }
    with pytest.raises(UnsupportedFeature, match="Redis calls nobody"):
        REDIS.plan(topology)


@pytest.mark.parametrize(("setting", "value"), [("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")])
async def test_a_publisher_refuses_a_server_that_may_lose_what_it_accepts(shop: Shop, setting: str, value: str) -> None:
    await shop.client.config_set(setting, value)
    async with polybus.connect(shop.binding) as bus:
        with pytest.raises(PolybusError, match="redis may lose what it accepts"):
            await bus.publish("jobs", b"x", ordering_key="k")
    anyway = msgspec.structs.replace(shop.binding, settings={**shop.binding.settings, "durability": "none"})
    async with polybus.connect(anyway) as bus:
        await bus.publish("jobs", b"x", ordering_key="k")


async def test_a_full_server_refuses_what_is_published_and_gives_out_what_it_has(shop: Shop) -> None:
    driver = RedisDriver(shop.binding, SystemClock())
    async with polybus.connect(shop.binding) as bus:
        await bus.publish("jobs", b"before", ordering_key="k")
        await shop.client.config_set("maxmemory", 1)
        publisher = await driver.open_publisher(shop.binding.target("jobs"))
        prepared = publisher.prepare(Outgoing(Message(b"after", {}, "k", "1")))
        assert isinstance(prepared, Prepared)
        with pytest.raises(exceptions.OutOfMemoryError) as caught:
            await publisher.publish_batch([prepared])
        assert driver.fault(caught.value).kind is FaultKind.THROTTLED  # tried again, until there is room
        assert await shop.taken(bus, "jobs", 1) == ["before"]
    await driver.aclose()


async def test_a_first_of_its_key_that_another_program_deletes_frees_the_key(shop: Shop) -> None:
    async with polybus.connect(shop.binding) as bus:
        for body in (b"first", b"second"):
            await bus.publish("jobs", body, ordering_key="k")
        assert (await bus.stats("jobs")).waiting == 2
        [[first, _]] = await shop.client.xrange(shop.key("jobs"), count=1)
        await shop.client.xdel(shop.key("jobs"), first)
        assert await shop.taken(bus, "jobs", 1) == ["second"]


async def test_a_topic_keeps_what_a_subscription_has_not_taken_and_nothing_else(shop: Shop) -> None:
    async with polybus.connect(shop.binding) as bus:
        for region in ("eu", "us", "eu"):
            await bus.publish("orders", region, attributes={"region": region})
        assert await shop.client.xlen(shop.key("orders")) == 3
        assert await shop.taken(bus, "billing", 2) == ["eu", "eu"]
        assert await shop.client.xlen(shop.key("orders")) <= 1  # the place that the last one reached


async def test_a_new_subscription_begins_with_what_comes_and_the_others_go_on(shop: Shop) -> None:
    async with polybus.connect(shop.binding) as bus:
        await bus.publish("orders", b"old", attributes={"region": "eu"})
        changed = shop.realise(SHOP + '[subscriptions.audit]\ntopic = "orders"\n')
        async with polybus.connect(changed) as later:
            await later.publish("orders", b"new", attributes={"region": "eu"})
            assert await shop.taken(later, "audit", 1) == ["new"]
            assert await shop.taken(later, "billing", 2) == ["old", "new"]


async def test_nothing_is_left_of_what_was_settled(shop: Shop) -> None:
    async with polybus.connect(shop.binding) as bus:
        for number in range(20):
            await bus.publish("jobs", str(number), ordering_key=f"k{number % 3}")
        assert sorted(map(int, await shop.taken(bus, "jobs", 20))) == list(range(20))
    left = {key async for key in shop.client.scan_iter(match=f"{shop.key('jobs')}*")}
    assert left <= {shop.key("jobs") + end for end in ("", ":conf", ":state", ":news", ":dead:conf")}
    assert await shop.client.xlen(shop.key("jobs")) == 0


async def test_a_publish_whose_answer_was_lost_leaves_a_second_copy_that_says_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = RedisDriver(shop.binding, SystemClock())
    publisher = await driver.open_publisher(shop.binding.target("jobs"))
    prepared = publisher.prepare(Outgoing(Message(b"once", {}, "k", "1")))
    assert isinstance(prepared, Prepared)
    run = driver.run

    async def lose(*arguments: Any) -> None:
        await run(*arguments)
        raise exceptions.ConnectionError("reset")

    monkeypatch.setattr(driver, "run", lose)
    with pytest.raises(exceptions.ConnectionError):
        await publisher.publish_batch([prepared])
    monkeypatch.undo()
    await publisher.publish_batch([prepared])
    consumer = await driver.open_consumer(shop.binding.source("jobs"), prefetch=2, concurrency=1)
    seen = []
    for _ in range(2):
        [received] = await consumer.receive_batch(2, wait=5.0)
        seen.append((received.message.id, received.redelivered, dict(received.message.attributes)))
        assert await consumer.settle_batch([Ack(received)]) == [None]
    await consumer.aclose()
    await driver.aclose()
    assert seen == [("1", False, {}), ("1", True, {})]


async def test_what_is_not_there_is_said(shop: Shop) -> None:
    await shop.client.flushall()
    async with polybus.connect(shop.binding) as bus:
        with pytest.raises(PolybusError, match="nothing is provisioned at"):
            await bus.publish("jobs", b"x", ordering_key="k")
