"""Publish, pull, ack, leases and streaming pull."""

from __future__ import annotations

import asyncio
import queue
import threading

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import running

BOUND = 30.0


def test_every_subscription_gets_its_own_copy_as_it_was(rig):
    topic = rig.topic()
    names = [rig.subscription(name, topic) for name in ("billing", "shipping")]
    attributes = {"a": "", "b": "naïve \U0001f600 \x01", "c": "x" * 1024}
    [number] = rig.publish(topic, b"\x00\xffbody", **attributes)
    for name in names:
        [received] = rig.pull(name)
        assert received.message.data == b"\x00\xffbody"
        assert dict(received.message.attributes) == attributes
        assert received.message.message_id == number
        assert received.delivery_attempt == 0
        assert len(received.ack_id) > 100


def test_what_the_client_says_of_id_and_time_is_ignored(rig, clock):
    topic, subscription = rig.pair()
    message = {"data": b"x", "message_id": "mine", "publish_time": {"seconds": 5, "nanos": 7}}
    rig.publisher.publish(request={"topic": topic, "messages": [message]})
    [received] = rig.pull(subscription)
    assert received.message.message_id != "mine"
    assert abs(received.message.publish_time.timestamp() - clock.time()) < 60


def test_an_ack_is_final(rig, clock, server):
    topic, subscription = rig.pair()
    rig.publish(topic, b"1", b"2", b"3")
    rig.ack(subscription, rig.pull(subscription))
    clock.advance(3600)
    assert rig.bodies(subscription) == []
    assert server.retained_messages == 0


def test_what_is_leased_is_nobody_elses_until_the_lease_ends(rig, clock):
    topic, subscription = rig.pair(ack_deadline_seconds=20)
    rig.publish(topic, b"x")
    [first] = rig.pull(subscription)
    clock.advance(15)
    assert rig.bodies(subscription) == []
    clock.advance(6)
    [second] = rig.wait(subscription)
    assert second.ack_id != first.ack_id


def test_a_lease_can_be_extended_and_given_back(rig, clock):
    topic, subscription = rig.pair()
    rig.publish(topic, b"x")
    received = rig.pull(subscription)
    rig.extend(subscription, received, 600)
    clock.advance(590)
    assert rig.bodies(subscription) == []
    rig.nack(subscription, received)
    assert rig.bodies(subscription) == [b"x"]


def test_a_late_ack_is_accepted_and_does_nothing(rig, clock):
    topic, subscription = rig.pair()
    rig.publish(topic, b"x")
    late = rig.pull(subscription)
    clock.advance(11)
    rig.wait(subscription)
    rig.ack(subscription, late)
    clock.advance(11)
    assert [received.message.data for received in rig.wait(subscription)] == [b"x"]


def test_retry_backoff_doubles_up_to_its_maximum(rig, clock, seconds):
    policy = {"minimum_backoff": seconds(10), "maximum_backoff": seconds(25)}
    topic, subscription = rig.pair(retry_policy=policy)
    rig.publish(topic, b"x")
    received = rig.pull(subscription)
    for backoff in (10, 20, 25, 25):
        rig.nack(subscription, received)
        clock.advance(backoff - 2)
        assert rig.bodies(subscription) == []
        clock.advance(2.5)
        received = rig.wait(subscription)
        assert len(received) == 1


def test_a_pull_waits_for_the_first_message_and_answers_empty_in_the_end(rig, clock):
    topic, subscription = rig.pair()
    found: queue.Queue[int] = queue.Queue()

    def pull():
        received = rig.wait(subscription)
        if received:
            rig.ack(subscription, received)
        found.put(len(received))

    waiting = threading.Thread(target=pull)
    waiting.start()
    rig.publish(topic, b"x")
    assert found.get(timeout=BOUND) == 1
    waiting.join()
    waiting = threading.Thread(target=pull)
    waiting.start()
    while waiting.is_alive():
        clock.advance(40)
        waiting.join(0.05)
    assert found.get(timeout=BOUND) == 0


def test_a_pull_takes_no_more_than_it_asked_for(rig):
    topic, subscription = rig.pair()
    rig.publish(topic, *[b"%d" % index for index in range(30)])
    assert len(rig.pull(subscription, 7)) == 7
    assert len(rig.pull(subscription)) == 23


def test_large_messages_pass_but_share_no_response(rig):
    topic, subscription = rig.pair()
    for _ in range(2):
        rig.publish(topic, b"x" * 9_900_000)
    for _ in range(2):
        [received] = rig.pull(subscription)
        assert len(received.message.data) == 9_900_000


def test_bad_ack_ids_and_deadlines_are_refused(rig):
    _, subscription = rig.pair()
    with pytest.raises(exceptions.InvalidArgument, match="invalid ack ID"):
        rig.subscriber.acknowledge(subscription=subscription, ack_ids=["nonsense"])
    with pytest.raises(exceptions.InvalidArgument):
        rig.subscriber.acknowledge(subscription=subscription, ack_ids=[])
    with pytest.raises(exceptions.InvalidArgument):
        rig.subscriber.acknowledge(subscription=subscription, ack_ids=["x" * 176] * 1001)
    with pytest.raises(exceptions.InvalidArgument, match="between 0 and 600"):
        rig.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=["x" * 176], ack_deadline_seconds=601)
    with pytest.raises(exceptions.InvalidArgument, match="max_messages"):
        rig.subscriber.pull(subscription=subscription, max_messages=0)
    with pytest.raises(exceptions.NotFound):
        rig.subscriber.pull(subscription=rig.path("subscriptions", "nope"), max_messages=1)


async def test_a_stream_delivers_and_takes_acks(rig, streams, server, clock):
    topic, subscription = rig.pair()
    async with streams.open(subscription) as stream:
        rig.publish(topic, *[b"%d" % index for index in range(500)])
        received = await stream.messages(500)
        assert sorted(int(each.message.data) for each in received) == list(range(500))
        stream.ack(received)
        stream.send(modify_deadline_ack_ids=["x" * 176], modify_deadline_seconds=[10])
        stream.half_close()
        with pytest.raises(StopAsyncIteration):
            await stream.response_where(lambda response: response.received_messages)
    assert server.retained_messages == 0
    clock.advance(60)
    assert rig.bodies(subscription) == []


async def test_a_stream_stops_at_its_flow_control(rig, streams):
    topic, subscription = rig.pair()
    rig.publish(topic, *[b"%d" % index for index in range(20)])
    async with streams.open(subscription, max_outstanding_messages=5) as stream:
        received = await stream.messages(5)
        assert len(rig.pull(subscription, 3)) == 3
        stream.ack(received[:2])
        assert len(await stream.messages(2)) == 2
        stream.send(modify_deadline_ack_ids=[received[2].ack_id], modify_deadline_seconds=[0])
        assert len(await stream.messages(1)) == 1


async def test_a_stream_stops_at_its_bytes(rig, streams):
    topic, subscription = rig.pair()
    rig.publish(topic, *[b"x" * 1000] * 10)
    async with streams.open(subscription, max_outstanding_bytes=2500) as stream:
        received = await stream.messages(3)
        assert len(received) == 3
        assert len(rig.pull(subscription)) == 7
        stream.ack(received)


async def test_leases_of_a_stream_end_by_its_own_deadline(rig, streams, clock):
    topic, subscription = rig.pair(ack_deadline_seconds=10)
    rig.publish(topic, b"x")
    async with streams.open(subscription, stream_ack_deadline_seconds=60) as stream:
        await stream.messages(1)
        clock.advance(50)
        assert rig.bodies(subscription) == []
        clock.advance(15)
        [again] = await stream.messages(1)
        assert again.message.data == b"x"


async def test_streams_share_what_is_published(rig, streams):
    topic, subscription = rig.pair()
    async with streams.open(subscription) as first, streams.open(subscription) as second:
        await first.response()
        await second.response()
        for _ in range(5):
            rig.publish(topic, *[b"x"] * 20)
        shares = await asyncio.gather(first.messages(10), second.messages(10))
        assert all(len(share) >= 10 for share in shares)


async def test_what_a_cancelled_stream_had_comes_again(rig, streams, clock):
    topic, subscription = rig.pair()
    rig.publish(topic, b"x")
    async with streams.open(subscription) as stream:
        await stream.messages(1)
    # Until the server has noticed, an ended lease brings the message to the cancelled stream once more.
    for _ in range(1000):
        clock.advance(11)
        if rig.pull(subscription):
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came again")


async def test_heartbeats_go_both_ways(rig, streams, clock):
    _, subscription = rig.pair()
    async with streams.open(subscription, protocol_version=1) as stream:
        assert not (await stream.response()).received_messages
        for _ in range(3):
            stream.send()
            clock.advance(31)
            response = await stream.response()
            assert not response.received_messages
            assert not response.subscription_properties.exactly_once_delivery_enabled


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"stream_ack_deadline_seconds": 5}, None),
        ({"stream_ack_deadline_seconds": 0}, None),
        ({"stream_ack_deadline_seconds": 601}, None),
        ({}, {"max_outstanding_messages": 5}),
        ({}, {"client_id": "me"}),
        ({}, {"stream_ack_deadline_seconds": 5}),
        ({}, {"modify_deadline_ack_ids": ["x" * 176]}),
        ({}, {"modify_deadline_ack_ids": ["x" * 176], "modify_deadline_seconds": [601]}),
        ({}, {"ack_ids": ["short"]}),
    ],
)
async def test_a_stream_refuses_what_the_service_does(rig, streams, first, later):
    _, subscription = rig.pair()
    async with streams.open(subscription, **first) as stream:
        if later is not None:
            stream.send(**later)
        with pytest.raises(exceptions.InvalidArgument):
            await stream.response_where(lambda response: response.received_messages)


async def test_deleting_a_subscription_ends_its_streams(rig, streams):
    _, subscription = rig.pair()
    async with streams.open(subscription) as stream:
        await stream.response()
        rig.subscriber.delete_subscription(subscription=subscription)
        with pytest.raises(exceptions.NotFound):
            await stream.response()


async def test_a_stream_is_ended_after_half_an_hour(rig, streams, clock):
    _, name = rig.pair()
    async with streams.open(name) as stream:
        await stream.response()
        clock.advance(1_801)
        with pytest.raises(exceptions.ServiceUnavailable, match="Please try again"):
            await stream.response_where(lambda response: False)


def test_what_googles_own_tracing_adds_is_taken(rig):
    topic, name = rig.pair()
    rig.publish(topic, b"", googclient_traceparent="00-1-2-01")
    [received] = rig.pull(name)
    assert received.message.attributes == {"googclient_traceparent": "00-1-2-01"}
    with pytest.raises(exceptions.InvalidArgument, match="begins with 'goog'"):
        rig.publish(topic, b"", google="x")


async def test_a_server_that_stops_ends_its_streams_at_once():
    async with running(PubsubServer()) as server:
        options = [("grpc.max_receive_message_length", -1)]
        channel = grpc.aio.insecure_channel(f"{server.host}:{server.port}", options=options)
        transports = [kind(channel=channel) for kind in (PublisherGrpcAsyncIOTransport, SubscriberGrpcAsyncIOTransport)]
        publisher, subscriber = (
            PublisherAsyncClient(transport=transports[0]),
            SubscriberAsyncClient(transport=transports[1]),
        )
        topic, subscription = "projects/local/topics/orders", "projects/local/subscriptions/billing"
        await publisher.create_topic(name=topic)
        await subscriber.create_subscription(name=subscription, topic=topic)
        first = types.StreamingPullRequest(subscription=subscription, stream_ack_deadline_seconds=10)

        async def requests():
            yield first
            await asyncio.Event().wait()

        responses = await subscriber.streaming_pull(requests=requests(), retry=None, timeout=None)
        stream = responses.__aiter__()
        await stream.__anext__()
        await server.stop()
        with pytest.raises(exceptions.ServiceUnavailable, match="shutting down"):
            await stream.__anext__()
        await channel.close()


def test_the_librarys_threaded_clients_work_unmodified(server, rig, monkeypatch):
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    topic, subscription = rig.pair()
    publisher = pubsub_v1.PublisherClient()
    subscriber = pubsub_v1.SubscriberClient()
    sent = {publisher.publish(topic, b"%d" % index).result(BOUND) for index in range(50)}
    arrived: queue.Queue[str] = queue.Queue()

    def handle(message):
        message.ack()
        arrived.put(message.message_id)

    pulling = subscriber.subscribe(subscription, callback=handle)
    assert {arrived.get(timeout=BOUND) for _ in sent} == sent
    pulling.cancel()
    pulling.result(BOUND)
    publisher.stop()
    publisher.transport.close()
    subscriber.close()
