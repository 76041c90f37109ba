"""Bytes that are no request, and requests that no client would send, are answered and end nothing."""

from __future__ import annotations

import grpc
import pytest
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import running_in_thread

from .faces import sound
from .scale import cases

PUBLISHER, SUBSCRIBER = "google.pubsub.v1.Publisher", "google.pubsub.v1.Subscriber"
SCHEMAS, POLICIES = "google.pubsub.v1.SchemaService", "google.iam.v1.IAMPolicy"
REQUESTS = {
    f"{PUBLISHER}/CreateTopic": types.Topic,
    f"{PUBLISHER}/UpdateTopic": types.UpdateTopicRequest,
    f"{PUBLISHER}/Publish": types.PublishRequest,
    f"{PUBLISHER}/GetTopic": types.GetTopicRequest,
    f"{PUBLISHER}/ListTopics": types.ListTopicsRequest,
    f"{PUBLISHER}/ListTopicSubscriptions": types.ListTopicSubscriptionsRequest,
    f"{PUBLISHER}/ListTopicSnapshots": types.ListTopicSnapshotsRequest,
    f"{PUBLISHER}/DeleteTopic": types.DeleteTopicRequest,
    f"{PUBLISHER}/DetachSubscription": types.DetachSubscriptionRequest,
    f"{SUBSCRIBER}/CreateSubscription": types.Subscription,
    f"{SUBSCRIBER}/GetSubscription": types.GetSubscriptionRequest,
    f"{SUBSCRIBER}/UpdateSubscription": types.UpdateSubscriptionRequest,
    f"{SUBSCRIBER}/ListSubscriptions": types.ListSubscriptionsRequest,
    f"{SUBSCRIBER}/DeleteSubscription": types.DeleteSubscriptionRequest,
    f"{SUBSCRIBER}/ModifyPushConfig": types.ModifyPushConfigRequest,
    f"{SUBSCRIBER}/ModifyAckDeadline": types.ModifyAckDeadlineRequest,
    f"{SUBSCRIBER}/Acknowledge": types.AcknowledgeRequest,
    f"{SUBSCRIBER}/Pull": types.PullRequest,
    f"{SUBSCRIBER}/StreamingPull": types.StreamingPullRequest,
    f"{SUBSCRIBER}/Seek": types.SeekRequest,
    f"{SUBSCRIBER}/GetSnapshot": types.GetSnapshotRequest,
    f"{SUBSCRIBER}/ListSnapshots": types.ListSnapshotsRequest,
    f"{SUBSCRIBER}/CreateSnapshot": types.CreateSnapshotRequest,
    f"{SUBSCRIBER}/UpdateSnapshot": types.UpdateSnapshotRequest,
    f"{SUBSCRIBER}/DeleteSnapshot": types.DeleteSnapshotRequest,
    f"{SCHEMAS}/CreateSchema": types.CreateSchemaRequest,
    f"{SCHEMAS}/GetSchema": types.GetSchemaRequest,
    f"{SCHEMAS}/ListSchemas": types.ListSchemasRequest,
    f"{SCHEMAS}/ListSchemaRevisions": types.ListSchemaRevisionsRequest,
    f"{SCHEMAS}/CommitSchema": types.CommitSchemaRequest,
    f"{SCHEMAS}/RollbackSchema": types.RollbackSchemaRequest,
    f"{SCHEMAS}/DeleteSchemaRevision": types.DeleteSchemaRevisionRequest,
    f"{SCHEMAS}/DeleteSchema": types.DeleteSchemaRequest,
    f"{SCHEMAS}/ValidateSchema": types.ValidateSchemaRequest,
    f"{SCHEMAS}/ValidateMessage": types.ValidateMessageRequest,
    f"{POLICIES}/GetIamPolicy": iam_policy_pb2.GetIamPolicyRequest,
    f"{POLICIES}/SetIamPolicy": iam_policy_pb2.SetIamPolicyRequest,
    f"{POLICIES}/TestIamPermissions": iam_policy_pb2.TestIamPermissionsRequest,
}
# What a request may be answered with; UNKNOWN, in which gRPC wraps a server's own exceptions, is none of it.
ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Descriptors that gRPC's own channel opens at its first call, and keeps until it is closed.
CHANNEL = 16
NAMES = [f"projects/p/{kind}/known" for kind in ("topics", "subscriptions", "snapshots", "schemas")]


@pytest.fixture(scope="module")
def channel():
    with running_in_thread(PubsubServer()) as server:
        opened = grpc.insecure_channel(f"{server.host}:{server.port}")
        with sound(left=CHANNEL):
            yield opened
        opened.close()


def answer(channel, method, raw):
    """The status that a request of these bytes gets."""
    try:
        if method.endswith("/StreamingPull"):
            list(channel.stream_stream(f"/{method}")(iter([raw]), timeout=30))
        else:
            channel.unary_unary(f"/{method}")(raw, timeout=30)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def fields(kind):
    return kind.pb().DESCRIPTOR if hasattr(kind, "pb") else kind.DESCRIPTOR


def encoded(descriptor, depth=2):
    """Well-formed messages of a type, with values that are likely to matter."""
    numbers = st.sampled_from([0, 1, 5, 10, 600, 601, 1000, 2**31 - 1])
    parts = []
    for each in descriptor.fields:
        if each.message_type is not None:
            if not depth:
                continue
            value = encoded(each.message_type, depth - 1)
        elif each.type in (each.TYPE_STRING, each.TYPE_BYTES):
            value = st.sampled_from(
                [b"", b"projects/p", b"known", b"\xff", b"attributes:k", b"https://[", *map(str.encode, NAMES)]
            )
        else:
            parts.append(numbers.map(lambda value, number=each.number: varint(number << 3) + varint(value)))
            continue
        parts.append(value.map(lambda value, number=each.number: varint(number << 3 | 2) + varint(len(value)) + value))
    if not parts:
        return st.just(b"")
    return st.lists(st.one_of(parts), max_size=6).map(b"".join)


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def without_pull_wait(method, raw):
    """A pull that waits for a message would wait until its deadline: ask for an answer at once instead."""
    return raw + b"\x10\x01" if method.endswith("/Pull") else raw


# Each method's two tests have an equal part of the cases of this face.
quick = cases(1 / (2 * len(REQUESTS)))


@pytest.mark.parametrize("method", REQUESTS)
def test_random_bytes_are_answered(channel, method):
    @quick
    @given(st.binary(max_size=200))
    def check(raw):
        assert answer(channel, method, without_pull_wait(method, raw)) in ANSWERS

    check()


@pytest.mark.parametrize("method", REQUESTS)
def test_odd_requests_are_answered(channel, method):
    for name, kind in zip(NAMES[:1], [types.Topic], strict=True):
        answer(channel, f"{PUBLISHER}/CreateTopic", kind.serialize(kind(name=name)))
    subscription = types.Subscription(name=NAMES[1], topic=NAMES[0])
    answer(channel, f"{SUBSCRIBER}/CreateSubscription", types.Subscription.serialize(subscription))

    @quick
    @given(encoded(fields(REQUESTS[method])))
    def check(raw):
        assert answer(channel, method, without_pull_wait(method, raw)) in ANSWERS

    check()


def test_every_method_of_the_services_is_there(channel):
    """None of the library's own methods is unknown to the server."""
    for method, kind in REQUESTS.items():
        raw = without_pull_wait(method, b"")
        assert answer(channel, method, raw) in ANSWERS - {grpc.StatusCode.DEADLINE_EXCEEDED}, kind
    with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
        channel.unary_unary(f"/{PUBLISHER}/Nonsense")(b"")
