"""Service Bus over a network that forgets connections, holds answers up, and a machine whose clock is wrong.

Through the bus, on a real local server over real sockets. How long the driver waits is made short: what is tested is
what it does then.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from azure.servicebus._pyamqp.aio._cbs_async import CBSAuthenticator
from azure.servicebus._pyamqp.constants import CbsAuthState

import polybus
from polybus.binding import Binding
from polybus.clock import SteppedClock
from polybus.clouds.azure.driver import bounds, consume, links, senders, sessions
from polybus.clouds.azure.local import realise
from polybus.clouds.azure.plan.resources import AzureSettings, plan
from polybus.errors import FaultKind
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.topology.file import loads

from .wires import Wire

TOPOLOGY = """\
[bus]
name = "shop"
[queues.jobs]
lease = "6s"
[queues.keyed]
lease = "6s"
ordered = true
"""
KEYS: dict[str, dict[str, Any]] = {"jobs": {}, "keyed": {"ordering_key": "k"}}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A connection that nobody closed, however it ended, is an error of the test that left it."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers for a second or two, and ask a silent link soon."""
    monkeypatch.setattr(senders, "ANSWER", 1.5)
    monkeypatch.setattr(consume, "SILENCE", 1.0)
    for module in (consume, bounds):
        monkeypatch.setattr(module, "ANSWER", 1.5)
    monkeypatch.setattr(sessions, "ACCEPT", 1.0)
    monkeypatch.setattr(sessions, "OPEN", 2.0)
    monkeypatch.setattr(links, "OPEN", 2.0)
    monkeypatch.setattr(links, "CLOSE", 1.0)


class Lab:
    """A bus whose way to the server can fail, and one whose can't."""

    def __init__(
        self, server: ServiceBusServer, clock: SteppedClock, wire: Wire, bus: polybus.Bus, direct: polybus.Bus
    ) -> None:
        self.server = server
        self.clock = clock
        self.wire = wire
        self.bus = bus
        self.direct = direct

    def left(self, name: str) -> int:
        return self.server.entities.counts(f"shop-{name}").active


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def server(clock: SteppedClock) -> Iterator[ServiceBusServer]:
    with running_in_thread(ServiceBusServer(clock=clock)) as server:
        yield server


@pytest.fixture
def binding(server: ServiceBusServer, monkeypatch: pytest.MonkeyPatch) -> Binding:
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    made = plan(loads(TOPOLOGY, source="polybus.toml"), AzureSettings())
    return realise(made, connection_string=server.connection_string(), ca_file=server.certificate)


@pytest.fixture
async def lab(
    server: ServiceBusServer, clock: SteppedClock, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    way = server.connection_string()
    async with Wire(server.port).running() as wire, polybus.connect(binding, clock=clock) as direct:
        await direct.ping()
        monkeypatch.setenv("AZURE_SERVICEBUS_CONNECTION_STRING", way.replace(f":{server.port}", f":{wire.port}"))
        async with polybus.connect(binding, clock=clock, publisher=polybus.PublisherOptions(deadline=20.0)) as bus:
            yield Lab(server, clock, wire, bus, direct)


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not predicate():  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.01)


async def handle(bus: polybus.Bus, name: str, seen: list[tuple[bytes, int]]) -> None:
    """Ack what comes, and note what was ours to ack."""
    async with bus.consume(name) as deliveries:
        async for delivery in deliveries:
            with contextlib.suppress(polybus.LeaseLost):
                await delivery.ack()
                seen.append((delivery.body, delivery.attempt))


# A connection that died without a word -------------------------------------------------------------------------------


async def test_a_publish_on_a_dead_connection_is_made_on_a_new_one(lab: Lab) -> None:
    await lab.bus.publish("jobs", "before")
    lab.wire.freeze()
    await asyncio.gather(*(lab.bus.publish("jobs", f"{number}") for number in range(5)))
    assert lab.left("jobs") == 6
    assert lab.wire.made == 2


async def test_a_publish_ends_with_its_deadline_where_nothing_answers_any_more(lab: Lab, binding: Binding) -> None:
    async with polybus.connect(binding, publisher=polybus.PublisherOptions(deadline=2.0)) as bus:
        await bus.publish("jobs", "before")
        lab.wire.closed = True
        lab.wire.freeze()
        with pytest.raises(polybus.PublishFailed) as caught:
            await bus.publish("jobs", "x")
    [fault] = caught.value.faults
    assert fault.kind in (FaultKind.DEADLINE, FaultKind.TIMEOUT)


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_a_consumer_that_only_waits_notices_a_dead_connection(lab: Lab, name: str) -> None:
    seen: list[tuple[bytes, int]] = []
    consuming = asyncio.create_task(handle(lab.bus, name, seen))
    await lab.direct.publish(name, b"before", **KEYS[name])
    await until(lambda: len(seen) == 1 and lab.left(name) == 0)
    lab.wire.freeze()
    await lab.direct.publish(name, b"after", **KEYS[name])
    async with asyncio.timeout(60):
        while len(seen) == 1:  # the server has it locked for dead connections until their leases end
            await asyncio.sleep(0.1)
            lab.clock.advance(0.4)
    assert seen[-1][0] == b"after"
    assert lab.left(name) == 0
    consuming.cancel()
    await asyncio.wait([consuming])


async def test_an_ack_on_a_dead_connection_is_made_on_a_new_one(lab: Lab) -> None:
    await lab.direct.publish("jobs", "x")
    async with lab.bus.consume("jobs") as deliveries:
        delivery = await anext(aiter(deliveries))
        lab.wire.freeze()
        await delivery.ack()
    assert lab.left("jobs") == 0


async def test_a_session_ends_with_its_connection_and_comes_again(lab: Lab) -> None:
    for number in range(3):
        await lab.direct.publish("keyed", b"%d" % number, ordering_key="k")
    seen: list[bytes] = []
    async with lab.bus.consume("keyed") as deliveries:
        first = await anext(aiter(deliveries))
        lab.wire.freeze()
        with pytest.raises(polybus.LeaseLost):
            await first.ack()
        while len(seen) < 3:
            delivery = await anext(aiter(deliveries))
            assert delivery.redelivered  # the service doesn't count what an owner had whose connection ended
            await delivery.ack()
            seen.append(delivery.body)
    assert seen == [b"0", b"1", b"2"]


async def test_closing_ends_though_nothing_answers(lab: Lab, binding: Binding) -> None:
    bus = polybus.connect(binding)
    async with bus:
        await bus.publish("jobs", "x")
        await bus.publish("keyed", "x", ordering_key="k")
        consuming = [asyncio.create_task(handle(bus, name, [])) for name in ("jobs", "keyed")]
        await until(lambda: lab.left("jobs") + lab.left("keyed") == 0)
        lab.wire.closed = True
        lab.wire.freeze()
        for task in consuming:
            task.cancel()
        async with asyncio.timeout(15):
            await asyncio.wait(consuming)
            await bus.aclose()


# Answers that come late ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jobs", "keyed"])
@pytest.mark.parametrize("known", [True, False])
async def test_what_was_on_its_way_for_longer_than_its_lease_is_not_handled(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str, known: bool
) -> None:
    """`known`: messages came before, so the service's clock is."""
    monkeypatch.setattr(consume, "SILENCE", 1_000.0)
    monkeypatch.setattr(consume, "ANSWER", 60.0)
    monkeypatch.setattr(sessions, "OPEN", 60.0)
    seen: list[tuple[bytes, int]] = []
    consuming = asyncio.create_task(handle(lab.bus, name, seen))
    await until(lambda: lab.wire.made >= (2 if name == "keyed" else 1))
    if known:
        await lab.direct.publish(name, b"before", **KEYS[name])
        await until(lambda: len(seen) == 1 and lab.left(name) == 0)
    await asyncio.sleep(0.7)  # the session is let go; a link waits for the next
    lab.wire.hold()
    await lab.direct.publish(name, b"late", **KEYS[name])
    await until(lambda: lab.server.entities.counts(f"shop-{name}").active == 1)
    lab.clock.advance(9)  # a lease and a half
    lab.wire.release()
    await until(lambda: any(body == b"late" for body, _ in seen) and lab.left(name) == 0)
    # A session that was lost on its way had brought nothing yet: that was no attempt.
    assert [attempt for body, attempt in seen if body == b"late"] == [1 if name == "keyed" else 2]
    consuming.cancel()
    await asyncio.wait([consuming])


# A machine whose clock is wrong --------------------------------------------------------------------------------------


class Apart(SteppedClock):
    """The server's clock, which is right."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def time(self) -> float:
        return super().time() + self._seconds


@pytest.mark.parametrize("name", ["jobs", "keyed"])
@pytest.mark.parametrize(("seconds", "said"), [(-3_600, "3600 s ahead of"), (60, "60 s behind")])
async def test_a_wrong_clock_costs_no_lease_and_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, seconds: float, said: str
) -> None:
    caplog.set_level(logging.WARNING, "polybus")
    with running_in_thread(ServiceBusServer(clock=Apart(seconds))) as server:
        for variable, value in server.env().items():
            monkeypatch.setenv(variable, value)
        made = plan(loads(TOPOLOGY, source="polybus.toml"), AzureSettings())
        binding = await asyncio.to_thread(
            realise, made, connection_string=server.connection_string(), ca_file=server.certificate
        )
        async with polybus.connect(binding) as bus:
            for number in range(3):
                await bus.publish(name, b"%d" % number, **KEYS[name])
            seen: list[tuple[bytes, int]] = []
            consuming = asyncio.create_task(handle(bus, name, seen))
            await until(lambda: len(seen) == 3)
            consuming.cancel()
            await asyncio.wait([consuming])
    assert sorted(seen) == [(b"0", 1), (b"1", 1), (b"2", 1)]
    named = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert len(named) == 1
    assert said in named[0]


async def test_a_consumer_that_cant_connect_yet_stops_at_once(lab: Lab, binding: Binding) -> None:
    lab.wire.closed = True  # new connections are taken, and nothing is answered on them
    async with polybus.connect(binding) as bus:
        consuming = [asyncio.create_task(handle(bus, name, [])) for name in ("jobs", "keyed")]
        await until(lambda: lab.wire.made >= 3)
        for task in consuming:
            task.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait(consuming)


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_tokens_that_ran_out_at_once_cost_new_links_and_nothing_else(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A clock that was set on by hours, or a machine that slept: the library takes its links' tokens for over."""
    update = CBSAuthenticator._update_status
    tokens: set[Any] = set()
    over: set[Any] = set()

    async def updated(self: Any) -> None:
        tokens.add(self)
        await update(self)
        if self in over:
            self.auth_state = CbsAuthState.EXPIRED

    monkeypatch.setattr(CBSAuthenticator, "_update_status", updated)
    seen: list[tuple[bytes, int]] = []
    consuming = asyncio.create_task(handle(lab.bus, name, seen))
    await lab.bus.publish(name, "before", **KEYS[name])
    await until(lambda: len(seen) == 1)
    over |= tokens
    await lab.bus.publish(name, "after", **KEYS[name])
    await until(lambda: len(seen) == 2 or consuming.done())
    consuming.cancel()
    await asyncio.wait([consuming])
    assert seen == [(b"before", 1), (b"after", 1)]
