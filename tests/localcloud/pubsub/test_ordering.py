"""Ordering keys: one consumer at a time, in order, and redelivery from the failed one on."""

from __future__ import annotations

import asyncio
import random


def numbers(received):
    return [int(each.message.data) for each in received]


def test_one_batch_of_a_key_at_a_time_and_in_order(rig):
    topic, subscription = rig.pair(enable_message_ordering=True)
    for index in range(6):
        rig.publish(topic, b"%d" % index, key="a")
    first = rig.pull(subscription, 3)
    assert numbers(first) == [0, 1, 2]
    assert [each.message.ordering_key for each in first] == ["a"] * 3
    assert rig.pull(subscription) == []
    rig.ack(subscription, first[:2])
    assert rig.pull(subscription) == []
    rig.ack(subscription, first[2:])
    assert numbers(rig.pull(subscription)) == [3, 4, 5]


def test_other_keys_and_messages_without_one_go_on(rig):
    topic, subscription = rig.pair(enable_message_ordering=True)
    rig.publish(topic, b"1", key="a")
    assert len(rig.pull(subscription)) == 1
    rig.publish(topic, b"2", key="a")
    rig.publish(topic, b"3", key="b")
    rig.publish(topic, b"4")
    assert sorted(numbers(rig.pull(subscription))) == [3, 4]


def test_a_redelivery_brings_the_later_ones_again_even_acked(rig, clock):
    topic, subscription = rig.pair(enable_message_ordering=True)
    rig.publish(topic, *[b"%d" % index for index in range(4)], key="a")
    received = rig.pull(subscription)
    rig.ack(subscription, received[2:3])
    rig.ack(subscription, received[:1])
    rig.nack(subscription, received[1:2])
    again = rig.pull(subscription)
    assert numbers(again) == [1, 2, 3]
    rig.ack(subscription, again)
    clock.advance(600)
    assert rig.pull(subscription) == []


def test_an_ended_lease_stops_its_key_until_it_is_settled(rig, clock):
    topic, subscription = rig.pair(enable_message_ordering=True)
    rig.publish(topic, b"0", b"1", key="a")
    assert numbers(rig.pull(subscription, 1)) == [0]
    clock.advance(11)
    assert numbers(rig.wait(subscription)) == [0, 1]


def test_backoff_holds_the_key_and_no_other(rig, clock, seconds):
    policy = {"minimum_backoff": seconds(30), "maximum_backoff": seconds(60)}
    topic, subscription = rig.pair(enable_message_ordering=True, retry_policy=policy)
    rig.publish(topic, b"0", b"1", key="a")
    rig.nack(subscription, rig.pull(subscription, 1))
    rig.publish(topic, b"2", key="b")
    assert numbers(rig.pull(subscription)) == [2]
    clock.advance(31)
    assert numbers(rig.wait(subscription)) == [0, 1]


def test_without_ordering_keys_are_carried_and_do_nothing(rig):
    topic, subscription = rig.pair()
    rig.publish(topic, b"0", key="a")
    assert len(rig.pull(subscription)) == 1
    rig.publish(topic, b"1", key="a")
    [received] = rig.pull(subscription)
    assert received.message.ordering_key == "a"


async def test_a_stream_gets_several_of_a_key_and_keeps_it(rig, streams):
    topic, subscription = rig.pair(enable_message_ordering=True)
    rig.publish(topic, b"0", b"1", key="a")
    async with streams.open(subscription) as first:
        response = await first.response_where(lambda response: response.received_messages)
        assert response.subscription_properties.message_ordering_enabled
        assert numbers(response.received_messages) == [0, 1]
        async with streams.open(subscription) as second:
            await second.response()
            rig.publish(topic, b"2", key="a")
            rig.publish(topic, b"3", key="b")
            received = await first.messages(1)
            assert numbers(received) == [2]
            assert numbers(await second.messages(1)) == [3]


async def test_a_closed_streams_keys_pass_on_once_its_leases_ended(rig, streams, clock):
    topic, subscription = rig.pair(enable_message_ordering=True)
    rig.publish(topic, *[b"%d" % index for index in range(3)], key="a")
    async with streams.open(subscription, max_outstanding_messages=1) as stream:
        await stream.messages(1)
    assert rig.pull(subscription) == []
    clock.advance(11)
    assert numbers(rig.wait(subscription)) == [0, 1, 2]


async def test_order_holds_under_random_failures(rig, streams, clock):
    """Per key no number comes before all lower ones have, and none is missing; seeded."""
    topic, subscription = rig.pair(enable_message_ordering=True)
    choices = random.Random(4)
    keys, each = 10, 30
    for index in range(each):
        for key in range(keys):
            rig.publish(topic, b"%d" % index, key=str(key))
    settled = {str(key): 0 for key in range(keys)}
    seen = dict.fromkeys(settled, -1)

    async def consume() -> None:
        async with streams.open(subscription, max_outstanding_messages=25) as stream:
            while min(settled.values()) < each:
                reading = asyncio.ensure_future(stream.response())
                done, _ = await asyncio.wait({reading, finished}, return_when=asyncio.FIRST_COMPLETED)
                if reading not in done:
                    reading.cancel()
                    return
                for received in reading.result().received_messages:
                    key, number = received.message.ordering_key, int(received.message.data)
                    assert number <= seen[key] + 1, f"{number} of {key} came, {seen[key] + 1} never did"
                    seen[key] = max(seen[key], number)
                    if number > settled[key]:
                        continue  # it was on its way when an earlier one was given back: both come again
                    if choices.random() < 0.05:
                        stream.send(modify_deadline_ack_ids=[received.ack_id], modify_deadline_seconds=[0])
                        continue
                    settled[key] = max(settled[key], number + 1)
                    stream.ack([received])
            if not finished.done():
                finished.set_result(None)

    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await asyncio.wait_for(asyncio.gather(*(consume() for _ in range(4))), 60)
    assert set(settled.values()) == {each}
