"""Topics and subscriptions: creation, change, listing, deletion, and what is refused."""

from __future__ import annotations

import datetime
import subprocess
import sys

import grpc
import pytest
from google.api_core import exceptions

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import running_in_thread


def test_a_topic_comes_and_goes(rig):
    topic = rig.topic(labels={"team": "a"}, kms_key_name="projects/p/locations/l/keyRings/r/cryptoKeys/k")
    found = rig.publisher.get_topic(topic=topic)
    assert dict(found.labels) == {"team": "a"}
    assert found.kms_key_name.endswith("/k")
    with pytest.raises(exceptions.AlreadyExists, match="orders"):
        rig.topic()
    rig.publisher.delete_topic(topic=topic)
    for call in (rig.publisher.get_topic, rig.publisher.delete_topic):
        with pytest.raises(exceptions.NotFound, match="orders"):
            call(topic=topic)
    with pytest.raises(exceptions.NotFound):
        rig.publish(topic, b"x")


def test_a_subscription_has_googles_defaults(rig):
    topic, subscription = rig.pair()
    found = rig.subscriber.get_subscription(subscription=subscription)
    assert found.topic == topic
    assert found.ack_deadline_seconds == 10
    assert found.message_retention_duration == datetime.timedelta(days=7)
    assert found.expiration_policy.ttl == datetime.timedelta(days=31)
    assert "retry_policy" not in found
    assert "dead_letter_policy" not in found
    assert found.state.name == "ACTIVE"
    with pytest.raises(exceptions.AlreadyExists):
        rig.subscription("billing", topic)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "orders",
        "projects/p/topics/ab",
        "projects/p/topics/1abc",
        "projects/p/topics/googabc",
        "projects/p/topics/a b c",
        "projects//topics/abc",
        "projects/p/subscriptions/abc",
        "projects/p/topics/" + "a" * 256,
    ],
)
def test_malformed_names_are_refused(rig, name):
    with pytest.raises(exceptions.InvalidArgument, match="name"):
        rig.publisher.create_topic(name=name)


def test_bad_subscriptions_are_refused(rig, seconds):
    topic = rig.topic()
    bad = [
        {"ack_deadline_seconds": 9},
        {"ack_deadline_seconds": 601},
        {"message_retention_duration": seconds(599)},
        {"message_retention_duration": seconds(31 * 86400 + 1)},
        {"expiration_policy": {"ttl": seconds(86399)}},
        {"retry_policy": {"minimum_backoff": seconds(601)}},
        {"retry_policy": {"minimum_backoff": seconds(20), "maximum_backoff": seconds(10)}},
        {"push_config": {"push_endpoint": "ftp://example.com"}},
        {"push_config": {"push_endpoint": "https://example.com"}, "enable_exactly_once_delivery": True},
        {"labels": {"Team": "a"}},
        {"labels": {"team": "A"}},
        {"labels": {f"k{index}": "" for index in range(65)}},
    ]
    for config in bad:
        with pytest.raises(exceptions.InvalidArgument):
            rig.subscription("billing", topic, **config)
    with pytest.raises(exceptions.NotFound):
        rig.subscription("billing", rig.path("topics", "nope"))


@pytest.mark.parametrize(
    "config",
    [
        {"bigquery_config": {"table": "p.d.t"}},
        {"bigquery_config": {"table": "p:d.t", "use_table_schema": True, "drop_unknown_fields": True}},
        {"cloud_storage_config": {"bucket": "a-bucket", "avro_config": {"write_metadata": True}}},
        {"bigtable_config": {"table": "projects/p/instances/i/tables/t"}},
    ],
)
def test_exports_are_kept_shown_and_can_not_be_pulled(rig, config):
    topic = rig.topic()
    subscription = rig.subscription("billing", topic, **config)
    [name] = config
    shown = getattr(rig.subscriber.get_subscription(subscription=subscription), name)
    assert shown.state.name == "ACTIVE"
    for key, value in config[name].items():
        assert getattr(shown, key) == value or isinstance(value, dict)
    with pytest.raises(exceptions.FailedPrecondition, match=name):
        rig.subscriber.pull(subscription=subscription, max_messages=1)


@pytest.mark.parametrize(
    "config",
    [
        {"bigquery_config": {"table": "t"}},
        {"bigquery_config": {"table": "p.d.t", "drop_unknown_fields": True}},
        {"bigquery_config": {"table": "p.d.t", "use_topic_schema": True, "use_table_schema": True}},
        {"cloud_storage_config": {"bucket": "gs://b"}},
        {"cloud_storage_config": {"bucket": "a-bucket", "max_bytes": 1}},
        {"cloud_storage_config": {"bucket": "a-bucket", "max_messages": 1}},
        {"cloud_storage_config": {"bucket": "a-bucket"}, "bigquery_config": {"table": "p.d.t"}},
        {"bigquery_config": {"table": "p.d.t"}, "push_config": {"push_endpoint": "https://example.com"}},
        {"bigquery_config": {"table": "p.d.t"}, "enable_exactly_once_delivery": True},
        {"bigtable_config": {"table": "t"}},
        {"push_config": {"push_endpoint": "https://example.com", "oidc_token": {"audience": "a"}}},
    ],
)
def test_exports_and_pushes_that_google_does_not_take_are_refused(rig, config):
    with pytest.raises(exceptions.InvalidArgument):
        rig.subscription("billing", rig.topic(), **config)


@pytest.mark.parametrize(
    "policy", [{"allowed_persistence_regions": ["mars"]}, {"enforce_in_transit": True}], ids=["region", "transit"]
)
def test_storage_policies_are_checked(rig, policy):
    with pytest.raises(exceptions.InvalidArgument, match="message_storage_policy"):
        rig.topic(message_storage_policy=policy)


def test_storage_policies_are_kept(rig):
    policy = {"allowed_persistence_regions": ["europe-west3", "us-east1"], "enforce_in_transit": True}
    topic = rig.topic(message_storage_policy=policy)
    kept = rig.publisher.get_topic(topic=topic).message_storage_policy
    assert list(kept.allowed_persistence_regions) == policy["allowed_persistence_regions"]


def test_a_snapshot_without_a_name_gets_one(rig):
    _, subscription = rig.pair()
    first, second = (rig.subscriber.create_snapshot(request={"subscription": subscription}).name for _ in range(2))
    assert first != second
    assert first.startswith("projects/local/snapshots/")
    assert rig.subscriber.get_snapshot(snapshot=first).name == first


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("message_transforms", [{"javascript_udf": {"function_name": "f", "code": "x"}}]),
        ("ingestion_data_source_settings", {"cloud_storage": {"bucket": "b"}}),
    ],
)
def test_what_isnt_here_is_refused_by_its_name(rig, name, config):
    with pytest.raises(exceptions.MethodNotImplemented, match=name):
        rig.topic("other", **{name: config})
    if name == "message_transforms":
        with pytest.raises(exceptions.MethodNotImplemented, match=name):
            rig.subscription("billing", rig.topic(), **{name: config})


def test_updates_change_what_their_mask_names(rig, seconds):
    topic, subscription = rig.pair(labels={"a": "1", "b": "2"})
    changed = rig.update(
        subscription, ["ack_deadline_seconds", "labels", "retry_policy"],
        ack_deadline_seconds=30, labels={"a": "3"}, retry_policy={"minimum_backoff": seconds(1)},
        retain_acked_messages=True,
    )  # fmt: skip
    assert changed.ack_deadline_seconds == 30
    assert dict(changed.labels) == {"a": "3"}
    assert changed.retry_policy.minimum_backoff == datetime.timedelta(seconds=1)
    assert changed.retry_policy.maximum_backoff == datetime.timedelta(seconds=600)
    assert not changed.retain_acked_messages
    assert "retry_policy" not in rig.update(subscription, ["retry_policy"])
    request = {"topic": {"name": topic, "labels": {"x": "y"}}, "update_mask": {"paths": ["labels"]}}
    assert dict(rig.publisher.update_topic(request=request).labels) == {"x": "y"}


@pytest.mark.parametrize("paths", [[], ["nonsense"], ["name"], ["topic"], ["enable_message_ordering"], ["detached"]])
def test_updates_of_what_cant_change_are_refused(rig, paths):
    _, subscription = rig.pair()
    with pytest.raises(exceptions.InvalidArgument, match="mask"):
        rig.update(subscription, paths)


def test_a_changed_ack_deadline_holds_for_the_next_lease(rig, clock):
    topic, subscription = rig.pair()
    rig.publish(topic, b"x")
    rig.update(subscription, ["ack_deadline_seconds"], ack_deadline_seconds=60)
    rig.pull(subscription)
    clock.advance(50)
    assert rig.pull(subscription) == []


def test_listings_come_in_pages(rig):
    names = sorted(rig.topic(f"topic-{index}") for index in range(7))
    pages = list(rig.publisher.list_topics(request={"project": "projects/local", "page_size": 3}).pages)
    assert [len(page.topics) for page in pages] == [3, 3, 1]
    assert [topic.name for page in pages for topic in page.topics] == names
    assert list(rig.publisher.list_topics(project="projects/other")) == []
    subscriptions = sorted(rig.subscription(f"sub-{index}", names[0]) for index in range(3))
    listed = rig.subscriber.list_subscriptions(request={"project": "projects/local", "page_size": 2})
    assert [each.name for each in listed] == subscriptions
    listed = rig.publisher.list_topic_subscriptions(request={"topic": names[0], "page_size": 2})
    assert list(listed) == subscriptions
    for bad in ({"page_token": "?"}, {"page_size": -1}):
        with pytest.raises(exceptions.InvalidArgument, match="page"):
            rig.publisher.list_topics(request={"project": "projects/local", **bad})
    with pytest.raises(exceptions.InvalidArgument):
        rig.publisher.list_topics(project="local")


def test_a_deleted_topic_leaves_its_subscriptions_what_they_have(rig):
    topic, subscription = rig.pair()
    rig.publish(topic, b"x")
    rig.publisher.delete_topic(topic=topic)
    assert rig.subscriber.get_subscription(subscription=subscription).topic == "_deleted-topic_"
    rig.topic()
    rig.publish(topic, b"y")
    assert rig.bodies(subscription) == [b"x"]


def test_a_deleted_subscription_lets_go_of_its_messages(rig, server):
    topic, subscription = rig.pair()
    rig.publish(topic, b"1", b"2")
    rig.pull(subscription, 1)
    rig.subscriber.delete_subscription(subscription=subscription)
    assert server.retained_messages == 0
    assert list(rig.publisher.list_topic_subscriptions(topic=topic)) == []
    rig.subscription("billing", topic)
    assert rig.pull(subscription) == []


def test_a_detached_subscription_delivers_no_more(rig, server):
    topic, subscription = rig.pair()
    rig.publish(topic, b"x")
    rig.publisher.detach_subscription(request={"subscription": subscription})
    assert rig.subscriber.get_subscription(subscription=subscription).detached
    with pytest.raises(exceptions.FailedPrecondition, match="detached"):
        rig.pull(subscription)
    rig.publish(topic, b"y")
    assert server.retained_messages == 0
    assert list(rig.publisher.list_topic_subscriptions(topic=topic)) == []


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "message_count"),
        ([{"data": b"x"}] * 1001, "message_count"),
        ([{}], "empty"),
        ([{"data": b"x" * 10_000_001}], "request_size"),
        ([{"data": b"x", "attributes": {f"k{index}": "" for index in range(101)}}], "number of attributes"),
        ([{"data": b"x", "attributes": {"": "v"}}], "attribute key"),
        ([{"data": b"x", "attributes": {"é" * 129: "v"}}], "attribute key"),
        ([{"data": b"x", "attributes": {"k": "é" * 513}}], "attribute value"),
        ([{"data": b"x", "attributes": {"googclient": "v"}}], "goog"),
        ([{"data": b"x", "ordering_key": "é" * 513}], "ordering_key"),
        ([{"data": b"x", "ordering_key": "a"}, {"data": b"x"}], "ordering key"),
    ],
)
def test_what_is_over_a_limit_is_refused_as_a_whole(rig, messages, why):
    topic, subscription = rig.pair()
    with pytest.raises(exceptions.InvalidArgument, match=why):
        rig.publisher.publish(request={"topic": topic, "messages": messages})
    assert rig.pull(subscription) == []


def test_what_is_just_within_the_limits_is_accepted(rig):
    topic, subscription = rig.pair()
    attributes = {f"k{index:02}" + "x" * 253: "é" * 512 for index in range(100)}
    messages = [{"data": b"x", "attributes": attributes, "ordering_key": "é" * 512}]
    rig.publisher.publish(request={"topic": topic, "messages": messages})
    rig.publisher.publish(request={"topic": topic, "messages": [{"attributes": {"a": ""}}] * 1000})
    assert len(rig.pull(subscription, 1)) == 1


def test_failures_can_be_injected(rig, server):
    topic, subscription = rig.pair()
    server.fail_next("Publish", grpc.StatusCode.PERMISSION_DENIED, count=2, detail="not you")
    server.fail_next("google.pubsub.v1.Subscriber/Pull", grpc.StatusCode.NOT_FOUND)
    for _ in range(2):
        with pytest.raises(exceptions.PermissionDenied, match="not you"):
            rig.publish(topic, b"x")
    rig.publish(topic, b"y")
    with pytest.raises(exceptions.NotFound):
        rig.pull(subscription)
    assert rig.bodies(subscription) == [b"y"]


def test_a_failure_of_no_method_is_refused(server):
    with pytest.raises(ValueError, match="Acknowledge"):
        server.fail_next("Publsh", grpc.StatusCode.UNAVAILABLE)


async def test_a_failure_can_be_injected_into_a_stream(rig, server, streams):
    _, subscription = rig.pair()
    server.fail_next("StreamingPull", grpc.StatusCode.UNAVAILABLE)
    async with streams.open(subscription) as stream:
        with pytest.raises(exceptions.ServiceUnavailable):
            await stream.response()


def test_failures_planned_before_the_start_hold(open_rig):
    server = PubsubServer()
    server.fail_next("CreateTopic", grpc.StatusCode.RESOURCE_EXHAUSTED)
    with running_in_thread(server):
        rig = open_rig(server)
        with pytest.raises(exceptions.ResourceExhausted):
            rig.topic()
        rig.topic()


def test_the_environment_names_address_and_project():
    server = PubsubServer(project="shop")
    with running_in_thread(server):
        assert server.env() == {
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{server.port}",
            "PUBSUB_PROJECT_ID": "shop",
            "GOOGLE_CLOUD_PROJECT": "shop",
            "GOOGLE_PUBSUB_CUSTOM_ENDPOINT": f"http://127.0.0.1:{server.rest_port}/v1/",
        }
        with pytest.raises(OSError, match="listen"), running_in_thread(PubsubServer(port=server.port)):
            pass


def test_importing_the_server_loads_no_sdk():
    code = (
        "import sys, polybus.localcloud.pubsub as p; p.PubsubServer(); assert not {'grpc', 'google'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
