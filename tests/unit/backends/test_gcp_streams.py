"""The streams of a Pub/Sub consumer: what they hold, what they come back from, how they end.

Against the local server over real sockets, on a clock that both share; and, for what that never does, a server of ours.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import msgspec
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.pubsub_v1 import types

from polybus.binding import Binding, Entity, Kind
from polybus.clock import SteppedClock
from polybus.clouds.gcp.driver import driver as make
from polybus.clouds.gcp.driver.stream import GRANT
from polybus.driver import Ack, ConsumerDriver, LeaseUntil, Nack, Outgoing, Prepared, Received, ToDeadLetters
from polybus.errors import Fault, FaultKind
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import free_port, running_in_thread
from polybus.message import Message
from polybus.testing.torture.relay import Relay

TOPIC = "projects/p/topics/orders"
PLACE = "projects/p/subscriptions/billing"
LEASE = 60.0
SOURCE = Entity(
    kind=Kind.SUBSCRIPTION,
    name="billing",
    topic="orders",
    address=PLACE,
    dead_letter="projects/p/subscriptions/letters",
    lease=LEASE,
    options={"topic": TOPIC, "dead_letter_topic": TOPIC},
)
BOUND = 60.0


class Rig:
    """A topic and a subscription, a driver, and what tests do with them."""

    def __init__(self, endpoint: str, clock: SteppedClock, stack: AsyncExitStack) -> None:
        self.clock = clock
        self.driver = make(Binding(backend="gcp", bus="b", settings={"endpoint": endpoint}), clock)
        stack.push_async_callback(self.driver.aclose)
        self._stack = stack
        self.publisher, _ = self.driver.raw(Entity(kind=Kind.TOPIC, name="orders", address=TOPIC))  # type: ignore[misc]
        self.subscriber, _ = self.driver.raw(SOURCE)  # type: ignore[misc]

    async def create(self, **config: Any) -> None:
        await self.publisher.create_topic(name=TOPIC)
        await self.subscriber.create_subscription(
            request={"name": PLACE, "topic": TOPIC, "ack_deadline_seconds": 60, **config}
        )

    async def consumer(self, prefetch: int = 10, source: Entity = SOURCE) -> ConsumerDriver[Any]:
        consumer = await self.driver.open_consumer(source, prefetch=prefetch, concurrency=1)
        self._stack.push_async_callback(consumer.aclose)
        return consumer

    async def publish(self, count: int, key: str = "") -> None:
        messages = [{"data": b"%d" % number, "ordering_key": key} for number in range(count)]
        await self.publisher.publish(request={"topic": TOPIC, "messages": messages})


async def receive(consumer: ConsumerDriver[Any], count: int, most: int | None = None) -> list[Received[Any]]:
    """Receive `count` messages, at most `most` a call."""
    found: list[Received[Any]] = []
    async with asyncio.timeout(BOUND):
        while len(found) < count:
            found += await consumer.receive_batch(most or count - len(found), wait=20.0)
    return found


def bodies(received: list[Received[Any]]) -> list[bytes]:
    return [each.message.body for each in received]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def server(clock: SteppedClock) -> Iterator[PubsubServer]:
    with running_in_thread(PubsubServer(clock=clock)) as server:
        yield server


@pytest.fixture
async def rig(server: PubsubServer, clock: SteppedClock) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        yield Rig(f"{server.host}:{server.port}", clock, stack)


# What waits here ------------------------------------------------------------------------------------------------------


async def test_what_waits_in_the_buffer_for_most_of_its_lease_is_given_back(rig: Rig) -> None:
    """It isn't needed here, and another consumer may be free."""
    await rig.create()
    hoarder, other = await rig.consumer(), await rig.consumer()
    await rig.publish(11)
    await receive(hoarder, 1, most=1)
    await receive(other, 1)  # the one for which the first has no room
    waiting = asyncio.create_task(receive(other, 1))
    await asyncio.sleep(0)
    rig.clock.advance(LEASE * 0.8)
    assert len(await waiting) >= 1


async def test_stop_returns_what_was_never_received(rig: Rig, server: PubsubServer) -> None:
    await rig.create()
    consumer = await rig.consumer()
    await rig.publish(10)
    first = await receive(consumer, 1, most=1)
    rest = list(await consumer.stop())
    assert await consumer.receive_batch(10, wait=20.0) == []
    nacked = await consumer.settle_batch([Nack(each) for each in (*first, *rest)])
    assert nacked == [None] * (1 + len(rest))
    # All of them at once, without waiting for a lease to end: nothing was left on the way.
    again = await receive(await rig.consumer(), 10)
    assert sorted(bodies(again)) == sorted(b"%d" % number for number in range(10))


async def test_a_waiting_receive_returns_when_the_consumer_stops(rig: Rig) -> None:
    await rig.create()
    consumer = await rig.consumer()
    waiting = asyncio.create_task(consumer.receive_batch(1, wait=20.0))
    await asyncio.sleep(0)
    await asyncio.wait_for(consumer.stop(), BOUND)
    assert await asyncio.wait_for(waiting, BOUND) == []


async def test_what_is_given_back_of_a_key_takes_the_later_ones_with_it(rig: Rig) -> None:
    """They come again with the first: what waits here of them must not overtake it."""
    await rig.create(enable_message_ordering=True)
    consumer = await rig.consumer(source=_ordered())
    await rig.publish(5, "k")
    [first] = await receive(consumer, 1, most=1)
    assert await consumer.settle_batch([Nack(first)]) == [None]
    again = await receive(consumer, 5)
    assert bodies(again) == [b"0", b"1", b"2", b"3", b"4"]


async def test_what_comes_again_behind_an_earlier_one_of_its_key_says_so(rig: Rig) -> None:
    """Pub/Sub doesn't count that as an attempt."""
    await rig.create(
        enable_message_ordering=True, dead_letter_policy={"dead_letter_topic": TOPIC, "max_delivery_attempts": 5}
    )
    consumer = await rig.consumer(source=_ordered())
    await rig.publish(2, "k")
    first, second = await receive(consumer, 2)
    assert (first.redelivered, second.redelivered) == (False, False)
    assert await consumer.settle_batch([Nack(first)]) == [None]
    again = await receive(consumer, 2)
    assert [(each.message.body, each.redelivered) for each in again] == [(b"0", True), (b"1", True)]


def _ordered() -> Entity:
    return msgspec.structs.replace(SOURCE, ordered=True)


# Room for what is held back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch", [1, 4])
async def test_delayed_messages_take_no_room(rig: Rig, prefetch: int) -> None:
    await rig.create()
    consumer = await rig.consumer(prefetch)
    await rig.publish(60)
    seen: set[bytes] = set()
    while len(seen) < 60:
        received = await receive(consumer, 1, most=prefetch)
        seen.update(bodies(received))
        assert await consumer.settle_batch([Nack(each, 500.0) for each in received]) == [None] * len(received)
    rig.clock.advance(501)
    again = await receive(consumer, 60)
    assert len(set(bodies(again))) == 60


async def test_no_more_is_out_than_was_asked_for(rig: Rig) -> None:
    await rig.create()
    await rig.publish(50)
    one, other = await rig.consumer(4), await rig.consumer(50)
    held = await receive(one, 4)
    rest = await receive(other, 46)
    assert len({*bodies(held), *bodies(rest)}) == 50


# Settling -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_back", [True, False])
async def test_a_receipt_that_is_over_neither_acks_nor_makes_a_letter(
    rig: Rig, clock: SteppedClock, given_back: bool
) -> None:
    """Pub/Sub takes such an ack, and deletes what somebody else has by then."""
    await rig.create()
    consumer = await rig.consumer()
    await rig.publish(1)
    [first] = await receive(consumer, 1)
    if given_back:
        assert await consumer.settle_batch([Nack(first)]) == [None]
    else:
        clock.advance(first.lease_until - clock.monotonic() + 1)
    [second] = await receive(consumer, 1)
    for late in (Ack(first), ToDeadLetters(first, "late")):
        [found] = await consumer.settle_batch([late])
        assert found is not None
        assert found.kind is FaultKind.LEASE_LOST
    assert await consumer.settle_batch([Nack(second)]) == [None]
    [third] = await receive(consumer, 1)
    assert third.message.body == first.message.body


async def test_an_exactly_once_subscription_tells_which_ack_came_too_late(rig: Rig) -> None:
    await rig.create(enable_exactly_once_delivery=True)
    consumer = await rig.consumer()
    await rig.publish(3)
    received = await receive(consumer, 3)
    late = received[1]
    assert await consumer.settle_batch([Nack(late)]) == [None]
    first, second, third = await consumer.settle_batch([Ack(each) for each in received])
    assert (first, third) == (None, None)
    assert second is not None
    assert second.kind is FaultKind.LEASE_LOST
    [extended] = await consumer.extend_batch([late], 60)
    assert isinstance(extended, Fault)
    assert extended.kind is FaultKind.LEASE_LOST
    assert bodies(await receive(consumer, 1)) == [late.message.body]


async def test_an_extension_is_granted_up_to_ten_minutes(rig: Rig) -> None:
    await rig.create()
    consumer = await rig.consumer()
    await rig.publish(1)
    [received] = await receive(consumer, 1)
    before = rig.clock.monotonic()
    [granted] = await consumer.extend_batch([received], 3_600)
    assert isinstance(granted, LeaseUntil)
    assert before + 600 <= granted.at <= rig.clock.monotonic() + 600


async def test_many_acks_and_letters_are_cut_into_requests(rig: Rig, server: PubsubServer) -> None:
    """1,000 ack ids, 512 KiB of them, or 10 MB of letters are what one request may have."""
    await rig.create()
    consumer = await rig.consumer(2_500)
    for _ in range(5):
        await rig.publish(500)
    received = await receive(consumer, 2_500)
    assert await consumer.settle_batch([Ack(each) for each in received]) == [None] * 2_500
    assert server.retained_messages == 0
    publisher = await rig.driver.open_publisher(Entity(kind=Kind.TOPIC, name="orders", address=TOPIC))
    for _ in range(2):
        prepared = publisher.prepare(Outgoing(Message(b"x" * 9_000_000, {}, None, "id")))
        assert isinstance(prepared, Prepared)
        await publisher.publish_batch([prepared])
    large = await receive(consumer, 2)
    assert await consumer.settle_batch([ToDeadLetters(each, "large") for each in large]) == [None] * 2
    letters = await receive(consumer, 2)
    assert [len(body) for body in bodies(letters)] == [9_000_000] * 2


# Failing and coming back ----------------------------------------------------------------------------------------------


async def test_a_stream_that_can_t_be_opened_is_told_and_opened_again(rig: Rig, server: PubsubServer) -> None:
    await rig.create()
    await rig.publish(1)
    consumer = await rig.consumer()
    server.fail_next("StreamingPull", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Exception, match="test asked") as caught:
        await consumer.receive_batch(1, wait=20.0)
    fault = rig.driver.fault(caught.value)
    assert fault.retryable
    assert PLACE in fault.detail
    assert bodies(await receive(consumer, 1)) == [b"0"]


async def test_a_server_that_went_away_is_found_again(tmp_path: Any, clock: SteppedClock) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        rig = Rig(f"127.0.0.1:{port}", clock, stack)
        with running_in_thread(PubsubServer(clock=clock, port=port, data=tmp_path)):
            await rig.create()
            consumer = await rig.consumer()
            await rig.publish(3)
            received = await receive(consumer, 3)
            assert await consumer.settle_batch([Ack(received[0])]) == [None]
        [fault] = await consumer.settle_batch([Ack(received[1])])
        assert fault is not None
        assert fault.retryable
        with pytest.raises((GoogleAPICallError, ConnectionError)):
            await receive(consumer, 1)
        with running_in_thread(PubsubServer(clock=clock, port=port, data=tmp_path)):
            clock.advance(LEASE)  # which outlives the server
            found: set[bytes] = set()
            async with asyncio.timeout(BOUND):
                while len(found) < 2:
                    try:
                        found.update(bodies(await receive(consumer, 1)))
                    except (GoogleAPICallError, ConnectionError):
                        continue
            assert found == {b"1", b"2"}


class Ending:
    """A server whose streams end with UNAVAILABLE when told to, as Google's do every half hour or so.

    Each is sent the next of `messages`, and the one that is open what is put into `more`. With `mute` it takes streams
    and never says a word. `modified` are the seconds to which leases were set; the next of these calls waits for
    `held`, where there is such.
    """

    def __init__(self) -> None:
        self.requests: list[list[Any]] = []
        self.peers: list[str] = []
        self.messages: list[bytes] = []
        self.end = asyncio.Event()
        self.mute = False
        self.modified: list[int] = []
        self.held: asyncio.Event | None = None
        self.more: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = grpc.aio.server()
        kind = types.StreamingPullRequest.pb()
        handler = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=kind.FromString,
            response_serializer=types.StreamingPullResponse.pb().SerializeToString,
        )
        modify = grpc.unary_unary_rpc_method_handler(self._modify)
        methods = {"StreamingPull": handler, "ModifyAckDeadline": modify}
        service = grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", methods)
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)

    async def _stream(self, requests: Any, context: Any) -> None:
        got: list[Any] = []
        self.requests.append(got)
        self.peers.append(context.peer())
        response = types.StreamingPullResponse.pb()
        if not self.mute:
            await context.write(response())
            await context.write(response())  # a heartbeat
        if self.messages:
            received = {"ack_id": f"a{len(self.peers)}", "message": {"data": self.messages.pop(0), "message_id": "1"}}
            await context.write(response(received_messages=[received]))
        sending = asyncio.create_task(self._send(context))
        reading = asyncio.create_task(self._read(context, got))
        ending = asyncio.create_task(self.end.wait())
        await asyncio.wait([reading, ending], return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        if ending.done():
            self.end.clear()
            reading.cancel()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Please try again.")
        ending.cancel()

    async def _send(self, context: Any) -> None:
        response = types.StreamingPullResponse.pb()
        while True:
            await context.write(response(received_messages=await self.more.get()))

    async def _modify(self, request: bytes, context: Any) -> bytes:
        self.modified.append(types.ModifyAckDeadlineRequest.pb().FromString(request).ack_deadline_seconds)
        held, self.held = self.held, None
        if held is not None:
            await held.wait()
        return b""

    async def _read(self, context: Any, got: list[Any]) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            got.append(request)


@pytest.fixture
async def ending(clock: SteppedClock) -> AsyncIterator[tuple[Ending, Rig]]:
    server = Ending()
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(server.serving())
        yield server, Rig(endpoint, clock, stack)


async def test_a_stream_that_lived_is_opened_again_without_a_word(ending: tuple[Ending, Rig]) -> None:
    server, rig = ending
    consumer = await rig.consumer()
    waiting = asyncio.create_task(consumer.receive_batch(10, wait=20.0))
    await until(lambda: len(server.requests) == 1 and bool(server.requests[0]))
    rig.clock.advance(10)
    server.end.set()
    await until(lambda: len(server.requests) == 2 and bool(server.requests[1]))
    assert not waiting.done()
    first, again = server.requests[0][0], server.requests[1][0]
    assert (first.subscription, first.max_outstanding_messages, first.stream_ack_deadline_seconds) == (PLACE, 10, GRANT)
    assert first.client_id == again.client_id != ""
    assert server.peers[0] == server.peers[1]
    await consumer.stop()
    assert await waiting == []


async def test_a_stream_that_ends_at_once_is_told(ending: tuple[Ending, Rig]) -> None:
    server, rig = ending
    consumer = await rig.consumer()
    server.end.set()
    with pytest.raises(Exception, match="Please try again") as caught:
        await consumer.receive_batch(1, wait=20.0)
    assert rig.driver.fault(caught.value).kind is FaultKind.UNAVAILABLE


@pytest.mark.parametrize("mute", [False, True])
async def test_heartbeats_are_sent_and_a_silent_stream_is_replaced_on_a_fresh_connection(
    mute: bool, ending: tuple[Ending, Rig]
) -> None:
    server, rig = ending
    server.mute = mute  # from its first moment
    consumer = await rig.consumer()
    receiving = asyncio.create_task(consumer.receive_batch(1, wait=10_000.0))
    await until(lambda: len(server.requests) == 1 and bool(server.requests[0]))
    for beats in (1, 2, 3):
        rig.clock.advance(31)
        await until(lambda beats=beats: len(server.requests[0]) == 1 + beats)  # type: ignore[misc]
    await until(lambda: len(server.requests) == 2 and bool(server.requests[1]))
    assert server.requests[0][0].client_id == server.requests[1][0].client_id
    assert server.peers[0] != server.peers[1]
    await consumer.stop()
    assert await receiving == []


async def test_streams_that_live_at_once_have_ids_of_their_own(ending: tuple[Ending, Rig]) -> None:
    server, rig = ending
    server.messages = [b"0", b"1"]
    consumer = await rig.consumer(1)
    [first] = await receive(consumer, 1)
    assert await consumer.settle_batch([Nack(first, 500.0)]) == [None]
    [second] = await receive(consumer, 1)
    assert await consumer.settle_batch([Nack(second)]) == [None]
    one, other = server.requests[0][0], server.requests[1][0]
    assert one.client_id != other.client_id
    rig.clock.advance(10)
    waiting = asyncio.create_task(consumer.receive_batch(1, wait=20.0))
    server.end.set()  # of either, or both
    await until(lambda: len(server.requests) >= 3 and bool(server.requests[2]))
    await consumer.stop()
    assert await waiting == []
    assert server.requests[2][0].client_id in {one.client_id, other.client_id}


async def test_streams_end_without_a_trace(rig: Rig, clock: SteppedClock) -> None:
    """Neither a task that is left behind nor a word of asyncio's in the log."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    with running_in_thread(PubsubServer(clock=clock, stream_seconds=100.0)) as server:
        async with AsyncExitStack() as stack:
            rig = Rig(f"{server.host}:{server.port}", clock, stack)
            await rig.create()
            consumer = await rig.consumer()
            counts = []
            for number in range(4):
                await rig.publisher.publish(request={"topic": TOPIC, "messages": [{"data": b"%d" % number}]})
                received = await receive(consumer, 1)
                assert bodies(received) == [b"%d" % number]
                assert await consumer.settle_batch([Ack(each) for each in received]) == [None]
                counts.append(len(asyncio.all_tasks()))
                clock.advance(101)
            await consumer.stop()
    gc.collect()
    await asyncio.sleep(0)
    assert said == []
    assert max(counts) == counts[0]


async def test_what_is_held_of_a_stream_that_ended_takes_its_room(clock: SteppedClock) -> None:
    with running_in_thread(PubsubServer(clock=clock, stream_seconds=100.0)) as server:
        async with AsyncExitStack() as stack:
            rig = Rig(f"{server.host}:{server.port}", clock, stack)
            await rig.create()
            await rig.publish(6)
            busy = await rig.consumer(2)
            held = await receive(busy, 2)
            for _ in range(3):  # as its handlers go on, and streams end
                clock.advance(50)
                granted = await busy.extend_batch(held, 60)
                assert not any(isinstance(each, Fault) for each in granted)
                clock.advance(51)
                granted = await busy.extend_batch(held, 60)
                assert not any(isinstance(each, Fault) for each in granted)
            free = await rig.consumer(10)
            assert len(await receive(free, 4)) == 4
            await free.stop()
            assert await busy.settle_batch([Ack(each) for each in held]) == [None] * 2
            await rig.publish(1)
            assert len(await receive(busy, 1)) == 1


# What comes late ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def relayed(server: PubsubServer, clock: SteppedClock) -> AsyncIterator[tuple[Relay, Rig]]:
    relay = Relay(server.port)
    await relay.start()
    try:
        async with AsyncExitStack() as stack:
            yield relay, Rig(f"127.0.0.1:{relay.port}", clock, stack)
    finally:
        await relay.stop()


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_answer_that_came_after_its_lease_isn_t_handed_on(
    ordered: bool, rig: Rig, server: PubsubServer, clock: SteppedClock
) -> None:
    """Its ack would be accepted, as any: Pub/Sub doesn't say no where there isn't exactly-once delivery."""
    source = _ordered() if ordered else SOURCE
    key = "k" if ordered else ""
    await rig.create(enable_message_ordering=ordered)
    async with relayed(server, clock) as (relay, far):
        late = await far.consumer(source=source)
        await rig.publish(1, key)
        [first] = await receive(late, 1)
        assert await late.settle_batch([Ack(first)]) == [None]
        waiting = asyncio.create_task(receive(late, 1))
        await asyncio.sleep(0)
        relay.stall()
        await rig.publish(1, key)
        other = await rig.consumer(source=source)
        taking = asyncio.create_task(receive(other, 1))
        async with asyncio.timeout(BOUND):
            while not taking.done():  # its lease ends there, once or twice: the server may send it there again
                clock.advance(GRANT / 2)
                await asyncio.sleep(0.02)
        assert await other.settle_batch([Ack(each) for each in await taking]) == [None]
        relay.heal()
        await other.stop()
        await rig.publisher.publish(request={"topic": TOPIC, "messages": [{"data": b"new", "ordering_key": key}]})
        assert bodies(await waiting) == [b"new"]


async def test_a_call_without_an_answer_is_made_on_a_fresh_connection_next_time(
    rig: Rig, server: PubsubServer, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polybus.clouds.gcp.driver.publish.upload_seconds", lambda size: 1.0)
    await rig.create()
    async with relayed(server, clock) as (relay, far):
        publisher = await far.driver.open_publisher(Entity(kind=Kind.TOPIC, name="orders", address=TOPIC))
        prepared = publisher.prepare(Outgoing(Message(b"x", {}, None, "id")))
        assert isinstance(prepared, Prepared)
        await publisher.publish_batch([prepared])
        relay.swallow()
        with pytest.raises(GoogleAPICallError) as caught:
            await publisher.publish_batch([prepared])
        assert far.driver.fault(caught.value).kind is FaultKind.TIMEOUT
        await publisher.publish_batch([prepared])


async def test_hundreds_of_consumers_share_connections_and_starve_no_one(rig: Rig, server: PubsubServer) -> None:
    """A connection has 100 calls at once, and what is over waits without a word."""
    await rig.create()
    sources = [msgspec.structs.replace(SOURCE, address=f"{PLACE}-{number}") for number in range(200)]
    for source in sources:
        await rig.subscriber.create_subscription(request={"name": source.address, "topic": TOPIC})
    consumers = [await rig.consumer(source=source) for source in sources]
    receiving = [asyncio.create_task(receive(consumer, 1)) for consumer in consumers]
    await rig.publish(1)
    for consumer, received in zip(consumers, await asyncio.gather(*receiving), strict=True):
        assert await consumer.settle_batch([Ack(each) for each in received]) == [None]
    await asyncio.gather(*(consumer.stop() for consumer in consumers))


async def test_a_stream_that_never_said_a_word_is_no_empty_answer(ending: tuple[Ending, Rig]) -> None:
    server, rig = ending
    server.mute = True
    consumer = await rig.consumer()
    receiving = asyncio.create_task(consumer.receive_batch(1, wait=1.0))
    await until(lambda: len(server.requests) == 1 and bool(server.requests[0]))
    async with asyncio.timeout(BOUND):
        while not receiving.done():
            rig.clock.advance(15)
            await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError, match="no word") as caught:
        await receiving
    assert rig.driver.fault(caught.value).kind is FaultKind.TIMEOUT


@pytest.mark.parametrize("ordered", [False, True])
async def test_no_more_is_taken_than_was_asked_for_though_more_may_be(rig: Rig, ordered: bool) -> None:
    """What is given back counts as an attempt: nothing is to wait here behind a slow handler."""
    source = await create_counting(rig, ordered)
    await publish_keys(rig, 4)
    slow = await rig.consumer(1 if ordered else 4, source)
    [first] = await slow.receive_batch(1, wait=20.0)
    other = await rig.consumer(source=source)
    rest = await receive(other, 3)
    assert [each.attempt for each in rest] == [1, 1, 1]
    assert await slow.settle_batch([Ack(first)]) == [None]
    assert await other.settle_batch([Ack(each) for each in rest]) == [None] * 3
    await other.stop()
    await publish_keys(rig, 4)
    assert len(await receive(slow, 4)) == 4  # it has the room once that is asked for


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_stream_that_ended_is_followed_by_no_more_room_than_is_asked_for(
    clock: SteppedClock, ordered: bool
) -> None:
    with running_in_thread(PubsubServer(clock=clock, stream_seconds=100.0)) as server:
        async with AsyncExitStack() as stack:
            rig = Rig(f"{server.host}:{server.port}", clock, stack)
            source = await create_counting(rig, ordered)
            await publish_keys(rig, 8)
            slow = await rig.consumer(3 if ordered else 8, source)
            held = await receive(slow, 3)  # of the three handlers that it has
            for _ in range(3):
                await hold(rig, slow, held, 101)
            for _ in range(2):
                assert await slow.settle_batch([Ack(held.pop(0))]) == [None]
                held += await receive(slow, 1, most=1)
            rest = await receive(await rig.consumer(source=source), 3)
            assert [each.attempt for each in rest] == [1, 1, 1]


@pytest.mark.parametrize("ordered", [False, True])
async def test_neighbours_of_what_slow_handlers_have_are_not_given_back_again_and_again(
    rig: Rig, ordered: bool
) -> None:
    """Handlers were fast, and as much was taken as may be; now they take minutes."""
    source = await create_counting(rig, ordered)
    consumer = await rig.consumer(4 if source.ordered else 8, source)
    await publish_keys(rig, 8)
    fast = await receive(consumer, 8)
    assert await consumer.settle_batch([Ack(each) for each in fast]) == [None] * 8
    await publish_keys(rig, 12)
    held = await receive(consumer, 4, most=4)
    attempts = [each.attempt for each in held]
    for _ in range(6):
        await hold(rig, consumer, held, 50)
        assert await consumer.settle_batch([Ack(held.pop(0))]) == [None]
        new = await receive(consumer, 1, most=1)
        attempts += [each.attempt for each in new]
        held += new
    attempts += [each.attempt for each in await receive(await rig.consumer(source=source), 2)]
    assert max(attempts) <= 2  # what was here as they became slow was given back, once


async def test_what_is_more_than_slow_handlers_need_is_let_go(rig: Rig) -> None:
    """They take less than what waits here may wait, and another consumer is free."""
    source = await create_counting(rig, ordered=True)
    consumer = await rig.consumer(4 if source.ordered else 8, source)
    await publish_keys(rig, 8)
    fast = await receive(consumer, 8)
    assert await consumer.settle_batch([Ack(each) for each in fast]) == [None] * 8
    held: list[Received[Any]] = []
    for _ in range(16):
        await publish_keys(rig, 1)
        held += await receive(consumer, 1, most=1)
        if len(held) == 4:
            await hold(rig, consumer, held, 20)
            assert await consumer.settle_batch([Ack(held.pop(0))]) == [None]
    await publish_keys(rig, 4)
    other = await rig.consumer(source=source)
    assert [each.attempt for each in await receive(other, 3)] == [1, 1, 1]


async def test_a_key_stays_in_order_while_streams_are_opened_anew(rig: Rig) -> None:
    """As they are whenever more or less is asked for."""
    source = await create_counting(rig, ordered=True)
    consumer = await rig.consumer(2, source)
    await rig.publish(60, "k")
    found: list[bytes] = []
    sizes = itertools.cycle([1, 2, 8, 3, 16, 1, 5])
    async with asyncio.timeout(BOUND):
        while len(found) < 60:
            received = await consumer.receive_batch(next(sizes), wait=20.0)
            found += bodies(list(received))
            assert await consumer.settle_batch([Ack(each) for each in received]) == [None] * len(received)
    assert found == [b"%d" % number for number in range(60)]


async def create_counting(rig: Rig, ordered: bool) -> Entity:
    """Create a subscription that counts attempts, and return it as a source."""
    policy = {"dead_letter_topic": TOPIC, "max_delivery_attempts": 50}
    await rig.create(enable_message_ordering=ordered, dead_letter_policy=policy)
    return _ordered() if ordered else SOURCE


async def publish_keys(rig: Rig, count: int) -> None:
    """Publish messages that have an ordering key each, which nothing had before."""
    for number in range(count):
        message = {"data": b"%d" % number, "ordering_key": uuid.uuid4().hex}
        await rig.publisher.publish(request={"topic": TOPIC, "messages": [message]})


async def hold(rig: Rig, consumer: ConsumerDriver[Any], held: list[Received[Any]], seconds: float) -> None:
    """Let time pass for handlers that go on, second by second for what looks at it each second."""
    for passed in range(math.ceil(seconds)):
        if passed % 20 == 0:
            granted = await consumer.extend_batch(held, 60)
            assert not any(isinstance(each, Fault) for each in granted)
        rig.clock.advance(1)
        await asyncio.sleep(0.001)


# What passes nothing --------------------------------------------------------------------------------------------------


async def test_a_lease_that_our_own_late_call_has_cut_short_isn_t_ours(ending: tuple[Ending, Rig]) -> None:
    """The stream's lease would be good still, and any ack id is accepted: what the first call set is over."""
    server, rig = ending
    server.messages = [b"0"]
    held = server.held = asyncio.Event()
    consumer = await rig.consumer(source=msgspec.structs.replace(SOURCE, lease=10.0))
    receiving = asyncio.create_task(consumer.receive_batch(1, wait=20.0))
    await until(lambda: server.modified == [10])
    rig.clock.advance(11)
    held.set()
    await until(lambda: server.modified[-1] == 0)
    rig.clock.advance(10)
    await consumer.stop()
    assert await receiving == []


async def test_what_was_on_its_way_behind_a_lost_lease_doesn_t_pass_it(
    rig: Rig, server: PubsubServer, clock: SteppedClock
) -> None:
    """The end of the earlier lease takes the later one with it, and its own would be good for 50 s more."""
    source = msgspec.structs.replace(_ordered(), lease=10.0)
    await rig.create(enable_message_ordering=True)
    async with relayed(server, clock) as (relay, far):
        consumer = await far.consumer(source=source)
        await rig.publish(1, "k")
        [first] = await receive(consumer, 1)
        relay.stall()
        await rig.publisher.publish(request={"topic": TOPIC, "messages": [{"data": b"1", "ordering_key": "k"}]})
        clock.advance(11)
        consumer.lost(first)  # type: ignore[attr-defined]
        relay.heal()
        assert bodies(await receive(consumer, 2)) == [b"0", b"1"]


@pytest.mark.parametrize("delay", [0.0, 30.0])
async def test_what_was_on_its_way_when_an_earlier_one_was_given_back_doesn_t_pass_it(
    delay: float, ending: tuple[Ending, Rig]
) -> None:
    server, rig = ending
    first, second = (
        {"ack_id": number, "message": {"data": number.encode(), "message_id": number, "ordering_key": "k"}}
        for number in "12"
    )
    consumer = await rig.consumer(source=_ordered())
    server.more.put_nowait([first])
    [received] = await receive(consumer, 1)
    held = server.held = asyncio.Event()
    giving = asyncio.create_task(consumer.settle_batch([Nack(received, delay)]))
    await until(lambda: server.modified == [60, int(delay)])
    server.more.put_nowait([second])
    # It is given back as well, for longer than the first, or it would come before that.
    await until(lambda: server.modified == [60, int(delay), int(delay) + (delay > 0)])
    held.set()
    assert await giving == [None]
    server.more.put_nowait([first, second])
    assert bodies(await receive(consumer, 2)) == [b"1", b"2"]


async def test_what_is_published_again_after_a_lost_answer_says_so(
    rig: Rig, server: PubsubServer, clock: SteppedClock
) -> None:
    """Pub/Sub drops no duplicates."""
    await rig.create()
    publisher = await rig.driver.open_publisher(Entity(kind=Kind.TOPIC, name="orders", address=TOPIC))
    once, twice = (publisher.prepare(Outgoing(Message(body, {"a": "b"}, None, "id"))) for body in (b"once", b"twice"))
    assert isinstance(once, Prepared)
    assert isinstance(twice, Prepared)
    await publisher.publish_batch([once])
    for _ in range(2):
        server.fail_next("Publish", grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(GoogleAPICallError):
            await publisher.publish_batch([twice])
    await publisher.publish_batch([twice])
    received = await receive(await rig.consumer(), 2)
    assert sorted((each.message.body, each.redelivered) for each in received) == [(b"once", False), (b"twice", True)]
    assert [(each.message.id, each.message.attributes) for each in received] == [("id", {"a": "b"})] * 2
