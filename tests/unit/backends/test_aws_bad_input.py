"""What goes wrong on AWS: one clear error or a retry, as the contract says; nothing lost, nothing half-created.

Through the bus, on a real local server over real sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

import polybus
from polybus.binding import Binding
from polybus.bus.delivery import held_of
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.errors import BackendError, FaultKind, PublishFailed
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.topology.file import loads

from .refused import failed

TOPOLOGY = """\
[bus]
name = "shop"
[topics.orders]
[topics.ledger]
ordered = true
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[queues.jobs]
max_message_size = "64KiB"
[queues.keyed]
ordered = true
[services.billing]
consumes = ["billing"]
[services.shop]
publishes = ["orders", "jobs"]
"""


@pytest.fixture
def server() -> Iterator[AwsServer]:
    with running_in_thread(AwsServer()) as server:
        yield server


@pytest.fixture(params=["lean", "boto3"])
def binding(request: pytest.FixtureRequest, server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> Binding:
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = realise(plan(loads(TOPOLOGY, source="polybus.toml"), AwsSettings(region="us-east-1")), endpoint=server.url)
    return msgspec.structs.replace(made, settings={**made.settings, "long_poll": 1, "client": request.param})


@pytest.fixture
async def bus(binding: Binding) -> AsyncIterator[polybus.Bus]:
    async with polybus.connect(binding) as bus:
        yield bus


async def take(bus: polybus.Bus, source: str, count: int) -> list[bytes]:
    async with bus.consume(source) as deliveries:
        found = []
        for _ in range(count):
            async with await anext(aiter(deliveries)) as delivery:
                found.append(delivery.body)
        return found


@asynccontextmanager
async def other_bus(binding: Binding, **settings: Any) -> AsyncIterator[polybus.Bus]:
    async with polybus.connect(
        msgspec.structs.replace(binding, settings={**binding.settings, **settings}),
        publisher=polybus.PublisherOptions(deadline=1.0),
    ) as bus:
        with suppress(BackendError):  # makes the client, which on a busy machine takes longer than the deadline
            await bus.stats("jobs")
        yield bus


# Credentials and reach ------------------------------------------------------------------------------------------------


async def test_no_credentials(binding: Binding, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    async with polybus.connect(binding) as bus:
        fault = await failed(bus, "jobs")
        assert fault.kind is FaultKind.UNAUTHENTICATED
        assert "check the credentials that boto3 finds" in fault.detail
        with pytest.raises(BackendError, match="Unable to locate credentials"):
            await take(bus, "jobs", 1)


async def test_a_profile_that_is_not_there(binding: Binding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    async with polybus.connect(binding) as bus:
        with pytest.raises((PublishFailed, BackendError), match="nowhere"):
            await bus.publish("jobs", "x")


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"])
async def test_credentials_that_are_not_accepted(bus: polybus.Bus, server: AwsServer, code: str) -> None:
    server.fail_next("SendMessageBatch", code, 403)
    fault = await failed(bus, "jobs")
    assert (fault.kind, fault.code) == (FaultKind.UNAUTHENTICATED, code)
    server.fail_next("ReceiveMessage", code, 403)
    with pytest.raises(BackendError, match="check the credentials"):
        await take(bus, "jobs", 1)
    server.fail_next("PublishBatch", code, 403)
    assert (await failed(bus, "orders")).kind is FaultKind.UNAUTHENTICATED


async def test_an_endpoint_that_nobody_is_behind(server: AwsServer, binding: Binding) -> None:
    async with other_bus(binding, endpoint="http://127.0.0.1:9") as bus:
        fault = await failed(bus, "jobs")
        assert fault.kind in (FaultKind.UNAVAILABLE, FaultKind.DEADLINE, FaultKind.TIMEOUT)
        assert "127.0.0.1:9" in fault.detail
        with pytest.raises(BackendError, match="AWS_ENDPOINT_URL"):
            await bus.ping()


async def test_no_region(binding: Binding, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    settings = {name: value for name, value in binding.settings.items() if name != "region"}
    async with polybus.connect(msgspec.structs.replace(binding, settings=settings)) as bus:
        with pytest.raises((PublishFailed, BackendError), match="AWS_REGION"):
            await bus.publish("jobs", "x")


# Rights and things that are gone --------------------------------------------------------------------------------------


def allow(server: AwsServer, *actions: str) -> None:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    server.identities.put("local", {"Version": "2012-10-17", "Statement": [statement]})


async def test_a_right_that_is_missing_is_named_with_its_resource(bus: polybus.Bus, server: AwsServer) -> None:
    allow(server, "sqs:ReceiveMessage")
    fault = await failed(bus, "jobs")
    assert fault.kind is FaultKind.DENIED
    for part in ("sqs:sendmessage", "arn:aws:sqs:us-east-1:000000000000:shop-jobs", "the service's declaration"):
        assert part in fault.detail  # in small letters, as SQS says it
    fault = await failed(bus, "orders")
    assert fault.kind is FaultKind.DENIED
    for part in ("SNS:Publish", "arn:aws:sns:us-east-1:000000000000:shop-orders"):
        assert part in fault.detail
    allow(server, "sqs:SendMessage")
    with pytest.raises(BackendError, match=r"sqs:receivemessage on resource: arn:aws:sqs.*shop-billing"):
        await take(bus, "billing", 1)


async def test_a_queue_that_is_gone(bus: polybus.Bus, binding: Binding) -> None:
    client, url = bus.raw("jobs")
    client.delete_queue(QueueUrl=url)
    fault = await failed(bus, "jobs")
    assert fault.kind is FaultKind.NOT_FOUND
    assert url in fault.detail
    assert "pulumi stack output" in fault.detail
    for failing in (take(bus, "jobs", 1), bus.stats("jobs"), bus.describe("jobs"), bus.purge("jobs")):
        with pytest.raises(BackendError, match="not_found"):
            await failing


async def test_a_queue_that_goes_under_a_consumer_ends_it(bus: polybus.Bus) -> None:
    handled = asyncio.Event()

    async def handle(delivery: polybus.Delivery) -> None:
        handled.set()

    consumer = bus.consumer("jobs", handle)
    running = asyncio.create_task(consumer.run())
    await bus.publish("jobs", "x")
    await asyncio.wait_for(handled.wait(), 60)
    client, url = bus.raw("jobs")
    await asyncio.to_thread(client.delete_queue, QueueUrl=url)
    with pytest.raises(BackendError, match="shop-jobs"):
        await asyncio.wait_for(running, 60)


async def test_a_topic_that_is_gone(bus: polybus.Bus) -> None:
    client, arn = bus.raw("orders")
    client.delete_topic(TopicArn=arn)
    fault = await failed(bus, "orders")
    assert fault.kind is FaultKind.NOT_FOUND
    assert arn in fault.detail


# Retried --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"), [("RequestThrottled", 403), ("ThrottlingException", 400), ("InternalFailure", 500), ("", 0)]
)
async def test_what_passes_is_tried_again_and_nothing_is_lost(
    bus: polybus.Bus, server: AwsServer, code: str, status: int
) -> None:
    for action in ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"):
        server.fail_next(action, code, status, count=2)
    await bus.publish_many("jobs", [str(n) for n in range(15)])
    assert sorted(await take(bus, "jobs", 15)) == sorted(str(n).encode() for n in range(15))
    stats = await bus.stats("jobs")
    assert (stats.waiting, stats.leased) == (0, 0)


async def test_only_the_failed_entries_of_a_batch_are_tried_again(bus: polybus.Bus, server: AwsServer) -> None:
    server.fail_next("SendMessageBatch", "InternalError", 500, entries=["0", "2"])
    sent = await bus.publish_many("jobs", ["a", "b", "c", "d"])
    assert len(set(sent)) == 4
    assert sorted(await take(bus, "jobs", 4)) == [b"a", b"b", b"c", b"d"]
    assert (await bus.stats("jobs")).waiting == 0


async def test_an_answer_that_got_lost_makes_no_duplicate_on_fifo(bus: polybus.Bus, server: AwsServer) -> None:
    server.fail_next("SendMessageBatch", "", 0, after=True)
    await bus.publish("keyed", "once", ordering_key="k")
    await bus.publish("keyed", "then", ordering_key="k")
    assert await take(bus, "keyed", 2) == [b"once", b"then"]
    assert (await bus.stats("keyed")).waiting == 0


async def test_throttling_for_longer_than_the_deadline(binding: Binding, server: AwsServer) -> None:
    server.fail_next("SendMessageBatch", "RequestThrottled", 403, count=1000)
    async with other_bus(binding) as bus:
        fault = await failed(bus, "jobs")
    # On a busy machine the last of its tries may be under way when the deadline is over.
    assert fault.kind in (FaultKind.THROTTLED, FaultKind.DEADLINE, FaultKind.TIMEOUT)
    assert "RequestThrottled" in f"{fault.code} {fault.detail}"
    server.faults.clear()
    async with polybus.connect(binding) as bus:
        assert (await bus.stats("jobs")).waiting == 0


# Messages that can't be sent, receipts that are no good ---------------------------------------------------------------


async def test_a_message_over_a_limit_never_reaches_the_network(bus: polybus.Bus, server: AwsServer) -> None:
    server.fail_next("*", "AccessDenied", 403, count=1000)  # a call would fail as denied
    for target, body, limit in (("jobs", b"x" * 65_000, "65536"), ("orders", b"x" * 262_000, "262144")):
        fault = await failed(bus, target, body)
        assert fault.kind is FaultKind.TOO_LARGE
        assert limit in fault.detail
    fault = await failed(bus, "orders", "x", attributes={"aws.name": "x"})
    assert fault.kind is FaultKind.INVALID
    fault = await failed(bus, "orders", "x", attributes={"region": ""})
    assert "region" in fault.detail


async def test_a_message_over_a_limit_takes_no_other_with_it(bus: polybus.Bus) -> None:
    outcomes = await bus.publish_many("jobs", ["a", b"x" * 65_000, "b"], outcomes=True)
    assert [isinstance(outcome, polybus.Sent) for outcome in outcomes] == [True, False, True]
    assert sorted(await take(bus, "jobs", 2)) == [b"a", b"b"]


async def test_a_receipt_that_is_no_good_is_a_lost_lease(bus: polybus.Bus) -> None:
    """Somebody else gave the message back and took it: the ack fails for this one alone, and nothing is lost."""
    await bus.publish("jobs", "a")
    async with bus.consume("jobs") as deliveries:
        delivery = await anext(aiter(deliveries))
        poisoned = msgspec.structs.replace(held_of(delivery).received, receipt="no receipt at all")
        held_of(delivery).received = poisoned
        with pytest.raises(polybus.LeaseLost):
            await delivery.ack()
    assert (await bus.stats("jobs")).waiting + (await bus.stats("jobs")).leased == 1
