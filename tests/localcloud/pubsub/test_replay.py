"""Seeking, snapshots, retention and what expires."""

from __future__ import annotations

import datetime

import pytest
from google.api_core import exceptions

DAY = 86_400


def at(moment):
    return datetime.datetime.fromtimestamp(moment, tz=datetime.UTC)


def seek(rig, subscription, **target):
    rig.subscriber.seek(request={"subscription": subscription, **target})


def test_seeking_back_brings_retained_acked_messages_again(rig, clock):
    topic, subscription = rig.pair(retain_acked_messages=True)
    rig.publish(topic, b"1")
    clock.advance(60)
    middle = clock.time()
    clock.advance(60)
    rig.publish(topic, b"2")
    rig.ack(subscription, rig.pull(subscription))
    seek(rig, subscription, time=at(middle))
    assert rig.bodies(subscription) == [b"2"]
    seek(rig, subscription, time=at(middle - 3600))
    assert rig.bodies(subscription) == [b"1", b"2"]


def test_seeking_forward_acks_what_is_older(rig, clock, server):
    topic, subscription = rig.pair()
    rig.publish(topic, b"1", b"2")
    leased = rig.pull(subscription, 1)
    clock.advance(1)
    seek(rig, subscription, time=at(clock.time()))
    rig.ack(subscription, leased)
    clock.advance(60)
    assert rig.pull(subscription) == []
    assert server.retained_messages == 0


def test_a_topics_retention_replays_what_came_before_the_subscription(rig, clock, seconds, server):
    topic = rig.topic(message_retention_duration=seconds(DAY))
    rig.publish(topic, b"1", keep="yes")
    rig.publish(topic, b"2")
    subscription = rig.subscription("late", topic, filter="attributes:keep")
    assert rig.pull(subscription) == []
    seek(rig, subscription, time=at(clock.time() - 3600))
    assert rig.bodies(subscription) == [b"1"]
    found = rig.subscriber.get_subscription(subscription=subscription)
    assert found.topic_message_retention_duration == datetime.timedelta(days=1)
    clock.advance(DAY + 5)
    rig.publish(topic, b"3", keep="yes")
    assert server.retained_messages == 2


def test_a_snapshot_holds_the_backlog_and_what_comes_after(rig, clock, server):
    topic, subscription = rig.pair()
    other = rig.subscription("shipping", topic)
    rig.publish(topic, b"1", b"2")
    first, _ = rig.pull(subscription)
    rig.ack(subscription, [first])
    snapshot = rig.subscriber.create_snapshot(
        request={"name": rig.path("snapshots", "before"), "subscription": subscription, "labels": {"a": "b"}}
    )
    assert snapshot.topic == topic
    assert abs(snapshot.expire_time.timestamp() - clock.time() - 7 * DAY) < 60
    rig.publish(topic, b"3")
    for name in (subscription, other):
        seek(rig, name, time=at(clock.time() + 60))
        assert rig.pull(name) == []
        seek(rig, name, snapshot=snapshot.name)
        assert rig.bodies(name) == [b"2", b"3"]
    rig.subscriber.delete_snapshot(snapshot=snapshot.name)
    with pytest.raises(exceptions.NotFound):
        seek(rig, subscription, snapshot=snapshot.name)
    for name in (subscription, other):
        seek(rig, name, time=at(clock.time() + 60))
    assert server.retained_messages == 0


def test_snapshots_are_listed_changed_and_expire(rig, clock):
    topic, subscription = rig.pair()
    name = rig.path("snapshots", "one")
    rig.subscriber.create_snapshot(name=name, subscription=subscription)
    with pytest.raises(exceptions.AlreadyExists):
        rig.subscriber.create_snapshot(name=name, subscription=subscription)
    changed = rig.subscriber.update_snapshot(
        request={"snapshot": {"name": name, "labels": {"x": "y"}}, "update_mask": {"paths": ["labels"]}}
    )
    assert dict(changed.labels) == {"x": "y"}
    assert [each.name for each in rig.subscriber.list_snapshots(project="projects/local")] == [name]
    assert list(rig.publisher.list_topic_snapshots(topic=topic)) == [name]
    assert rig.subscriber.get_snapshot(snapshot=name).topic == topic
    clock.advance(7 * DAY + 1)
    rig.publish(topic, b"x")
    with pytest.raises(exceptions.NotFound):
        rig.subscriber.get_snapshot(snapshot=name)


def test_a_snapshot_of_an_old_backlog_is_refused(rig, clock, seconds):
    topic, subscription = rig.pair(message_retention_duration=seconds(10 * DAY))
    rig.publish(topic, b"x")
    clock.advance(7 * DAY - 1800)
    with pytest.raises(exceptions.FailedPrecondition, match="within an hour"):
        rig.subscriber.create_snapshot(name=rig.path("snapshots", "one"), subscription=subscription)


def test_a_snapshot_of_another_topic_is_refused(rig):
    _, subscription = rig.pair()
    rig.subscriber.create_snapshot(name=rig.path("snapshots", "one"), subscription=subscription)
    other = rig.subscription("other", rig.topic("other"))
    with pytest.raises(exceptions.FailedPrecondition, match="topic"):
        seek(rig, other, snapshot=rig.path("snapshots", "one"))
    with pytest.raises(exceptions.InvalidArgument):
        seek(rig, other)


@pytest.mark.parametrize("ordered", [False, True])
def test_unacked_messages_expire_after_the_retention(rig, clock, server, seconds, ordered):
    topic, subscription = rig.pair(message_retention_duration=seconds(600), enable_message_ordering=ordered)
    rig.publish(topic, b"1", key="a")
    rig.pull(subscription)
    rig.publish(topic, b"2", key="a")
    clock.advance(400)
    rig.publish(topic, b"3", key="a")
    clock.advance(250)
    assert [each.message.data for each in rig.wait(subscription)] == [b"3"]
    assert server.retained_messages == 1


def test_a_subscription_that_nobody_uses_expires(rig, clock, seconds):
    topic, subscription = rig.pair(expiration_policy={"ttl": seconds(DAY)}, message_retention_duration=seconds(3600))
    forever = rig.subscription("forever", topic, expiration_policy={})
    default = rig.subscription("default", topic)
    clock.advance(DAY - 60)
    assert rig.pull(subscription) == []
    clock.advance(DAY - 60)
    rig.subscriber.get_subscription(subscription=subscription)
    clock.advance(120)
    rig.publish(topic, b"x")
    with pytest.raises(exceptions.NotFound):
        rig.subscriber.get_subscription(subscription=subscription)
    rig.subscriber.get_subscription(subscription=default)
    clock.advance(30 * DAY)
    rig.publish(topic, b"x")
    with pytest.raises(exceptions.NotFound):
        rig.subscriber.get_subscription(subscription=default)
    rig.subscriber.get_subscription(subscription=forever)


async def test_an_open_stream_keeps_its_subscription(rig, streams, clock, seconds):
    _, subscription = rig.pair(expiration_policy={"ttl": seconds(DAY)}, message_retention_duration=seconds(3600))
    async with streams.open(subscription) as stream:
        await stream.response()
        clock.advance(DAY + 1)
        rig.subscriber.get_subscription(subscription=subscription)


def test_an_abandoned_backlog_is_let_go_of(rig, clock, server, seconds):
    """With nobody to take them, expired messages must not stay in a queue."""
    topic, subscription = rig.pair(message_retention_duration=seconds(600))
    for _ in range(5):
        rig.publish(topic, *[b"x"] * 100)
        clock.advance(601)
        rig.publish(topic, b"last")
        clock.advance(1)
    clock.advance(601)
    rig.publish(topic, b"new")
    assert rig.bodies(subscription) == [b"new"]
    assert server.retained_messages == 1
