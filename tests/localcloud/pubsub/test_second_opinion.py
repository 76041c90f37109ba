"""What both this server and Google's own emulator must do alike; and what only this one does.

The emulator is found by POLYBUS_PUBSUB_EMULATOR_JAR, or where the Cloud SDK puts it; it needs Java. Where it isn't
there, the tests run against this server alone, and a line says so.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import os
import shutil
import signal
import subprocess
import threading
import uuid

import grpc
import pytest
from google.api_core import exceptions
from google.pubsub_v1 import SubscriberClient, types
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import free_port, running_in_thread

PLACES = (
    "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar",
    "/usr/share/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar",
    os.path.expanduser("~/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar"),
)
BOUND = 30.0


def find_emulator():
    """Its jar, or None and why not."""
    named = os.environ.get("POLYBUS_PUBSUB_EMULATOR_JAR")
    jars = [named] if named else sorted(jar for place in PLACES for jar in glob.glob(place))
    if not jars:
        return None, "no cloud-pubsub-emulator-*.jar was found (POLYBUS_PUBSUB_EMULATOR_JAR names one)"
    if shutil.which("java") is None:
        return None, f"{jars[-1]} is there, but no java on PATH"
    return jars[-1], ""


JAR, WHY_NOT = find_emulator()


@contextlib.contextmanager
def emulator(jar):
    """Run Google's emulator; yield its address."""
    port = free_port()
    command = ["java", "-jar", jar, "--host=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        grpc.channel_ready_future(channel).result(timeout=60)
        channel.close()
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(BOUND)


@pytest.fixture(scope="module", params=["ours", "Google's"] if JAR else ["ours"])
def address(request):
    with contextlib.ExitStack() as stack:
        if request.param == "ours":
            server = stack.enter_context(running_in_thread(PubsubServer()))
            yield f"{server.host}:{server.port}"
        else:
            yield stack.enter_context(emulator(JAR))


@pytest.fixture
def either(address, connect):
    """A rig to one of the two, with a project of its own."""
    rig = connect(address)
    rig.project = f"p{uuid.uuid4().hex[:12]}"
    return rig


def data(received):
    return [each.message.data for each in received]


def all_of(rig, subscription, count):
    """Pull until `count` messages are there: neither server promises them in one response."""
    received: list[types.ReceivedMessage] = []
    while len(received) < count:
        received += rig.wait(subscription, count - len(received))
    return received


def test_publish_deliver_ack(either):
    topic, subscription = either.pair()
    numbers = either.publish(topic, b"1", b"2\xff", a="b", c="")
    received = all_of(either, subscription, 2)
    assert sorted(data(received)) == [b"1", b"2\xff"]
    assert {each.message.message_id for each in received} == set(numbers)
    assert {tuple(sorted(each.message.attributes.items())) for each in received} == {(("a", "b"), ("c", ""))}
    either.ack(subscription, received)
    either.ack(subscription, received)
    assert either.pull(subscription) == []


def test_a_nack_brings_it_again(either):
    topic, subscription = either.pair()
    either.publish(topic, b"x")
    first = all_of(either, subscription, 1)
    either.nack(subscription, first)
    second = all_of(either, subscription, 1)
    assert second[0].message.message_id == first[0].message.message_id
    assert second[0].ack_id != first[0].ack_id


def test_every_subscription_has_its_copy(either):
    topic = either.topic()
    names = [either.subscription(name, topic) for name in ("one", "two")]
    either.publish(topic, b"x")
    assert [data(all_of(either, name, 1)) for name in names] == [[b"x"], [b"x"]]


def test_order_within_a_key(either):
    topic, subscription = either.pair(enable_message_ordering=True)
    for index in range(10):
        either.publish(topic, b"%d" % index, key="k")
    received: list[bytes] = []
    while len(received) < 10:
        batch = either.wait(subscription)
        received += data(batch)
        either.ack(subscription, batch)
    assert received == [b"%d" % index for index in range(10)]


def test_what_is_nacked_of_a_key_comes_again_in_order(either):
    topic, subscription = either.pair(enable_message_ordering=True)
    either.publish(topic, b"0", b"1", b"2", key="k")
    either.nack(subscription, all_of(either, subscription, 3))
    assert data(all_of(either, subscription, 3)) == [b"0", b"1", b"2"]


def test_attempts_are_counted_with_a_dead_letter_policy(either):
    topic = either.topic()
    dead = either.topic("dead")
    subscription = either.subscription("billing", topic, dead_letter_policy={"dead_letter_topic": dead})
    either.publish(topic, b"x")
    for attempt in (1, 2, 3):
        received = all_of(either, subscription, 1)
        assert received[0].delivery_attempt == attempt
        either.nack(subscription, received)


def test_seeking_to_a_time(either):
    topic, subscription = either.pair(retain_acked_messages=True)
    either.publish(topic, b"x")
    either.ack(subscription, all_of(either, subscription, 1))
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    either.subscriber.seek(request={"subscription": subscription, "time": past})
    assert data(all_of(either, subscription, 1)) == [b"x"]
    future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    either.subscriber.seek(request={"subscription": subscription, "time": future})
    assert either.pull(subscription) == []


def test_seeking_to_a_snapshot(either):
    topic, subscription = either.pair()
    either.publish(topic, b"1")
    snapshot = either.path("snapshots", "one")
    either.subscriber.create_snapshot(name=snapshot, subscription=subscription)
    either.ack(subscription, all_of(either, subscription, 1))
    assert either.pull(subscription) == []
    either.subscriber.seek(request={"subscription": subscription, "snapshot": snapshot})
    assert data(all_of(either, subscription, 1)) == [b"1"]


def test_a_stream(either):
    topic, subscription = either.pair()
    either.publish(topic, *[b"%d" % index for index in range(20)])
    client = SubscriberClient(transport=SubscriberGrpcTransport(channel=either.channel))
    first = types.StreamingPullRequest(
        subscription=subscription, stream_ack_deadline_seconds=10, max_outstanding_messages=20
    )
    done = threading.Event()

    def requests():
        yield first
        done.wait(BOUND)

    responses = client.streaming_pull(requests=requests(), retry=None, timeout=BOUND)
    received: list[types.ReceivedMessage] = []
    for response in responses:
        received += response.received_messages
        if len(received) == 20:
            break
    either.ack(subscription, received)
    done.set()
    responses.cancel()
    assert sorted(int(body) for body in data(received)) == list(range(20))
    assert either.pull(subscription) == []


def test_resources_are_described_changed_and_listed(either):
    topic, subscription = either.pair(ack_deadline_seconds=30, labels={"a": "b"})
    found = either.subscriber.get_subscription(subscription=subscription)
    assert (found.topic, found.ack_deadline_seconds, dict(found.labels)) == (topic, 30, {"a": "b"})
    assert either.update(subscription, ["ack_deadline_seconds"], ack_deadline_seconds=60).ack_deadline_seconds == 60
    assert [each.name for each in either.publisher.list_topics(project=f"projects/{either.project}")] == [topic]
    assert list(either.publisher.list_topic_subscriptions(topic=topic)) == [subscription]
    either.publisher.delete_topic(topic=topic)
    assert either.subscriber.get_subscription(subscription=subscription).topic == "_deleted-topic_"


def test_refusals_have_the_same_codes(either):
    topic, subscription = either.pair()
    with pytest.raises(exceptions.AlreadyExists):
        either.topic()
    with pytest.raises(exceptions.AlreadyExists):
        either.subscription("billing", topic)
    with pytest.raises(exceptions.NotFound):
        either.publish(either.path("topics", "nope"), b"x")
    with pytest.raises(exceptions.NotFound):
        either.subscription("other", either.path("topics", "nope"))
    with pytest.raises(exceptions.NotFound):
        either.pull(either.path("subscriptions", "nope"))
    with pytest.raises(exceptions.InvalidArgument):
        either.publisher.publish(request={"topic": topic, "messages": []})
    with pytest.raises(exceptions.InvalidArgument):
        either.publisher.publish(request={"topic": topic, "messages": [{}]})
    with pytest.raises(exceptions.InvalidArgument):
        either.publisher.create_topic(name=either.path("topics", "1x"))
    with pytest.raises(exceptions.InvalidArgument):
        either.subscription("other", topic, ack_deadline_seconds=601)
    with pytest.raises(exceptions.InvalidArgument):
        either.pull(subscription, 0)


def filters(rig):
    topic, subscription = rig.pair(filter='attributes.a = "b"')
    rig.publish(topic, b"no")
    rig.publish(topic, b"yes", a="b")
    return data(all_of(rig, subscription, 1)) == [b"yes"]


def dead_letters(rig):
    topic, dead = rig.topic(), rig.topic("dead")
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription, letters = rig.subscription("billing", topic, dead_letter_policy=policy), rig.subscription("ltr", dead)
    for resource, role in ((dead, "roles/pubsub.publisher"), (subscription, "roles/pubsub.subscriber")):
        agent = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
        policy = {"bindings": [{"role": role, "members": [agent]}]}
        rig.publisher.set_iam_policy(request={"resource": resource, "policy": policy})
    rig.publish(topic, b"x")
    for _ in range(5):
        rig.nack(subscription, all_of(rig, subscription, 1))
    return data(rig.pull(letters)) == [b"x"]


def retry_backoff(rig):
    policy = {"minimum_backoff": {"seconds": 60}, "maximum_backoff": {"seconds": 600}}
    topic, subscription = rig.pair(retry_policy=policy)
    rig.publish(topic, b"x")
    rig.nack(subscription, all_of(rig, subscription, 1))
    try:
        # Long enough for a server without backoff, which has the message ready by now.
        response = rig.subscriber.pull(subscription=subscription, max_messages=1, retry=None, timeout=2)
    except exceptions.DeadlineExceeded:
        return True
    return not response.received_messages


def exactly_once(rig):
    topic, subscription = rig.pair(enable_exactly_once_delivery=True)
    rig.publish(topic, b"x")
    received = all_of(rig, subscription, 1)
    rig.nack(subscription, received)
    try:
        rig.ack(subscription, received)
    except exceptions.InvalidArgument:
        return True
    return False


def detaching(rig):
    _, subscription = rig.pair()
    rig.publisher.detach_subscription(request={"subscription": subscription})
    try:
        rig.pull(subscription)
    except exceptions.FailedPrecondition:
        return True
    return False


def attribute_limits(rig):
    try:
        rig.publish(rig.topic(), b"x", googclient="x")
    except exceptions.InvalidArgument:
        return True
    return False


def works(probe, rig):
    rig.project = f"p{uuid.uuid4().hex[:12]}"
    try:
        return probe(rig)
    except exceptions.GoogleAPICallError:
        return False


def test_only_ours_has_them_all(address, connect, request, say):
    """Tell, by trying, what the emulator lacks that this server is there for."""
    probes = (filters, dead_letters, retry_backoff, exactly_once, detaching, attribute_limits)
    rig = connect(address)
    lacking = [probe.__name__.replace("_", " ") for probe in probes if not works(probe, rig)]
    ours = "ours" in request.node.callspec.id
    if not ours:
        say(f"Google's Pub/Sub emulator ({os.path.basename(JAR)}) lacks: {', '.join(lacking) or 'nothing'}")
    elif JAR is None:
        say(f"Google's Pub/Sub emulator was not asked for its opinion: {WHY_NOT}")
    assert not (ours and lacking)
