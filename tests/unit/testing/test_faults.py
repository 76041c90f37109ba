"""What is broken on demand is broken where the test says: before the backend has it, or after."""

from __future__ import annotations

import msgspec
import pytest

import polybus
from polybus.embedded.memory import Store
from polybus.embedded.plan import local_binding
from polybus.errors import Fault, FaultKind
from polybus.registry import load
from polybus.testing.faults import InjectedFault, Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.topology.file import loads

CUT = Fault(FaultKind.UNAVAILABLE, "cut")


@pytest.mark.parametrize("done", [False, True])
async def test_a_receive_is_cut_before_the_backend_has_it_or_after(done: bool) -> None:
    topology = loads('[bus]\nname = "unit"\n[queues.jobs]\n', source="polybus.toml")
    binding = msgspec.structs.replace(local_binding(topology, backend="memory"), settings={"store": Store()})
    clock = polybus.ManualClock()
    async with polybus.connect(binding, clock=clock) as bus:
        await bus.publish("jobs", "a")
        driver = FaultyDriver(load("memory")(binding, clock), clock)
        consumer = await driver.open_consumer(binding.queues["jobs"], prefetch=1, concurrency=1)
        driver.faults.cut(Operation.RECEIVE, CUT, done=done)
        with pytest.raises(InjectedFault):
            await consumer.receive_batch(1, wait=0)
        assert driver.faults.received == []  # nobody knows of it
        assert (await bus.stats("jobs")).leased == int(done)
        assert len(await consumer.receive_batch(1, wait=0)) == (0 if done else 1)
        await consumer.aclose()
        await driver.aclose()
