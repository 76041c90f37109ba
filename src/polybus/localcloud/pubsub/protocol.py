"""The protocol's message types, as raw protobuf classes.

They come from google-cloud-pubsub's own generated code, without its proto-plus wrapping, which costs several times what
a raw message does. Import this module only from code that runs once a server starts: it loads that library.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from google.iam.v1 import iam_policy_pb2, policy_pb2  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1.types import pubsub, schema

# Generated classes have no static types of their own here.
Proto: TypeAlias = Any

PubsubMessage: Any = pubsub.PubsubMessage.pb()
ReceivedMessage: Any = pubsub.ReceivedMessage.pb()

Topic: Any = pubsub.Topic.pb()
GetTopicRequest: Any = pubsub.GetTopicRequest.pb()
UpdateTopicRequest: Any = pubsub.UpdateTopicRequest.pb()
ListTopicsRequest: Any = pubsub.ListTopicsRequest.pb()
ListTopicsResponse: Any = pubsub.ListTopicsResponse.pb()
ListTopicSubscriptionsRequest: Any = pubsub.ListTopicSubscriptionsRequest.pb()
ListTopicSubscriptionsResponse: Any = pubsub.ListTopicSubscriptionsResponse.pb()
ListTopicSnapshotsRequest: Any = pubsub.ListTopicSnapshotsRequest.pb()
ListTopicSnapshotsResponse: Any = pubsub.ListTopicSnapshotsResponse.pb()
DeleteTopicRequest: Any = pubsub.DeleteTopicRequest.pb()
DetachSubscriptionRequest: Any = pubsub.DetachSubscriptionRequest.pb()
DetachSubscriptionResponse: Any = pubsub.DetachSubscriptionResponse.pb()
PublishRequest: Any = pubsub.PublishRequest.pb()
PublishResponse: Any = pubsub.PublishResponse.pb()

Subscription: Any = pubsub.Subscription.pb()
GetSubscriptionRequest: Any = pubsub.GetSubscriptionRequest.pb()
UpdateSubscriptionRequest: Any = pubsub.UpdateSubscriptionRequest.pb()
ListSubscriptionsRequest: Any = pubsub.ListSubscriptionsRequest.pb()
ListSubscriptionsResponse: Any = pubsub.ListSubscriptionsResponse.pb()
DeleteSubscriptionRequest: Any = pubsub.DeleteSubscriptionRequest.pb()
ModifyPushConfigRequest: Any = pubsub.ModifyPushConfigRequest.pb()
ModifyAckDeadlineRequest: Any = pubsub.ModifyAckDeadlineRequest.pb()
AcknowledgeRequest: Any = pubsub.AcknowledgeRequest.pb()
PullRequest: Any = pubsub.PullRequest.pb()
PullResponse: Any = pubsub.PullResponse.pb()
StreamingPullRequest: Any = pubsub.StreamingPullRequest.pb()
StreamingPullResponse: Any = pubsub.StreamingPullResponse.pb()
SeekRequest: Any = pubsub.SeekRequest.pb()
SeekResponse: Any = pubsub.SeekResponse.pb()

Snapshot: Any = pubsub.Snapshot.pb()
GetSnapshotRequest: Any = pubsub.GetSnapshotRequest.pb()
CreateSnapshotRequest: Any = pubsub.CreateSnapshotRequest.pb()
UpdateSnapshotRequest: Any = pubsub.UpdateSnapshotRequest.pb()
ListSnapshotsRequest: Any = pubsub.ListSnapshotsRequest.pb()
ListSnapshotsResponse: Any = pubsub.ListSnapshotsResponse.pb()
DeleteSnapshotRequest: Any = pubsub.DeleteSnapshotRequest.pb()

Schema: Any = schema.Schema.pb()
CreateSchemaRequest: Any = schema.CreateSchemaRequest.pb()
GetSchemaRequest: Any = schema.GetSchemaRequest.pb()
ListSchemasRequest: Any = schema.ListSchemasRequest.pb()
ListSchemasResponse: Any = schema.ListSchemasResponse.pb()
DeleteSchemaRequest: Any = schema.DeleteSchemaRequest.pb()
ValidateSchemaRequest: Any = schema.ValidateSchemaRequest.pb()
ValidateSchemaResponse: Any = schema.ValidateSchemaResponse.pb()
ListSchemaRevisionsRequest: Any = schema.ListSchemaRevisionsRequest.pb()
ListSchemaRevisionsResponse: Any = schema.ListSchemaRevisionsResponse.pb()
CommitSchemaRequest: Any = schema.CommitSchemaRequest.pb()
RollbackSchemaRequest: Any = schema.RollbackSchemaRequest.pb()
DeleteSchemaRevisionRequest: Any = schema.DeleteSchemaRevisionRequest.pb()
ValidateMessageRequest: Any = schema.ValidateMessageRequest.pb()
ValidateMessageResponse: Any = schema.ValidateMessageResponse.pb()

Policy: Any = policy_pb2.Policy
GetIamPolicyRequest: Any = iam_policy_pb2.GetIamPolicyRequest
SetIamPolicyRequest: Any = iam_policy_pb2.SetIamPolicyRequest
TestIamPermissionsRequest: Any = iam_policy_pb2.TestIamPermissionsRequest
TestIamPermissionsResponse: Any = iam_policy_pb2.TestIamPermissionsResponse

EMPTY: Any = Empty()


def seconds(value: Duration | Timestamp) -> float:
    """Return a duration, or a time since the epoch, in seconds."""
    return value.seconds + value.nanos / 1e9


def set_time(field: Timestamp, when: float) -> None:
    """Set a timestamp field to `when`, seconds since the epoch."""
    field.seconds, field.nanos = split_time(when)


def split_time(when: float) -> tuple[int, int]:
    """Return whole seconds and nanoseconds, to the microsecond: a float holds no more of today's times."""
    micros = round(when * 1_000_000)
    return micros // 1_000_000, micros % 1_000_000 * 1_000


def copy(message: Proto) -> Proto:
    """Return a copy that shares nothing with `message`."""
    twin = type(message)()
    twin.CopyFrom(message)
    return twin
