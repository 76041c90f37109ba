"""Looking at dead letters on Google, where one can only look at what is handed over; and purging by the right clock."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1 import types

from polybus.binding import Binding, Entity, Kind
from polybus.clock import SteppedClock
from polybus.clouds.gcp.driver import driver as make
from polybus.driver import AdminDriver, Peeked
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.testing.torture.relay import Relay

TOPIC = "projects/p/topics/letters"
PLACE = "projects/p/subscriptions/letters"
LETTERS = Entity(kind=Kind.DEAD_LETTERS, name="billing", address=PLACE)
BOUND = 30.0


class Rig:
    def __init__(self, server: PubsubServer, clock: SteppedClock, port: int, look: float = 1.0) -> None:
        settings = {"endpoint": f"127.0.0.1:{port}", "look": look}
        self.driver = make(Binding(backend="gcp", bus="b", settings=settings), clock)
        self.server = server
        self.publisher, _ = self.driver.raw(Entity(kind=Kind.TOPIC, name="t", address=TOPIC))  # type: ignore[misc]
        self.subscriber, _ = self.driver.raw(LETTERS)  # type: ignore[misc]

    async def create(self, letters: int) -> None:
        await self.publisher.create_topic(name=TOPIC)
        await self.subscriber.create_subscription(request={"name": PLACE, "topic": TOPIC, "ack_deadline_seconds": 600})
        for start in range(0, letters, 1_000):
            messages = [{"data": b"%d" % number} for number in range(start, min(start + 1_000, letters))]
            await self.publisher.publish(request={"topic": TOPIC, "messages": messages})

    async def free(self, count: int) -> int:
        """Return how many can be received at once."""
        request = {"subscription": PLACE, "max_messages": count, "return_immediately": True}
        found = await self.subscriber.pull(request=request)
        if found.received_messages:
            ids = [each.ack_id for each in found.received_messages]
            await self.subscriber.modify_ack_deadline(subscription=PLACE, ack_ids=ids, ack_deadline_seconds=0)
        return len(found.received_messages)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def server(clock: SteppedClock) -> Iterator[PubsubServer]:
    with running_in_thread(PubsubServer(clock=clock)) as server:
        yield server


@pytest.fixture
async def rig(server: PubsubServer, clock: SteppedClock) -> AsyncIterator[Rig]:
    rig = Rig(server, clock, server.port)
    yield rig
    await rig.driver.aclose()


async def peeked(admin: AdminDriver, count: int) -> list[Peeked]:
    return list(await asyncio.wait_for(admin.peek(LETTERS, count), BOUND))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_look_tells_each_letter_once_and_hides_none_afterwards(rig: Rig) -> None:
    await rig.create(1_500)
    admin = await rig.driver.open_admin()
    found = await peeked(admin, 5_000)
    assert [letter.message.body for letter in found] == [b"%d" % number for number in range(1_500)]
    assert len(await peeked(admin, 250)) == 250
    assert await rig.free(1_000) == 1_000


async def test_where_nothing_is_nothing_is_found(rig: Rig) -> None:
    await rig.create(0)
    assert await peeked(await rig.driver.open_admin(), 10) == []


async def test_answers_that_come_late_are_waited_for(rig: Rig, server: PubsubServer, clock: SteppedClock) -> None:
    await rig.create(3)
    relay = Relay(server.port)
    await relay.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(relay.stop)
        slow = Rig(server, clock, relay.port)
        stack.push_async_callback(slow.driver.aclose)
        relay.stall()
        looking = asyncio.create_task(peeked(await slow.driver.open_admin(), 10))
        await asyncio.sleep(0)
        clock.advance(5)  # five times as long as a look waits for a letter where the server is heard
        await asyncio.sleep(0.1)
        assert not looking.done()
        relay.heal()
        assert len(await looking) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_look_that_is_cancelled_gives_back_what_it_holds(rig: Rig) -> None:
    await rig.create(5)
    looking = asyncio.create_task((await rig.driver.open_admin()).peek(LETTERS, 10))
    async with asyncio.timeout(BOUND):
        while await rig.free(10):  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert await rig.free(10) == 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_purge_takes_what_was_published_before_it(rig: Rig, server: PubsubServer) -> None:
    await rig.create(3)
    admin = await rig.driver.open_admin()
    assert await admin.purge(LETTERS) is None
    assert await rig.free(10) == 0
    assert server.retained_messages == 0


class Dated:
    """A server that says what time it is, and notes what a subscription was sought to."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.sought: float | None = None

    async def start(self) -> str:
        self._server = grpc.aio.server()
        methods = {
            "google.iam.v1.IAMPolicy": {"TestIamPermissions": grpc.unary_unary_rpc_method_handler(self._rights)},
            "google.pubsub.v1.Subscriber": {"Seek": grpc.unary_unary_rpc_method_handler(self._seek)},
        }
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, found) for name, found in methods.items())
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _rights(self, request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("date", email.utils.formatdate(self.now, usegmt=True)),))
        return bytes(iam_policy_pb2.TestIamPermissionsResponse().SerializeToString())

    async def _seek(self, request: bytes, context: Any) -> bytes:
        time = types.SeekRequest.pb().FromString(request).time
        self.sought = time.seconds + time.nanos * 1e-9
        return b""


@pytest.mark.parametrize("ahead", [3_600.0, 3.0, -3.0, -3_600.0])
async def test_a_purge_goes_by_the_service_s_clock(ahead: float, clock: SteppedClock) -> None:
    """With a clock that is ahead, what is published after it would be gone too."""
    server = Dated(now := clock.time() - ahead)
    endpoint = await server.start()
    driver = make(Binding(backend="gcp", bus="b", settings={"endpoint": endpoint}), clock)
    await (await driver.open_admin()).purge(LETTERS)
    await driver.aclose()
    await server.stop()
    assert server.sought is not None
    assert now - 1.0 <= server.sought <= now
