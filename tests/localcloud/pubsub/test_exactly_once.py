"""Exactly-once delivery: an ack that comes too late fails, and says so."""

from __future__ import annotations

import queue
import threading

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeError, AcknowledgeStatus
from google.rpc import error_details_pb2

BOUND = 30.0


def reasons(error):
    [info] = [detail for detail in error.details if isinstance(detail, error_details_pb2.ErrorInfo)]
    return dict(info.metadata)


def test_late_acks_and_extensions_fail_by_id(rig, clock):
    topic, subscription = rig.pair(enable_exactly_once_delivery=True)
    rig.publish(topic, b"1", b"2")
    late = rig.pull(subscription)
    clock.advance(11)
    again = rig.wait(subscription)
    assert len(again) == 2
    mixed = [late[0], again[0]]
    with pytest.raises(exceptions.InvalidArgument) as caught:
        rig.ack(subscription, mixed)
    assert reasons(caught.value) == {late[0].ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}
    with pytest.raises(exceptions.InvalidArgument) as caught:
        rig.extend(subscription, late[1:], 30)
    assert reasons(caught.value) == {late[1].ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}
    rig.ack(subscription, again[1:])
    clock.advance(600)
    assert rig.pull(subscription) == []


async def test_streams_confirm_by_id(rig, streams, clock):
    topic, subscription = rig.pair(enable_exactly_once_delivery=True)
    rig.publish(topic, b"1", b"2")
    async with streams.open(subscription) as stream:
        first = await stream.response_where(lambda response: response.received_messages)
        assert first.subscription_properties.exactly_once_delivery_enabled
        late = [each.ack_id for each in first.received_messages]
        clock.advance(11)
        again = [each.ack_id for each in await stream.messages(2)]
        stream.send(modify_deadline_ack_ids=[late[1], again[1]], modify_deadline_seconds=[20, 20])
        response = await stream.response_where(lambda each: each.modify_ack_deadline_confirmation.ack_ids)
        assert list(response.modify_ack_deadline_confirmation.ack_ids) == again[1:]
        assert list(response.modify_ack_deadline_confirmation.invalid_ack_ids) == late[1:]
        stream.send(ack_ids=[late[0], again[0]])
        response = await stream.response_where(lambda each: each.acknowledge_confirmation.ack_ids)
        assert list(response.acknowledge_confirmation.ack_ids) == again[:1]
        assert list(response.acknowledge_confirmation.invalid_ack_ids) == late[:1]


def test_the_librarys_subscriber_learns_which_acks_failed(rig, server, clock, monkeypatch):
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    topic, subscription = rig.pair(enable_exactly_once_delivery=True)
    subscriber = pubsub_v1.SubscriberClient()
    outcomes: queue.Queue[object] = queue.Queue()
    jumped, failed = threading.Event(), threading.Event()

    def handle(message):
        if message.data == b"late" and not jumped.is_set():
            jumped.set()
            clock.advance(3600)
        elif message.data == b"late":
            # In one request with a bad id, the library would call this one's good ack a failure as well.
            failed.wait(BOUND)
        try:
            outcomes.put(message.ack_with_response().result(BOUND))
        except AcknowledgeError as error:
            outcomes.put(error.error_code)

    pulling = subscriber.subscribe(subscription, callback=handle)
    rig.publish(topic, b"in time")
    assert outcomes.get(timeout=BOUND) == AcknowledgeStatus.SUCCESS
    rig.publish(topic, b"late")
    assert outcomes.get(timeout=BOUND) == AcknowledgeStatus.INVALID_ACK_ID
    failed.set()
    assert outcomes.get(timeout=BOUND) == AcknowledgeStatus.SUCCESS
    pulling.cancel()
    pulling.result(BOUND)
    subscriber.close()
