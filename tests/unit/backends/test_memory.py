"""What is the memory backend's own: stores that drivers share."""

from __future__ import annotations

import asyncio
import gc

import msgspec
import pytest

from polybus.clock import ManualClock
from polybus.driver import Ack, Outgoing
from polybus.embedded.memory import Store, driver, reset
from polybus.errors import BackendError, BindingError, Fault, FaultKind
from polybus.message import Message

from .conftest import Rig, bodies, small_bus, source, take


@pytest.fixture(autouse=True)
def _forget() -> None:
    reset()


async def test_drivers_share_a_store_by_the_bus_or_by_name() -> None:
    clock = ManualClock()
    named = {"store": "one"}
    rigs = [Rig(binding, driver(binding, clock), clock) for binding in (small_bus("memory", named),) * 2]
    other = small_bus("memory", {})
    apart = Rig(other, driver(other, clock), clock)
    await rigs[0].publish("jobs", Message(b"a"))
    assert await take(await apart.consumer("jobs")) == []
    assert bodies(await take(await rigs[1].consumer("jobs"))) == [b"a"]


async def test_reset_forgets() -> None:
    binding = small_bus("memory", {})
    clock = ManualClock()
    await Rig(binding, driver(binding, clock), clock).publish("jobs", Message(b"a"))
    reset()
    assert await take(await Rig(binding, driver(binding, clock), clock).consumer("jobs")) == []
    store = Store()
    binding = small_bus("memory", {"store": store})
    kept = Rig(binding, driver(binding, clock), clock)
    store.reset()
    with pytest.raises(BackendError) as caught:
        await kept.publisher("jobs")
    assert kept.driver.fault(caught.value).kind is FaultKind.NOT_FOUND


@pytest.mark.parametrize(
    ("settings", "changes", "words"),
    [
        ({"store": 7}, {}, r"at \$\.settings\.store: found int"),
        ({}, {"queues": {"jobs": source("jobs", ordered=True)}}, "'jobs' was opened before as a queue"),
        ({}, {"queues": {"a": msgspec.structs.replace(source("a"), dead_letter="jobs")}}, "'jobs' is in use already"),
        ({}, {"topics": {}}, "its topic 'orders' is not in the binding"),
    ],
)
def test_a_binding_that_contradicts_is_refused(
    settings: dict[str, object], changes: dict[str, object], words: str
) -> None:
    clock = ManualClock()
    driver(small_bus("memory", {}), clock)
    binding = msgspec.structs.replace(small_bus("memory", settings), **changes)
    with pytest.raises(BindingError, match=words):
        driver(binding, clock)


async def test_a_later_binding_changes_filters_and_leases() -> None:
    clock = ManualClock()
    store = Store()
    binding = small_bus("memory", {"store": store})
    before = Rig(binding, driver(binding, clock), clock)
    subscriptions = {**binding.subscriptions, "eu": msgspec.structs.replace(binding.subscriptions["eu"], filter=None)}
    driver(msgspec.structs.replace(binding, subscriptions=subscriptions), clock)
    await before.publish("orders", Message(b"a"))
    assert bodies(await take(await before.consumer("eu"))) == [b"a"]


async def test_a_publish_in_another_thread_wakes_a_consumer() -> None:
    binding = small_bus("memory", {"store": Store()})
    clock = ManualClock()  # it stands still: only the publish can wake
    consumer = await Rig(binding, driver(binding, clock), clock).consumer("jobs")
    waiting = asyncio.ensure_future(consumer.receive_batch(1, wait=20))
    await clock.settle()
    publishing = Rig(binding, driver(binding, clock), clock).publish("jobs", Message(b"a"))
    await asyncio.wait_for(asyncio.to_thread(asyncio.run, publishing), 30)
    assert bodies(await asyncio.wait_for(waiting, 30)) == [b"a"]


async def test_settled_messages_leave_nothing_behind() -> None:
    class Marker(bytes):
        alive = 0

        def __init__(self, *_: object) -> None:
            Marker.alive += 1

        def __del__(self) -> None:
            Marker.alive -= 1

    binding = small_bus("memory", {"store": Store()})
    clock = ManualClock()
    rig = Rig(binding, driver(binding, clock), clock)
    publisher, consumer = await rig.publisher("jobs"), await rig.consumer("jobs")
    for _ in range(300):
        batch = [publisher.prepare(Outgoing(Message(Marker(b"x")))) for _ in range(50)]
        await publisher.publish_batch([one for one in batch if not isinstance(one, Fault)])
        await consumer.settle_batch([Ack(one) for one in await take(consumer, 50)])
    del batch
    gc.collect()
    assert Marker.alive < 5_000  # of 15,000 that were leased, though no lease has ended by the clock


async def test_a_receive_waits_as_long_as_it_was_told_though_one_before_it_was_answered_early() -> None:
    clock = ManualClock()
    binding = small_bus("memory", {})
    rig = Rig(binding, driver(binding, clock), clock)
    consumer = await rig.consumer("jobs")
    first = asyncio.create_task(consumer.receive_batch(1, wait=20))
    await clock.advance(5)
    await rig.publish("jobs", Message(b"a"))
    received = await first
    assert bodies(received) == [b"a"]
    await consumer.settle_batch([Ack(received[0])])
    second = asyncio.create_task(consumer.receive_batch(1, wait=20))
    await clock.advance(19.5)
    assert not second.done()
    await clock.advance(0.5)
    assert second.done()
    assert await second == []
