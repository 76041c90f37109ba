"""What a server with a data folder keeps, through a stop and through kill -9."""

from __future__ import annotations

import signal
import threading

import pytest
from google.api_core import exceptions
from google.pubsub_v1 import types

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import running_in_thread

AGENT = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"


@pytest.fixture
def restarted(tmp_path, clock, open_rig):
    """Runs a function against one server after the other, on the same folder."""

    def run(*steps):
        for step in steps:
            with running_in_thread(PubsubServer(data=tmp_path, clock=clock)) as server:
                step(open_rig(server))
                retained = server.retained_messages
        return retained

    return run


def test_messages_stay_until_acked(restarted, clock):
    numbers = []

    def before(rig):
        topic, subscription = rig.pair()
        rig.subscription("shipping", topic)
        numbers.extend(rig.publish(topic, b"1", b"2", b"3", a="\x00é"))
        received = rig.pull(subscription)
        rig.ack(subscription, received[:1])
        clock.advance(10)  # until the leases are over

    def after(rig):
        subscription = rig.path("subscriptions", "billing")
        received = rig.pull(subscription)
        assert [each.message.data for each in received] == [b"2", b"3"]
        assert [each.message.message_id for each in received] == numbers[1:]
        assert dict(received[0].message.attributes) == {"a": "\x00é"}
        rig.ack(subscription, received)
        shipping = rig.pull(rig.path("subscriptions", "shipping"))
        assert [each.message.data for each in shipping] == [b"1", b"2", b"3"]
        rig.ack(rig.path("subscriptions", "shipping"), shipping)
        [number] = rig.publish(rig.path("topics", "orders"), b"4")
        assert number not in numbers

    def at_last(rig):
        assert rig.bodies(rig.path("subscriptions", "billing")) == [b"4"]

    assert restarted(before, after, at_last) == 1


def test_resources_and_their_state_stay(restarted, seconds):
    def before(rig):
        topic = rig.topic(labels={"a": "b"}, message_retention_duration=seconds(3600))
        dead = rig.topic("dead")
        policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
        subscription = rig.subscription(
            "billing", topic, dead_letter_policy=policy, enable_message_ordering=True, filter="attributes:keep"
        )
        rig.subscription("letters", dead)
        for resource, role in ((dead, "roles/pubsub.publisher"), (subscription, "roles/pubsub.subscriber")):
            bindings = [{"role": role, "members": [AGENT]}]
            rig.publisher.set_iam_policy(request={"resource": resource, "policy": {"bindings": bindings}})
        rig.publish(topic, b"1", b"2", key="k", keep="")
        rig.publish(topic, b"3")
        for _ in range(3):
            rig.nack(subscription, rig.pull(subscription)[:1])
        rig.subscriber.create_snapshot(name=rig.path("snapshots", "one"), subscription=subscription)
        rig.subscription("gone", topic)
        rig.publisher.detach_subscription(request={"subscription": rig.path("subscriptions", "gone")})
        rig.topic("deleted")
        rig.publisher.delete_topic(topic=rig.path("topics", "deleted"))

    def after(rig):
        subscription = rig.path("subscriptions", "billing")
        assert [topic.name for topic in rig.publisher.list_topics(project="projects/local")] == [
            rig.path("topics", "dead"),
            rig.path("topics", "orders"),
        ]
        assert dict(rig.publisher.get_topic(topic=rig.path("topics", "orders")).labels) == {"a": "b"}
        assert rig.subscriber.get_subscription(subscription=rig.path("subscriptions", "gone")).detached
        received = rig.pull(subscription)
        assert [(each.message.data, each.delivery_attempt) for each in received] == [(b"1", 4), (b"2", 1)]
        rig.nack(subscription, received[:1])
        rig.nack(subscription, rig.pull(subscription)[:1])
        assert rig.bodies(rig.path("subscriptions", "letters")) == [b"1"]
        rig.ack(subscription, rig.pull(subscription))
        rig.subscriber.seek(request={"subscription": subscription, "snapshot": rig.path("snapshots", "one")})
        assert rig.bodies(subscription) == [b"1", b"2"]
        late = rig.subscription("late", rig.path("topics", "orders"))
        rig.subscriber.seek(request={"subscription": late, "time": {"seconds": 1}})
        assert rig.bodies(late) == [b"1", b"2", b"3"]

    restarted(before, after)


def test_retained_acked_messages_stay_acked(restarted):
    def before(rig):
        topic, subscription = rig.pair(retain_acked_messages=True)
        rig.publish(topic, b"1", b"2")
        rig.ack(subscription, rig.pull(subscription, 1))

    def after(rig):
        subscription = rig.path("subscriptions", "billing")
        assert rig.bodies(subscription) == [b"2"]
        rig.subscriber.seek(request={"subscription": subscription, "time": {"seconds": 1}})
        assert rig.bodies(subscription) == [b"1", b"2"]

    restarted(before, after)


def test_what_expired_while_nobody_ran_is_gone(restarted, clock, seconds):
    def before(rig):
        topic, subscription = rig.pair(message_retention_duration=seconds(600))
        rig.publish(topic, b"x")
        rig.subscriber.create_snapshot(name=rig.path("snapshots", "one"), subscription=subscription)
        clock.advance(8 * 86_400)

    def after(rig):
        assert rig.pull(rig.path("subscriptions", "billing")) == []
        with pytest.raises(exceptions.NotFound):
            rig.subscriber.get_snapshot(snapshot=rig.path("snapshots", "one"))

    assert restarted(before, after) == 0


def test_leases_outlive_a_restart(restarted, clock):
    """As on Google, where no process of the service that ends takes a lease from who has it."""
    kept = []

    def before(rig):
        topic, subscription = rig.pair(enable_exactly_once_delivery=True)
        rig.publish(topic, b"1", b"2", b"3")
        kept.extend(rig.pull(subscription))
        rig.extend(subscription, kept[1:], 30)

    def after(rig):
        subscription = rig.path("subscriptions", "billing")
        assert rig.bodies(subscription) == []
        rig.ack(subscription, kept[1:2])
        clock.advance(10)
        assert rig.bodies(subscription) == [b"1"]
        for lost in (kept[:1], kept[1:2]):
            with pytest.raises(exceptions.InvalidArgument):
                rig.ack(subscription, lost)
        clock.advance(20)
        assert rig.bodies(subscription) == [b"1", b"3"]

    restarted(before, after)


def test_a_lease_that_ended_while_nobody_ran_counts(restarted, clock):
    def before(rig):
        dead = rig.topic("dead")
        policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
        topic, subscription = rig.pair(dead_letter_policy=policy, enable_message_ordering=True)
        rig.publish(topic, b"1", b"2", key="k")
        assert [each.delivery_attempt for each in rig.pull(subscription)] == [1, 1]
        clock.advance(11)

    def after(rig):
        again = rig.pull(rig.path("subscriptions", "billing"))
        assert [(each.message.data, each.delivery_attempt) for each in again] == [(b"1", 2), (b"2", 2)]

    restarted(before, after)


@pytest.mark.parametrize("settled", ["first", "second"])
def test_a_key_stays_with_who_had_it_before_a_restart(settled, restarted, clock):
    kept = []

    def before(rig):
        topic, subscription = rig.pair(enable_message_ordering=True)
        rig.publish(topic, b"1", b"2", b"3", key="k")
        kept.extend(rig.pull(subscription, 2))
        if settled == "second":
            rig.ack(subscription, kept[1:])

    def after(rig):
        subscription = rig.path("subscriptions", "billing")
        assert rig.bodies(subscription) == []
        if settled == "first":
            rig.ack(subscription, kept[:1])
            assert rig.bodies(subscription) == []
            clock.advance(10)
            assert rig.bodies(subscription) == [b"2", b"3"]
        else:  # it isn't final, and comes again behind the first
            clock.advance(10)
            assert rig.bodies(subscription) == [b"1", b"2", b"3"]

    def at_last(rig):
        clock.advance(10)
        rig.ack(rig.path("subscriptions", "billing"), rig.pull(rig.path("subscriptions", "billing")))

    assert restarted(before, after, at_last) == 0


def test_what_is_acked_out_of_order_is_final_once_the_earlier_one_is(restarted):
    kept = []

    def before(rig):
        topic, subscription = rig.pair(enable_message_ordering=True)
        rig.publish(topic, b"1", b"2", key="k")
        kept.extend(rig.pull(subscription))
        rig.ack(subscription, kept[1:])

    def after(rig):
        rig.ack(rig.path("subscriptions", "billing"), kept[:1])

    assert restarted(before, after) == 0


def test_kill_9_forgets_no_delivery(spawn, connect, tmp_path):
    """Each was counted before it was sent, on streams too, and its lease goes on."""
    process = spawn("--port", "0", "--data", str(tmp_path))
    rig = connect(process.address)
    policy = {"dead_letter_topic": rig.topic("dead"), "max_delivery_attempts": 5}
    topic, subscription = rig.pair(dead_letter_policy=policy, ack_deadline_seconds=600)
    rig.publish(topic, b"pulled")
    [pulled] = rig.wait(subscription)
    rig.publish(topic, b"streamed")
    over = threading.Event()

    def requests():
        yield types.StreamingPullRequest(subscription=subscription, stream_ack_deadline_seconds=600)
        over.wait(60)

    responses = rig.subscriber.streaming_pull(requests=requests())
    [streamed] = next(each.received_messages for each in responses if each.received_messages)
    process.end(signal.SIGKILL)
    over.set()
    process = spawn("--port", "0", "--data", str(tmp_path))
    rig = connect(process.address)
    assert rig.pull(subscription) == []
    rig.nack(subscription, [pulled, streamed])
    again = {(each.message.data, each.delivery_attempt) for each in rig.pull(subscription)}
    assert again == {(b"pulled", 2), (b"streamed", 2)}
    assert process.end(signal.SIGTERM) == 0


def test_kill_9_loses_nothing_that_was_accepted(spawn, connect, tmp_path):
    """Three lives of one server, each killed while messages are published and acked."""
    accepted: set[str] = set()
    acked: set[str] = set()
    received: set[str] = set()
    for life in range(3):
        process = spawn("--port", "0", "--data", str(tmp_path))
        rig = connect(process.address)
        topic, subscription = rig.path("topics", "orders"), rig.path("subscriptions", "billing")
        if life == 0:
            rig.pair(ack_deadline_seconds=600)
        enough = threading.Event()

        def publish(rig=rig, topic=topic, enough=enough):
            for index in range(100_000):
                request = {"topic": topic, "messages": [{"data": b"%d" % index}] * 7}
                try:
                    # Without the library's own retries, which would go on for ten minutes.
                    accepted.update(rig.publisher.publish(request=request, retry=None, timeout=20).message_ids)
                except exceptions.GoogleAPICallError:
                    return
                if index == 30:
                    enough.set()

        publishing = threading.Thread(target=publish)
        publishing.start()
        for _ in range(10):
            batch = rig.wait(subscription, 10)
            ids = {each.message.message_id for each in batch}
            assert not ids & acked, "what a unary ack was answered for came again"
            received |= ids
            rig.ack(subscription, batch)
            acked |= ids
        assert enough.wait(60)
        process.end(signal.SIGKILL)
        publishing.join()
    process = spawn("--port", "0", "--data", str(tmp_path))
    rig = connect(process.address)
    while batch := rig.pull(subscription):
        ids = {each.message.message_id for each in batch}
        assert not ids & acked
        received |= ids
        rig.ack(subscription, batch)
    assert len(accepted) >= 3 * 30 * 7
    assert accepted <= received
    assert process.end(signal.SIGTERM) == 0
