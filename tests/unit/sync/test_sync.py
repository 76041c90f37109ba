"""The blocking bus on the memory backend: the same contract, from any thread."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import polybus
from polybus import Binding, Entity, SteppedClock, sync
from polybus.binding import Kind
from polybus.embedded.memory import Store
from polybus.telemetry import NoHooks, Processing, Publishing

trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="")


def make_binding(**changes: Any) -> Binding:
    queue = {"kind": Kind.QUEUE, "name": "jobs", "address": "q", "dead_letter": "q!dead", "max_attempts": 2, **changes}
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": Store()},
        queues={
            "jobs": Entity(**queue),
            "ordered": Entity(kind=Kind.QUEUE, name="ordered", address="o", dead_letter="o!dead", ordered=True),
        },
    )


@pytest.fixture
def bus() -> Iterator[sync.SyncBus]:
    with sync.connect(make_binding()) as bus:
        yield bus


def test_publish_and_consume(bus: sync.SyncBus) -> None:
    identity = bus.publish("jobs", {"a": 1}, attributes={"region": "eu"})
    with bus.consume("jobs") as deliveries:
        delivery = next(deliveries)
        assert (delivery.id, delivery.body, delivery.attributes) == (identity, b'{"a":1}', {"region": "eu"})
        assert (delivery.attempt, delivery.source, delivery.redelivered) == (1, "jobs", False)
        assert (delivery.message.content_type, delivery.ordering_key) == ("application/json", None)
        assert (delivery.settled, delivery.lost, deliveries.in_flight) == (False, False, 1)
        with delivery:
            pass
        assert delivery.settled
        assert repr(delivery).startswith("SyncDelivery(source='jobs'")
        assert deliveries.receive(timeout=0.01) is None
    assert bus.stats("jobs") == polybus.Stats(0, 0, 0, 0, None)
    assert (bus.backend, bus.binding.bus) == ("memory", "shop")
    assert bus.origin
    assert repr(bus).startswith("SyncBus('shop'")


def test_settling_by_hand(bus: sync.SyncBus) -> None:
    ids = bus.publish_many("jobs", ["ack", "nack", "dead"])
    with bus.consume("jobs") as deliveries:
        first, second, third = next(deliveries), next(deliveries), next(deliveries)
        first.ack()
        first.ack()
        second.nack(delay=0)
        third.dead_letter("Broken", "beyond repair")
        again = next(deliveries)
        assert (again.id, again.attempt) == (ids[1], 2)
        again.ack()
    (letter,) = bus.dead_letters("jobs").peek()
    assert (letter.message.id, letter.reason, letter.description) == (ids[2], "Broken", "beyond repair")


def test_the_block_settles_as_the_asynchronous_one_does(bus: sync.SyncBus) -> None:
    bus.publish("jobs", "x")
    with bus.consume("jobs") as deliveries:
        delivery = next(deliveries)
        with delivery:
            raise polybus.Retry("again", after=0)
        delivery = next(deliveries)
        assert delivery.attempt == 2
        with pytest.raises(OSError, match="broken"), delivery:
            raise OSError("broken")
    (letter,) = bus.dead_letters("jobs").peek()
    assert letter.reason == "OSError"


def test_operating(bus: sync.SyncBus) -> None:
    bus.publish_many("jobs", ["a", "b"])
    assert [peeked.message.body for peeked in bus.peek("jobs")] == [b"a", b"b"]
    with bus.consume("jobs") as deliveries:
        for _ in range(2):
            next(deliveries).dead_letter("Later")
    told: list[int] = []
    letters = bus.dead_letters("jobs")
    assert letters.redrive(match=lambda message: message.body == b"a", progress=told.append) == 1
    assert told[-1] == 1
    assert bus.stats("jobs").waiting == 1
    assert bus.purge("jobs") == 1
    assert letters.purge() == 1
    bus.ping()
    assert bus.describe("jobs")["name"] == "jobs"
    assert polybus.Feature.PEEK in bus.features("jobs")
    assert bus.raw("jobs") is not None


def test_outcomes_and_errors_are_those_of_the_bus(bus: sync.SyncBus) -> None:
    sent, fault = bus.publish_many("jobs", [b"small", b"x" * 11_000_000], outcomes=True)
    assert isinstance(sent, polybus.Sent)
    assert isinstance(fault, polybus.Fault)
    with pytest.raises(polybus.PublishFailed):
        bus.publish_many("jobs", [b"x" * 11_000_000])
    with pytest.raises(polybus.BindingError, match="nothing named 'nowhere'"):
        bus.publish("nowhere", b"")
    with pytest.raises(polybus.BindingError, match="nothing named 'nowhere'"):
        bus.consume("nowhere")
    with pytest.raises(TypeError, match="takes an iterable of bodies, and was given one, dict"):
        bus.publish_many("jobs", {"a": 1})


def test_blocked_keys_are_listed_and_resumed_together(bus: sync.SyncBus) -> None:
    for key in ("a", "b"):
        with pytest.raises(polybus.PublishFailed):
            bus.publish("ordered", b"x" * 11_000_000, ordering_key=key)
    assert sorted(bus.blocked("ordered")) == ["a", "b"]
    bus.resume("ordered", "a")
    assert list(bus.blocked("ordered")) == ["b"]
    bus.resume("ordered")
    assert not bus.blocked("ordered")
    assert bus.publish("ordered", b"again", ordering_key="b")


def test_letters_are_found_by_what_they_are(bus: sync.SyncBus) -> None:
    ids = bus.publish_many("jobs", ["a", "b"])
    with bus.consume("jobs") as deliveries:
        for _ in ids:
            next(deliveries).dead_letter("Later")
    [letter] = bus.dead_letters("jobs").find(lambda message: message.id == ids[1])
    assert (letter.message.body, letter.reason) == (b"b", "Later")
    with pytest.raises(polybus.PublishFailed):
        bus.publish("ordered", b"x" * 11_000_000, ordering_key="k")
    with pytest.raises(polybus.PublishFailed, match="key_blocked"):
        bus.publish("ordered", b"later", ordering_key="k")
    bus.resume("ordered", "k")
    bus.publish("ordered", b"later", ordering_key="k")
    with pytest.raises(polybus.BusClosed, match="iterate inside the block"):
        next(bus.consume("jobs"))


def test_many_threads_publish_and_share_an_iterator(bus: sync.SyncBus) -> None:
    def publish(worker: int) -> list[str]:
        return [bus.publish("jobs", f"{worker}-{n}") for n in range(25)]

    def consume(deliveries: sync.SyncConsumption) -> list[str]:
        handled: list[str] = []
        for delivery in deliveries:
            with delivery:
                handled.append(delivery.id)
            if len(handled) == 20:
                break
        return handled

    with ThreadPoolExecutor(4) as pool:
        sent = {identity for ids in pool.map(publish, range(4)) for identity in ids}
        with bus.consume("jobs") as deliveries:
            handled = [identity for ids in pool.map(consume, [deliveries] * 5) for identity in ids]
    assert set(handled) == sent
    assert len(handled) == 100


def test_d2_a_lost_lease_is_told_and_the_ack_raises() -> None:
    clock = SteppedClock()

    def take_too_long(delivery: sync.SyncDelivery) -> None:
        with delivery:
            clock.advance(100)
            while not delivery.lost:  # the portal's thread sets it
                bus.ping()

    with sync.connect(make_binding(lease=30.0), clock=clock) as bus:
        bus.publish("jobs", "x")
        with bus.consume("jobs", max_lease=60, grace=0) as deliveries:
            delivery = next(deliveries)
            with pytest.raises(polybus.LeaseLost, match="its lease ended before it was settled"):
                take_too_long(delivery)
            with pytest.raises(polybus.LeaseLost):
                delivery.ack()


@pytest.mark.usefixtures("interruptible")
def test_a_wait_that_is_interrupted_loses_nothing(bus: sync.SyncBus) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with bus.consume("jobs") as deliveries:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the signal comes somewhere in it
            threading.Thread(target=interrupt).start()
            next(deliveries)
        identity = bus.publish("jobs", "x")
        delivery = next(deliveries)
        assert delivery.id == identity
        with pytest.raises(KeyboardInterrupt), delivery:
            raise KeyboardInterrupt
        again = next(deliveries)
        assert (again.id, again.settled) == (identity, False)
        again.ack()


def test_a_wait_that_timed_out_loses_nothing(bus: sync.SyncBus) -> None:
    with bus.consume("jobs") as deliveries:
        assert deliveries.receive(timeout=0.0) is None
        assert deliveries.receive(timeout=0.0) is None
        ids = bus.publish_many("jobs", ["a", "b"])
        assert [next(deliveries).id, next(deliveries).id] == ids
    assert bus.stats("jobs").waiting == 2  # not settled: given back


def test_leaving_the_block_ends_the_iteration_of_others(bus: sync.SyncBus) -> None:
    with ThreadPoolExecutor(1) as pool:
        with bus.consume("jobs") as deliveries:
            waiting = pool.submit(lambda: list(deliveries))
        assert waiting.result(20) == []


def test_draining_waits_for_a_delivery_in_another_thread(bus: sync.SyncBus) -> None:
    bus.publish("jobs", "x")
    inside, go_on = threading.Event(), threading.Event()

    def handle(deliveries: sync.SyncConsumption) -> None:
        for delivery in deliveries:
            with delivery:
                inside.set()
                assert go_on.wait(20)

    with ThreadPoolExecutor(2) as pool, bus.consume("jobs") as deliveries:
        handling = pool.submit(handle, deliveries)
        assert inside.wait(20)
        draining = pool.submit(deliveries.drain)
        bus.ping()
        assert not draining.done()
        go_on.set()
        draining.result(20)
        handling.result(20)
    assert bus.stats("jobs").waiting == 0


def test_closing() -> None:
    before = set(threading.enumerate())
    bus = sync.connect(make_binding())
    with ThreadPoolExecutor(1) as pool:
        deliveries = bus.consume("jobs")
        with deliveries:
            waiting = pool.submit(lambda: list(deliveries))
            bus.close()
            assert waiting.result(20) == []
    bus.close()
    for use in (lambda: bus.publish("jobs", "x"), bus.ping, lambda: bus.__enter__(), lambda: next(deliveries)):
        with pytest.raises(polybus.BusClosed, match="the bus is closed"):
            use()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "polybus portal"]


def test_what_is_wrong_is_raised_by_connect_and_leaves_no_thread() -> None:
    with pytest.raises(polybus.BindingError, match="no backend named 'memry'"):
        sync.connect(Binding(backend="memry", bus="shop"))
    with pytest.raises(polybus.NotDeclared):
        sync.connect(make_binding(), service="nobody")
    assert not [thread for thread in threading.enumerate() if thread.name == "polybus portal"]


def test_one_that_is_dropped_says_so() -> None:
    with pytest.warns(ResourceWarning, match=r"SyncBus\('shop'.* was not closed"):
        sync.connect(make_binding())


def test_what_hooks_set_for_a_handler_is_set_in_the_block() -> None:
    class Tracing(NoHooks):
        def inject(self, event: Publishing) -> dict[str, str]:
            return {"trace": trace.get()}

        @contextmanager
        def processing(self, event: Processing) -> Iterator[None]:
            token = trace.set(f"within {event.message.attributes['trace']}")
            try:
                yield
            finally:
                trace.reset(token)

    with sync.connect(make_binding(), hooks=[Tracing()]) as bus:
        token = trace.set("caller")
        bus.publish("jobs", "x")
        trace.reset(token)
        with bus.consume("jobs") as deliveries:
            with next(deliveries):
                assert trace.get() == "within caller"
                bus.publish("jobs", "y")
            assert trace.get() == ""
            with next(deliveries) as second:
                assert second.attributes["trace"] == "within caller"


async def test_a_face_over_an_open_bus_serves_its_threads() -> None:
    async with polybus.connect(make_binding()) as bus:
        face = sync.over(bus)
        assert await asyncio.to_thread(face.publish, "jobs", "x")
        assert (await bus.stats("jobs")).waiting == 1
        with pytest.raises(RuntimeError, match="await the asynchronous bus there"):
            face.publish("jobs", "y")
        await asyncio.to_thread(face.close)
        with pytest.raises(polybus.BusClosed):
            await asyncio.to_thread(face.ping)
        await bus.ping()


def run_script(tmp_path: Path, body: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, polybus, polybus.sync\n"
        "from polybus.binding import Binding, Entity, Kind\n"
        "queue = Entity(kind=Kind.QUEUE, name='jobs', address='q', dead_letter='d')\n"
        "binding = Binding(backend='memory', bus='shop', queues={'jobs': queue})\n"
        f"{body}\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_that_ends_without_closing_ends(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        "bus = polybus.sync.connect(binding)\n"
        "bus.publish_many('jobs', ['a', 'b'])\n"
        "deliveries = bus.consume('jobs').__enter__()\n"
        "print(next(deliveries).body.decode(), flush=True)\n",
    )
    assert out == "a\n"


def test_use_after_a_fork_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        "with polybus.sync.connect(binding) as bus:\n"
        "    bus.publish('jobs', 'a')\n"
        "    with bus.consume('jobs') as deliveries:\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            for use in (lambda: bus.publish('jobs', 'b'), lambda: next(deliveries)):\n"
        "                try:\n"
        "                    use()\n"
        "                except polybus.BusClosed as error:\n"
        "                    print('child:', error, flush=True)\n"
        "            with polybus.sync.connect(binding) as own:\n"
        "                print('own:', bool(own.publish('jobs', 'c')), flush=True)\n"
        "        else:\n"
        "            assert os.waitpid(child, 0)[1] == 0\n"
        "            next(deliveries).ack()\n"
        "            print('parent:', bus.stats('jobs').waiting, flush=True)\n",
    )
    lines = out.splitlines()
    assert len(lines) == 4
    for line in lines[:2]:
        assert line.startswith("child: this bus was connected in process ")
        assert line.endswith("call polybus.sync.connect() here, after the fork")
    assert lines[2:] == ["own: True", "parent: 0"]
