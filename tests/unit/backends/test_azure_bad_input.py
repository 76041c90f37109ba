"""What goes wrong on Service Bus: one clear error or a retry, as the contract says; nothing lost, nothing acked twice.

Through the bus, on a real local server over real sockets.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.amqp import AmqpAnnotatedMessage

import polybus
from polybus.binding import Binding
from polybus.clouds.azure.driver.session import FRESH
from polybus.clouds.azure.local import realise
from polybus.clouds.azure.plan.resources import AzureSettings, plan
from polybus.driver import Ack, LeaseUntil, Nack, Outgoing, Prepared
from polybus.errors import BackendError, BindingError, Fault, FaultKind, PublishFailed
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer
from polybus.registry import load
from polybus.topology.file import loads

TOPOLOGY = """\
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[subscriptions.audit]
topic = "orders"
[queues.jobs]
[queues.keyed]
ordered = true
[services.billing]
consumes = ["billing"]
[services.shop]
publishes = ["orders", "jobs"]
"""
JOBS, KEYED = "shop-jobs", "shop-keyed"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A connection that nobody closed, however it ended, is an error of the test that left it."""
    yield
    gc.collect()


@pytest.fixture
def server() -> Iterator[ServiceBusServer]:
    with running_in_thread(ServiceBusServer()) as server:
        yield server


@pytest.fixture
def binding(server: ServiceBusServer, monkeypatch: pytest.MonkeyPatch) -> Binding:
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    made = plan(loads(TOPOLOGY, source="polybus.toml"), AzureSettings())
    return realise(made, connection_string=server.connection_string(), ca_file=server.certificate)


@pytest.fixture
async def bus(binding: Binding) -> AsyncIterator[polybus.Bus]:
    async with polybus.connect(binding, publisher=polybus.PublisherOptions(deadline=5.0)) as bus:
        yield bus


async def failed(bus: polybus.Bus, target: str, **more: Any) -> polybus.Fault:
    with pytest.raises(PublishFailed) as caught:
        await bus.publish(target, "x", **more)
    [fault] = caught.value.outcomes
    assert isinstance(fault, polybus.Fault)
    return fault


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not predicate():  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.01)


# Where it is ---------------------------------------------------------------------------------------------------------


def test_a_binding_without_a_namespace_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_SERVICEBUS_CONNECTION_STRING", raising=False)
    with pytest.raises(BindingError, match=r"settings\.namespace"):
        load("azure")(Binding(backend="azure", bus="shop"), polybus.SystemClock())


def test_a_connection_string_of_a_real_namespace_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0"
    monkeypatch.setenv("AZURE_SERVICEBUS_CONNECTION_STRING", secret)
    with pytest.raises(BindingError, match="DefaultAzureCredential") as caught:
        load("azure")(Binding(backend="azure", bus="shop"), polybus.SystemClock())
    assert "c2VjcmV0" not in str(caught.value)


async def test_a_namespace_that_is_not_there_is_named(binding: Binding, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "Endpoint=sb://localhost:1;SharedAccessKeyName=k;SharedAccessKey=v;UseDevelopmentEmulator=true"
    monkeypatch.setenv("AZURE_SERVICEBUS_CONNECTION_STRING", nowhere)
    async with polybus.connect(binding) as bus:
        with pytest.raises(BackendError, match="namespace's name") as caught:
            await bus.ping()
    assert caught.value.fault.kind is FaultKind.UNAVAILABLE


async def test_a_certificate_of_a_server_that_has_ended_is_named(
    binding: Binding, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AZURE_SERVICEBUS_CA_FILE", str(tmp_path / "gone.pem"))
    async with polybus.connect(binding) as bus:
        with pytest.raises(BindingError, match=r"AZURE_SERVICEBUS_CA_FILE: .*gone\.pem: No such file.*local up"):
            await bus.stats("jobs")


@pytest.mark.parametrize("gone", [JOBS, KEYED])
async def test_an_entity_that_is_not_there_is_named(server: ServiceBusServer, bus: polybus.Bus, gone: str) -> None:
    server.entities.delete(gone)
    name = gone.removeprefix("shop-")
    with pytest.raises(BackendError) as consuming:
        async with bus.consume(name) as deliveries:
            await anext(aiter(deliveries))
    for fault in (await failed(bus, name), consuming.value.fault):
        assert fault.kind is FaultKind.NOT_FOUND
        assert gone in fault.detail
        assert "pulumi stack output" in fault.detail


# Rights --------------------------------------------------------------------------------------------------------------


async def test_a_right_that_is_missing_is_named_with_its_entity(
    server: ServiceBusServer, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.rights.put("reader", "a2V5", JOBS, ["Listen"])
    monkeypatch.setenv("AZURE_SERVICEBUS_CONNECTION_STRING", server.connection_string("reader", "a2V5"))
    async with polybus.connect(binding) as bus:
        fault = await failed(bus, "jobs")
        assert fault.kind is FaultKind.DENIED
        assert JOBS in fault.detail
        assert (await bus.stats("jobs")).waiting is None  # counts take the right to manage


async def test_a_key_that_is_wrong_is_no_identity(
    server: ServiceBusServer, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_SERVICEBUS_CONNECTION_STRING", server.connection_string(key="d3Jvbmc="))
    async with polybus.connect(binding) as bus:
        with pytest.raises(BackendError) as caught:
            await bus.ping()
    assert caught.value.fault.kind is FaultKind.UNAUTHENTICATED


# Refusals, throttling and broken connections -------------------------------------------------------------------------


async def test_what_is_throttled_is_tried_again_when_the_service_asks_for_it(
    server: ServiceBusServer, binding: Binding
) -> None:
    clock = polybus.SteppedClock()
    async with polybus.connect(binding, clock=clock) as bus:
        server.fail_next("send", "com.microsoft:server-busy", 2)
        publishing = asyncio.create_task(bus.publish("jobs", "patient"))
        while not publishing.done():
            await asyncio.sleep(0.05)
            clock.advance(1.0)
        await publishing
    assert server.entities.counts(JOBS).active == 1


async def test_what_the_service_finds_too_large_fails(server: ServiceBusServer, bus: polybus.Bus) -> None:
    server.fail_next("send", "amqp:link:message-size-exceeded")
    assert (await failed(bus, "jobs")).kind is FaultKind.TOO_LARGE


async def test_what_the_service_refuses_fails_with_its_words(server: ServiceBusServer, bus: polybus.Bus) -> None:
    server.fail_next("send", "com.microsoft:argument-error", description="Not like this.")
    fault = await failed(bus, "jobs")
    assert fault.kind is FaultKind.INVALID
    assert "Not like this." in fault.detail


async def test_a_batch_that_is_cut_off_is_sent_again_and_kept_once(server: ServiceBusServer, bus: polybus.Bus) -> None:
    server.cut_next("send")
    identities = await bus.publish_many("jobs", [b"%d" % number for number in range(50)])
    assert len(set(identities)) == 50
    assert server.entities.counts(JOBS).active == 50  # the duplicates were dropped


async def test_an_ack_whose_answer_is_cut_off_is_told_once(server: ServiceBusServer, bus: polybus.Bus) -> None:
    """It was done: the second try finds no lock any more, and the message doesn't come again."""
    await bus.publish("jobs", "x")
    async with bus.consume("jobs") as deliveries:
        delivery = await anext(aiter(deliveries))
        server.cut_next("settle")
        with pytest.raises(polybus.LeaseLost):
            await delivery.ack()
        await until(lambda: server.entities.counts(JOBS).active == 0)


async def test_consuming_goes_on_after_all_connections_broke(server: ServiceBusServer, bus: polybus.Bus) -> None:
    await bus.publish("jobs", "before")
    async with bus.consume("jobs") as deliveries:
        each = aiter(deliveries)
        delivery = await anext(each)
        server.cut_connections()
        await delivery.ack()  # by its lock, on a new link
        await bus.publish("jobs", "after")
        again = await anext(each)
        assert again.body == b"after"
        await again.ack()
    assert server.entities.counts(JOBS).active == 0


async def test_sessions_go_on_after_all_connections_broke(server: ServiceBusServer, bus: polybus.Bus) -> None:
    identities = [await bus.publish("keyed", b"%d" % number, ordering_key="k") for number in range(3)]
    seen: list[str] = []
    async with bus.consume("keyed") as deliveries:
        each = aiter(deliveries)
        first = await anext(each)
        server.cut_connections()
        with pytest.raises(polybus.LeaseLost):
            await first.ack()
        while len(seen) < 3:
            delivery = await anext(each)
            await delivery.ack()
            seen.append(delivery.id)
    assert seen == identities
    assert server.entities.counts(KEYED).active == 0


async def test_what_another_consumer_may_have_had_is_called_redelivered(
    server: ServiceBusServer, binding: Binding, bus: polybus.Bus
) -> None:
    """The service doesn't count what an owner of a session had whose connection ended: a crash, say."""
    driver = load("azure")(binding, polybus.SystemClock())
    crashed = await driver.open_consumer(binding.source("keyed"), prefetch=4, concurrency=2)
    seen = []
    for body in (b"0", b"1"):  # the second comes while the session is this consumer's already
        await bus.publish("keyed", body, ordering_key="k")
        seen += await crashed.receive_batch(1, wait=10)
    assert [(one.message.body, one.attempt) for one in seen] == [(b"0", 1), (b"1", 1)]
    assert not seen[1].redelivered
    await crashed.stop()
    server.cut_connections()
    await crashed.aclose()
    await asyncio.sleep(FRESH)  # what is younger when its session is given away is taken for new
    following = await driver.open_consumer(binding.source("keyed"), prefetch=4, concurrency=2)
    again = list(await following.receive_batch(1, wait=10))
    while len(again) < 2:
        again += await following.receive_batch(1, wait=10)
    assert [(one.message.body, one.attempt, one.redelivered) for one in again] == [(b"0", 1, True), (b"1", 1, True)]
    await following.stop()
    await following.aclose()
    await driver.aclose()


async def test_a_lock_that_is_lost_is_a_lost_lease(server: ServiceBusServer, bus: polybus.Bus) -> None:
    for name in ("jobs", "keyed"):
        await bus.publish(name, "x")
        async with bus.consume(name) as deliveries:
            each = aiter(deliveries)
            delivery = await anext(each)
            lost = "com.microsoft:message-lock-lost" if name == "jobs" else "com.microsoft:session-lock-lost"
            server.fail_next("settle", lost)
            with pytest.raises(polybus.LeaseLost):
                await delivery.ack()


# What others send ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "body", "attributes"),
    [
        (ServiceBusMessage("text"), b"text", {}),
        (AmqpAnnotatedMessage(value_body="a value"), b"a value", {}),
        (AmqpAnnotatedMessage(value_body={"a": [1, True, None, "b"]}), b'{"a":[1,true,null,"b"]}', {}),
        (AmqpAnnotatedMessage(sequence_body=[[1, "two"]]), b'[[1,"two"]]', {}),
        (AmqpAnnotatedMessage(data_body=[b"one ", b"two"]), b"one two", {}),
        (AmqpAnnotatedMessage(value_body=b"\x00\xff"), b"\x00\xff", {}),
        (AmqpAnnotatedMessage(value_body=b"plain"), b"plain", {}),
        (ServiceBusMessage(None), b"", {}),
        (AmqpAnnotatedMessage(data_body=b"x", delivery_annotations={"a": "b"}, footer={"c": "d"}), b"x", {}),
        (
            ServiceBusMessage(b"", application_properties={"n": 7, "yes": True, "real": 0.5}),
            b"",
            {"n": "7", "yes": "true", "real": "0.5"},
        ),
        (ServiceBusMessage(b"x", application_properties={"polybus": "not ours"}), b"x", {}),
    ],
)
async def test_any_kind_of_body_and_property_is_readable(
    server: ServiceBusServer, bus: polybus.Bus, message: Any, body: bytes, attributes: dict[str, str]
) -> None:
    client = ServiceBusClient.from_connection_string(server.connection_string())
    async with client, client.get_queue_sender(JOBS) as sender:
        await sender.send_messages(message)
    async with bus.consume("jobs") as deliveries:
        delivery = await anext(aiter(deliveries))
        await delivery.ack()
    assert (delivery.body, dict(delivery.attributes)) == (body, attributes)
    assert delivery.id


async def test_one_message_of_a_batch_that_is_refused_fails_alone(server: ServiceBusServer, bus: polybus.Bus) -> None:
    server.fail_next("send", "com.microsoft:argument-error", 2)  # the batch, and the first of its messages by itself
    outcomes = await bus.publish_many("jobs", [b"0", b"1", b"2"], outcomes=True)
    assert [isinstance(outcome, polybus.Sent) for outcome in outcomes] == [False, True, True]
    assert server.entities.counts(JOBS).active == 2


async def test_a_partitioned_entity_takes_its_messages_one_by_one(server: ServiceBusServer, bus: polybus.Bus) -> None:
    for name, options in ((JOBS, {}), (KEYED, {"requires_session": True})):
        server.entities.delete(name)
        server.entities.create_queue(name, QueueOptions(partitioned=True, detects_duplicates=True, **options))
    await bus.publish_many("jobs", [b"%d" % number for number in range(20)])
    await bus.publish_many("jobs", [b"%d" % number for number in range(20)])
    await bus.publish_many(
        "keyed", [polybus.Message(b"%d" % number, ordering_key=f"k{number % 3}") for number in range(20)]
    )
    assert (server.entities.counts(JOBS).active, server.entities.counts(KEYED).active) == (40, 20)


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_a_letter_goes_before_the_words_that_there_is_no_room_for(
    server: ServiceBusServer, bus: polybus.Bus, name: str
) -> None:
    await bus.publish(name, "x")
    async with bus.consume(name) as deliveries:
        delivery = await anext(aiter(deliveries))
        server.fail_next("settle", "amqp:link:message-size-exceeded")
        await delivery.dead_letter("Buried", "why " * 500)
    [letter] = [letter async for letter in bus.dead_letters(name).peek()]
    assert letter.reason == "Buried"


async def test_giving_back_what_no_handler_began_is_no_attempt_in_a_session(binding: Binding) -> None:
    driver = load("azure")(binding, polybus.SystemClock())
    source = binding.source("keyed")
    publisher = await driver.open_publisher(binding.target("keyed"))
    prepared = publisher.prepare(Outgoing(polybus.Message(b"x", ordering_key="k", id="one")))
    assert isinstance(prepared, Prepared)
    await publisher.publish_batch([prepared])
    attempts = []
    for given_back in (0, None, 1):
        consumer = await driver.open_consumer(source, prefetch=4, concurrency=2)
        [received] = await consumer.receive_batch(1, wait=10)
        attempts.append(received.attempt)
        assert await consumer.settle_batch([Nack(received, attempts=given_back)]) == [None]
        await consumer.stop()
        await consumer.aclose()
    await driver.aclose()
    assert attempts == [1, 1, 2]  # abandoning it is


async def test_what_is_settled_while_its_session_is_extended_is_not_lost(binding: Binding) -> None:
    driver = load("azure")(binding, polybus.SystemClock())
    publisher = await driver.open_publisher(binding.target("keyed"))
    prepared = publisher.prepare(Outgoing(polybus.Message(b"x", ordering_key="k", id="one")))
    assert isinstance(prepared, Prepared)
    await publisher.publish_batch([prepared])
    consumer = await driver.open_consumer(binding.source("keyed"), prefetch=4, concurrency=1)
    [received] = await consumer.receive_batch(1, wait=10)
    session, settled = received.receipt.session, []
    renew = session._renew

    async def answers_late() -> float:
        until = await renew()
        settled.extend(await consumer.settle_batch([Ack(received)]))
        return float(until)

    session._renew = answers_late
    [during] = await consumer.extend_batch([received], 60)
    session._renew = renew
    [after] = await consumer.extend_batch([received], 60)
    assert settled == [None]
    assert isinstance(during, LeaseUntil)
    assert isinstance(after, Fault)
    assert after.kind is FaultKind.LEASE_LOST
    await consumer.stop()
    await consumer.aclose()
    await driver.aclose()


async def test_what_is_here_of_a_session_doesnt_pass_a_message_of_it_that_was_lost(binding: Binding) -> None:
    driver = load("azure")(binding, polybus.SystemClock())
    publisher = await driver.open_publisher(binding.target("keyed"))
    for number in range(3):
        outgoing = Outgoing(polybus.Message(b"%d" % number, ordering_key="k", id=str(number)))
        prepared = publisher.prepare(outgoing)
        assert isinstance(prepared, Prepared)
        await publisher.publish_batch([prepared])
    consumer = await driver.open_consumer(binding.source("keyed"), prefetch=4, concurrency=1)
    [first] = await consumer.receive_batch(1, wait=10)
    [second] = await consumer.receive_batch(1, wait=10)
    assert [first.message.body, second.message.body] == [b"0", b"1"]
    consumer.lost(first)  # type: ignore[attr-defined]
    [ack] = await consumer.settle_batch([Ack(second)])
    assert ack is not None
    assert ack.kind is FaultKind.LEASE_LOST
    bodies = []
    while len(bodies) < 3:
        for received in await consumer.receive_batch(3, wait=10):
            bodies.append(received.message.body)
            assert await consumer.settle_batch([Ack(received)]) == [None]
    assert bodies == [b"0", b"1", b"2"]
    await consumer.stop()
    await consumer.aclose()
    await driver.aclose()


# Operating -----------------------------------------------------------------------------------------------------------


async def test_operators_count_look_and_purge(bus: polybus.Bus) -> None:
    await bus.publish_many("jobs", [b"0", b"1", b"2"])
    assert (await bus.stats("jobs")).waiting == 3
    assert [peeked.message.body async for peeked in bus.peek("jobs")] == [b"0", b"1", b"2"]
    await bus.purge("jobs")
    assert (await bus.stats("jobs")).waiting == 0


async def test_sessions_can_be_purged_but_not_looked_at(bus: polybus.Bus) -> None:
    await bus.publish_many("keyed", [b"0", b"1"])
    with pytest.raises(polybus.UnsupportedFeature, match="keyed"):
        [peeked async for peeked in bus.peek("keyed")]
    await bus.purge("keyed")
    assert (await bus.stats("keyed")).waiting == 0


async def test_each_subscription_redrives_its_own_copy_of_a_message(bus: polybus.Bus) -> None:
    """Through one topic, within its window for duplicates."""
    identity = await bus.publish("orders", "x", attributes={"region": "eu"})
    for name in ("billing", "audit"):
        async with bus.consume(name) as deliveries:
            await (await anext(aiter(deliveries))).dead_letter("Buried")
    for name in ("billing", "audit"):
        assert await bus.dead_letters(name).redrive() == 1
    for name in ("billing", "audit"):
        async with bus.consume(name) as deliveries:
            delivery = await anext(aiter(deliveries))
            await delivery.ack()
            assert delivery.id == identity
