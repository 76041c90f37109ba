"""What goes wrong on Google: one clear error or a retry, as the contract says; nothing lost.

Through the bus, on a real local server over real sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgspec
import pytest

import polybus
from polybus.binding import Binding
from polybus.clouds.gcp.local import realise
from polybus.clouds.gcp.plan.resources import GcpSettings, plan
from polybus.errors import BackendError, BindingError, FaultKind, PublishFailed, UnsupportedFeature
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import free_port, running_in_thread
from polybus.topology.file import loads

from .refused import failed

PROJECT = "shop-prod"
TOPOLOGY = """\
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[queues.jobs]
"""
BOUND = 60.0


@pytest.fixture
def server() -> Iterator[PubsubServer]:
    with running_in_thread(PubsubServer(project=PROJECT)) as server:
        yield server


@pytest.fixture
def binding(server: PubsubServer, monkeypatch: pytest.MonkeyPatch) -> Binding:
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    planned = plan(loads(TOPOLOGY, source="polybus.toml"), GcpSettings(project=PROJECT))
    return realise(planned, endpoint=f"{server.host}:{server.port}", project=PROJECT)


@pytest.fixture
async def bus(binding: Binding) -> AsyncIterator[polybus.Bus]:
    async with polybus.connect(binding) as bus:
        yield bus


async def take(bus: polybus.Bus, source: str, count: int) -> list[bytes]:
    found = []
    async with asyncio.timeout(BOUND), bus.consume(source) as deliveries:
        for _ in range(count):
            async with await anext(aiter(deliveries)) as delivery:
                found.append(delivery.body)
    return found


@asynccontextmanager
async def other_bus(binding: Binding, **settings: Any) -> AsyncIterator[polybus.Bus]:
    changed = msgspec.structs.replace(binding, settings={**binding.settings, **settings})
    async with polybus.connect(changed, publisher=polybus.PublisherOptions(deadline=1.0)) as bus:
        yield bus


# Credentials and reach ------------------------------------------------------------------------------------------------


async def test_no_credentials(binding: Binding, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    async with polybus.connect(binding) as bus:
        with pytest.raises(BackendError) as caught:
            await take(bus, "jobs", 1)
        assert caught.value.fault.kind is FaultKind.UNAUTHENTICATED
        assert "gcloud auth application-default login" in caught.value.fault.detail
        with pytest.raises((BackendError, PublishFailed), match="gcloud auth application-default login"):
            await bus.publish("jobs", "x")


async def test_a_credentials_file_that_is_not_there(
    binding: Binding, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    async with polybus.connect(binding) as bus:
        with pytest.raises((BackendError, PublishFailed), match=r"none\.json was not found"):
            await bus.publish("jobs", "x")


async def test_credentials_that_are_not_accepted(bus: polybus.Bus, server: PubsubServer) -> None:
    server.fail_next("Publish", grpc.StatusCode.UNAUTHENTICATED)
    fault = await failed(bus, "jobs")
    assert fault.kind is FaultKind.UNAUTHENTICATED
    assert f"projects/{PROJECT}/topics/shop-jobs" in fault.detail
    server.fail_next("StreamingPull", grpc.StatusCode.UNAUTHENTICATED)
    with pytest.raises(BackendError, match=f"projects/{PROJECT}/subscriptions/shop-jobs.*credentials"):
        await take(bus, "jobs", 1)


async def test_an_emulator_that_is_not_running(binding: Binding) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    async with other_bus(binding, endpoint=endpoint) as bus:
        fault = await failed(bus, "jobs")
        assert fault.kind is FaultKind.DEADLINE
        for part in (f"is the local server running at {endpoint}?", f"projects/{PROJECT}/topics/shop-jobs"):
            assert part in fault.detail
        with pytest.raises(BackendError, match=f"is the local server running at {endpoint}"):
            await bus.ping()


async def test_an_emulator_that_comes_up_later_is_found(binding: Binding, server: PubsubServer) -> None:
    port = free_port()
    changed = msgspec.structs.replace(binding, settings={"endpoint": f"127.0.0.1:{port}", "project": PROJECT})
    async with polybus.connect(changed) as bus:
        publishing = asyncio.create_task(bus.publish("jobs", "x"))
        consuming = asyncio.create_task(take(bus, "jobs", 1))
        done, _ = await asyncio.wait([publishing], timeout=0.5)
        assert not done
        with running_in_thread(PubsubServer(port=port, project=PROJECT)) as late:
            await asyncio.to_thread(
                realise,
                plan(loads(TOPOLOGY, source="polybus.toml"), GcpSettings(project=PROJECT)),
                endpoint=f"{late.host}:{late.port}",
                project=PROJECT,
            )
            outcomes = await asyncio.gather(publishing, consuming, return_exceptions=True)
    # Either may have looked between the server's start and the topic's making: then it is told that nothing is there.
    assert all(isinstance(each, str | list) or "not_found" in str(each) for each in outcomes)


# Rights and things that are missing -----------------------------------------------------------------------------------


async def test_a_project_that_is_not_there(bus: polybus.Bus, server: PubsubServer) -> None:
    said = "Requested project not found or user does not have access to it (project=shop-prod)."
    server.fail_next("Publish", grpc.StatusCode.NOT_FOUND, detail=said)
    fault = await failed(bus, "orders")
    assert fault.kind is FaultKind.NOT_FOUND
    for part in (said, f"projects/{PROJECT}/topics/shop-orders", "check that the project is the right one"):
        assert part in fault.detail


async def test_a_right_that_is_missing_is_named_with_its_resource(bus: polybus.Bus, server: PubsubServer) -> None:
    server.fail_next("Publish", grpc.StatusCode.PERMISSION_DENIED, detail="User not authorized to perform this action.")
    fault = await failed(bus, "orders")
    assert fault.kind is FaultKind.DENIED
    for part in (
        f"projects/{PROJECT}/topics/shop-orders",
        "not authorized",
        "the service's declaration",
        "minutes to hold",
    ):
        assert part in fault.detail
    server.fail_next("StreamingPull", grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(BackendError, match=f"projects/{PROJECT}/subscriptions/shop-billing"):
        await take(bus, "billing", 1)


async def test_a_topic_that_is_gone(bus: polybus.Bus, binding: Binding) -> None:
    client, path = bus.raw("orders")  # type: ignore[misc]
    await client.delete_topic(topic=path)
    fault = await failed(bus, "orders")
    assert fault.kind is FaultKind.NOT_FOUND
    assert path in fault.detail
    assert "pulumi stack output" in fault.detail
    with pytest.raises(BackendError, match=path):
        await bus.describe("orders")


async def test_a_subscription_that_goes_under_a_consumer_ends_it(bus: polybus.Bus) -> None:
    handled = asyncio.Event()

    async def handle(delivery: polybus.Delivery) -> None:
        handled.set()

    consumer = bus.consumer("jobs", handle)
    running = asyncio.create_task(consumer.run())
    await bus.publish("jobs", "x")
    await asyncio.wait_for(handled.wait(), BOUND)
    client, path = bus.raw("jobs")  # type: ignore[misc]
    await client.delete_subscription(subscription=path)
    with pytest.raises(BackendError, match=path):
        await asyncio.wait_for(running, BOUND)


# Retried --------------------------------------------------------------------------------------------------------------


async def test_a_deadline_that_was_exceeded_is_told_once_retrying_is_over(
    binding: Binding, server: PubsubServer
) -> None:
    server.fail_next("Publish", grpc.StatusCode.DEADLINE_EXCEEDED, 1_000)
    async with other_bus(binding) as bus:
        fault = await failed(bus, "orders")
    assert (fault.kind, fault.code) == (FaultKind.DEADLINE, "DEADLINE_EXCEEDED")
    for part in (f"projects/{PROJECT}/topics/shop-orders", "deadline", "it may have been done"):
        assert part in fault.detail


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
async def test_what_passes_is_tried_again_and_nothing_is_lost(
    bus: polybus.Bus, server: PubsubServer, code: grpc.StatusCode
) -> None:
    for method in ("Publish", "StreamingPull", "Acknowledge"):
        server.fail_next(method, code, 2)
    await bus.publish_many("jobs", [str(number) for number in range(15)])
    assert sorted(await take(bus, "jobs", 15)) == sorted(str(number).encode() for number in range(15))
    assert server.retained_messages == 0


# Asked of what Pub/Sub doesn't do -------------------------------------------------------------------------------------


async def test_waiting_messages_can_t_be_looked_at(bus: polybus.Bus) -> None:
    with pytest.raises(UnsupportedFeature, match=r"'jobs' on gcp.*tap = true"):
        await anext(aiter(bus.peek("jobs")))


async def test_counts_aren_t_known(bus: polybus.Bus) -> None:
    stats = await bus.stats("jobs")
    assert (stats.waiting, stats.leased, stats.delayed, stats.oldest_age) == (None, None, None, None)


# What operators do ----------------------------------------------------------------------------------------------------


async def test_ping_reaches_the_server(bus: polybus.Bus, server: PubsubServer) -> None:
    await bus.ping()
    server.fail_next("TestIamPermissions", grpc.StatusCode.UNIMPLEMENTED)  # as Google's emulator answers
    await bus.ping()
    server.fail_next("TestIamPermissions", grpc.StatusCode.UNAUTHENTICATED)
    with pytest.raises(BackendError, match="unauthenticated"):
        await bus.ping()


async def test_ping_without_anything_to_reach(binding: Binding) -> None:
    async with polybus.connect(Binding(backend="gcp", bus="empty", settings=binding.settings)) as bus:
        with pytest.raises((BackendError, BindingError), match="nothing to reach"):
            await bus.ping()


async def test_describe_tells_what_google_knows(bus: polybus.Bus) -> None:
    topic, subscription = await bus.describe("orders"), await bus.describe("billing")
    assert topic["name"] == f"projects/{PROJECT}/topics/shop-orders"
    assert subscription["topic"] == topic["name"]
    assert 'attributes.region="eu"' in subscription["filter"]
    assert subscription["dead_letter_policy"]["max_delivery_attempts"] == 25


async def test_purge_drops_what_waits_and_nothing_later(bus: polybus.Bus) -> None:
    await bus.publish_many("jobs", ["a", "b"])
    await bus.purge("jobs")
    await bus.publish("jobs", "later")
    assert await take(bus, "jobs", 1) == [b"later"]


async def test_raw_gives_the_library_s_own_clients(bus: polybus.Bus, binding: Binding) -> None:
    publisher, topic = bus.raw("orders")  # type: ignore[misc]
    subscriber, subscription = bus.raw("billing")  # type: ignore[misc]
    assert (type(publisher).__name__, type(subscriber).__name__) == ("PublisherAsyncClient", "SubscriberAsyncClient")
    assert (topic, subscription) == (binding.topics["orders"].address, binding.subscriptions["billing"].address)
    assert (await publisher.get_topic(topic=topic)).name == topic


async def test_stats_of_what_is_gone_is_an_error_though_there_are_no_counts(binding: Binding, bus: polybus.Bus) -> None:
    assert await bus.stats("billing") == polybus.Stats()
    gone = msgspec.structs.replace(binding.subscriptions["billing"], address=f"projects/{PROJECT}/subscriptions/gone")
    changed = msgspec.structs.replace(binding, subscriptions={"billing": gone})
    async with polybus.connect(changed) as other:
        with pytest.raises(BackendError) as raised:
            await other.stats("billing")
    assert raised.value.fault.kind is FaultKind.NOT_FOUND
