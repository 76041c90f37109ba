"""Dead-letter forwarding, and the grants that it takes."""

from __future__ import annotations

import pytest
from google.api_core import exceptions

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import running_in_thread

AGENT = "serviceAccount:service-123456@gcp-sa-pubsub.iam.gserviceaccount.com"


def grant(rig, resource, role, member=AGENT):
    rig.publisher.set_iam_policy(
        request={"resource": resource, "policy": {"bindings": [{"role": role, "members": [member]}]}}
    )


def letters(rig, attempts=5, **config):
    """Topic, subscription, dead-letter topic and its subscription."""
    topic, dead = rig.topic(), rig.topic("orders-dead")
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": attempts}
    subscription = rig.subscription("billing", topic, dead_letter_policy=policy, **config)
    return topic, subscription, dead, rig.subscription("billing-dead", dead)


def granted(rig, **config):
    names = letters(rig, **config)
    grant(rig, names[2], "roles/pubsub.publisher")
    grant(rig, names[1], "roles/pubsub.subscriber")
    return names


def test_after_its_last_attempt_a_message_moves(rig, server):
    topic, subscription, _, dead = granted(rig)
    [number] = rig.publish(topic, b"body", key="k", a="b")
    for attempt in range(1, 6):
        [received] = rig.pull(subscription)
        assert received.delivery_attempt == attempt
        rig.nack(subscription, [received])
    assert rig.pull(subscription) == []
    [letter] = rig.pull(dead)
    attributes = dict(letter.message.attributes)
    published = attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime")
    assert published.startswith(f"{received.message.publish_time:%Y-%m-%dT%H:%M:%S}")
    assert attributes == {
        "a": "b",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "billing",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "local",
    }
    assert (letter.message.data, letter.message.ordering_key) == (b"body", "k")
    assert letter.message.message_id != number
    assert letter.delivery_attempt == 0
    rig.ack(dead, [letter])
    assert server.retained_messages == 0


def test_ended_leases_count_as_attempts(rig, clock):
    topic, subscription, _, dead = granted(rig)
    rig.publish(topic, b"x")
    for _ in range(5):
        assert len(rig.wait(subscription)) == 1
        clock.advance(11)
    assert len(rig.wait(dead)) == 1


def test_in_an_ordered_subscription_the_later_ones_follow(rig):
    topic, subscription, _, dead = granted(rig, enable_message_ordering=True)
    rig.publish(topic, b"0", b"1", b"2", key="a")
    for _ in range(5):
        received = rig.pull(subscription)
        assert [each.message.data for each in received] == [b"0", b"1", b"2"]
        rig.nack(subscription, received[:1])
    received = rig.pull(subscription)
    assert [each.message.data for each in received] == [b"1", b"2"]
    assert {each.delivery_attempt for each in received} == {1}
    assert rig.bodies(dead) == [b"0"]


@pytest.mark.parametrize("missing", ["publisher", "subscriber", "agent"])
def test_without_a_grant_nothing_is_forwarded_and_nothing_lost(rig, missing):
    topic, subscription, target, dead = letters(rig)
    member = "serviceAccount:someone@else.iam.gserviceaccount.com" if missing == "agent" else AGENT
    if missing != "publisher":
        grant(rig, target, "roles/pubsub.publisher", member)
    if missing != "subscriber":
        grant(rig, subscription, "roles/pubsub.subscriber", member)
    rig.publish(topic, b"x")
    for attempt in range(1, 9):
        [received] = rig.pull(subscription)
        assert received.delivery_attempt == attempt
        rig.nack(subscription, [received])
    assert rig.pull(dead) == []
    grant(rig, target, "roles/pubsub.publisher")
    grant(rig, subscription, "roles/pubsub.subscriber")
    rig.nack(subscription, rig.pull(subscription))
    assert rig.bodies(dead) == [b"x"]


def test_a_server_without_enforcement_forwards_without_grants(open_rig):
    with running_in_thread(PubsubServer(enforce_iam=False)) as server:
        rig = open_rig(server)
        topic, subscription, _, dead = letters(rig)
        rig.publish(topic, b"x")
        for _ in range(5):
            rig.nack(subscription, rig.pull(subscription))
        assert rig.bodies(dead) == [b"x"]


def test_a_deleted_dead_letter_topic_loses_nothing(rig):
    topic, subscription, target, _ = granted(rig)
    rig.publisher.delete_topic(topic=target)
    rig.publish(topic, b"x")
    for _ in range(7):
        rig.nack(subscription, rig.pull(subscription))
    assert rig.bodies(subscription) == [b"x"]


def test_the_policy_is_checked(rig):
    with pytest.raises(exceptions.InvalidArgument, match="between 5 and 100"):
        letters(rig, attempts=4)
    topic = rig.path("topics", "orders")
    with pytest.raises(exceptions.NotFound):
        rig.subscription("sub", topic, dead_letter_policy={"dead_letter_topic": rig.path("topics", "nope")})
    with pytest.raises(exceptions.InvalidArgument):
        rig.subscription("sub", topic, dead_letter_policy={"max_delivery_attempts": 5})
    name = rig.subscription("sub", topic, dead_letter_policy={"dead_letter_topic": topic})
    found = rig.subscriber.get_subscription(subscription=name)
    assert found.dead_letter_policy.max_delivery_attempts == 5


def test_policies_are_kept_and_guarded_by_their_etag(rig):
    topic = rig.topic()
    assert not rig.publisher.get_iam_policy(request={"resource": topic}).bindings
    grant(rig, topic, "roles/pubsub.viewer", "user:a@example.com")
    policy = rig.publisher.get_iam_policy(request={"resource": topic})
    assert [(each.role, list(each.members)) for each in policy.bindings] == [
        ("roles/pubsub.viewer", ["user:a@example.com"])
    ]
    grant(rig, topic, "roles/pubsub.editor")
    with pytest.raises(exceptions.Aborted):
        rig.publisher.set_iam_policy(request={"resource": topic, "policy": policy})
    with pytest.raises(exceptions.NotFound):
        rig.publisher.get_iam_policy(request={"resource": rig.path("topics", "nope")})
    with pytest.raises(exceptions.InvalidArgument, match="member"):
        grant(rig, topic, "roles/pubsub.editor", "nobody")
    binding = {"role": "roles/pubsub.editor", "members": [AGENT], "condition": {"expression": "true"}}
    with pytest.raises(exceptions.MethodNotImplemented, match="conditions"):
        rig.publisher.set_iam_policy(request={"resource": topic, "policy": {"bindings": [binding]}})
    asked = {"resource": topic, "permissions": ["pubsub.topics.publish"]}
    assert list(rig.publisher.test_iam_permissions(request=asked).permissions) == ["pubsub.topics.publish"]
