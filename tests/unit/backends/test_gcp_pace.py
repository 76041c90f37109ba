"""What a service takes of a Pub/Sub subscription goes by its handlers' pace, in order or not, through the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import polybus
from polybus.binding import Binding
from polybus.clouds.gcp.local import realise
from polybus.clouds.gcp.plan.resources import GcpSettings, plan
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.topology.file import loads

TOPOLOGY = '[bus]\nname = "shop"\n[queues.jobs]\n[queues.keyed]\nordered = true\n'
BOUND = 30.0


@pytest.fixture
def binding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Binding]:
    with running_in_thread(PubsubServer(project="shop-prod")) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        planned = plan(loads(TOPOLOGY, source="polybus.toml"), GcpSettings(project="shop-prod"))
        yield realise(planned, endpoint=f"{server.host}:{server.port}", project="shop-prod")


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_what_slow_handlers_have_no_time_for_is_left_to_others(binding: Binding, name: str) -> None:
    """Four neighbours of what two handlers have are nowhere else, and were never given back."""
    both, go_on = asyncio.Event(), asyncio.Event()
    begun: list[polybus.Delivery] = []

    async def handle(delivery: polybus.Delivery) -> None:
        begun.append(delivery)
        if len(begun) == 2:
            both.set()
        await go_on.wait()

    async with polybus.connect(binding) as bus, asyncio.timeout(BOUND):
        for number in range(6):
            await bus.publish(name, f"{number}", ordering_key=f"k{number}" if name == "keyed" else None)
        consumer = bus.consumer(name, handle, options=polybus.ConsumerOptions(concurrency=2))
        running = asyncio.create_task(consumer.run())
        await both.wait()
        async with polybus.connect(binding) as other, other.consume(name) as deliveries:
            attempts = []
            for _ in range(4):
                async with await anext(aiter(deliveries)) as delivery:
                    attempts.append(delivery.attempt)
        assert attempts == [1] * 4
        assert len(begun) == 2
        go_on.set()
        await consumer.drain()
        await running
