"""What a topic or subscription may be configured to: defaults, ranges, and which fields an update may change."""

from __future__ import annotations

import re
from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message as ProtoMessage

from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.export import check_export
from polybus.localcloud.pubsub.protocol import Proto, copy, seconds
from polybus.localcloud.pubsub.refusal import invalid, unimplemented

__all__ = [
    "SNAPSHOT_FIELDS",
    "SUBSCRIPTION_ELSEWHERE",
    "SUBSCRIPTION_FIELDS",
    "TOPIC_ELSEWHERE",
    "TOPIC_FIELDS",
    "backoff",
    "check_subscription",
    "check_topic",
    "updated",
]

TOPIC_FIELDS = frozenset(
    {"labels", "message_storage_policy", "kms_key_name", "message_retention_duration", "schema_settings"}
)
SUBSCRIPTION_FIELDS = frozenset(
    {
        "push_config",
        "ack_deadline_seconds",
        "retain_acked_messages",
        "message_retention_duration",
        "labels",
        "expiration_policy",
        "dead_letter_policy",
        "retry_policy",
        "enable_exactly_once_delivery",
        "bigquery_config",
        "cloud_storage_config",
        "bigtable_config",
    }
)
SNAPSHOT_FIELDS = frozenset({"labels", "expire_time"})

TOPIC_ELSEWHERE = ("ingestion_data_source_settings", "message_transforms")
SUBSCRIPTION_ELSEWHERE = ("message_transforms",)
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")

# https://cloud.google.com/pubsub/docs/create-topic-labels: international characters are allowed, capitals are not.
_LABEL_KEY = re.compile(r"[^\W\d_A-Z][\w-]{0,62}")
_LABEL_VALUE = re.compile(r"[\w-]{0,63}")


def updated(current: Proto, proposed: Proto, mask: FieldMask, changeable: Collection[str]) -> Proto:
    """Return a copy of `current` with the fields that `mask` names taken from `proposed`."""
    if not mask.paths:
        raise invalid("The update_mask in the request must be set, and must contain a non-empty paths list.")
    if not mask.IsValidForDescriptor(current.DESCRIPTOR):
        raise invalid(f"Invalid update_mask provided in the request: {list(mask.paths)} names an unknown field.")
    for path in mask.paths:
        if path.partition(".")[0] not in changeable:
            raise invalid(f"Invalid update_mask provided in the request: the {path} field is not mutable.")
    merged = copy(current)
    mask.MergeMessage(proposed, merged, replace_message_field=True, replace_repeated_field=True)
    return merged


def check_topic(config: Proto) -> None:
    """Refuse a topic that Google, or this server, doesn't take."""
    _refuse_elsewhere(config, TOPIC_ELSEWHERE)
    _check_labels(config)
    if config.HasField("message_retention_duration"):
        _check_range("message_retention_duration", seconds(config.message_retention_duration), limits.RETENTION)
    _check_storage(config)


def _check_storage(config: Proto) -> None:
    if not config.HasField("message_storage_policy"):
        return
    policy = config.message_storage_policy
    for region in policy.allowed_persistence_regions:
        if not _REGION.fullmatch(region):
            raise invalid(f"Invalid region in the message_storage_policy: {region}.")
    if policy.enforce_in_transit and not policy.allowed_persistence_regions:
        raise invalid("The message_storage_policy must name regions to enforce in transit.")


def check_subscription(config: Proto) -> None:
    """Fill in Google's defaults and refuse a subscription that Google, or this server, doesn't take."""
    _refuse_elsewhere(config, SUBSCRIPTION_ELSEWHERE)
    _check_labels(config)
    if config.ack_deadline_seconds == 0:
        config.ack_deadline_seconds = limits.DEFAULT_ACK_DEADLINE
    low, high = limits.ACK_DEADLINE
    if not low <= config.ack_deadline_seconds <= high:
        raise invalid(
            f"Invalid ack deadline given (ack_deadline={config.ack_deadline_seconds}). "
            f"Ack deadlines must be between {low} and {high} seconds."
        )
    if not config.HasField("message_retention_duration"):
        config.message_retention_duration.seconds = limits.DEFAULT_RETENTION
    _check_range("message_retention_duration", seconds(config.message_retention_duration), limits.RETENTION)
    _check_expiration(config)
    _check_dead_letters(config)
    _check_retries(config)
    _check_push(config)
    check_export(config)


def backoff(config: Proto, failures: int) -> float:
    """Return how many seconds after its last of `failures` a message comes again; 0 without a retry policy."""
    if not config.HasField("retry_policy"):
        return 0.0
    policy = config.retry_policy
    # Doubled at most 32 times: beyond that even the least backoff is over the greatest.
    return min(seconds(policy.maximum_backoff), seconds(policy.minimum_backoff) * 2.0 ** min(failures - 1, 32))


def _refuse_elsewhere(config: ProtoMessage, fields: Collection[str]) -> None:
    for descriptor, _ in config.ListFields():
        if descriptor.name in fields:
            raise unimplemented(descriptor.name)


def _check_labels(config: Proto) -> None:
    if len(config.labels) > limits.LABELS:
        raise invalid(f"Too many labels: {len(config.labels)}, the maximum is {limits.LABELS}.")
    for key, value in config.labels.items():
        if not _LABEL_KEY.fullmatch(key) or key != key.lower():
            raise invalid(f"Invalid label key: {key!r}.")
        if not _LABEL_VALUE.fullmatch(value) or value != value.lower():
            raise invalid(f"Invalid label value: {value!r} (key={key}).")


def _check_range(field: str, found: float, allowed: tuple[int, int]) -> None:
    low, high = allowed
    if not low <= found <= high:
        raise invalid(f"Invalid {field}: {found:g} seconds. It must be between {low} and {high} seconds.")


def _check_expiration(config: Proto) -> None:
    if not config.HasField("expiration_policy"):
        config.expiration_policy.ttl.seconds = limits.DEFAULT_EXPIRATION
    if not config.expiration_policy.HasField("ttl"):
        return
    ttl = seconds(config.expiration_policy.ttl)
    if ttl < limits.EXPIRATION_MINIMUM:
        raise invalid(f"Invalid expiration_policy.ttl: {ttl:g} seconds. The minimum is {limits.EXPIRATION_MINIMUM}.")


def _check_dead_letters(config: Proto) -> None:
    if not config.HasField("dead_letter_policy"):
        return
    policy = config.dead_letter_policy
    policy.max_delivery_attempts = policy.max_delivery_attempts or limits.DEFAULT_DELIVERY_ATTEMPTS
    low, high = limits.DELIVERY_ATTEMPTS
    if not low <= policy.max_delivery_attempts <= high:
        raise invalid(
            f"Invalid max_delivery_attempts: {policy.max_delivery_attempts}. It must be between {low} and {high}."
        )


def _check_retries(config: Proto) -> None:
    if not config.HasField("retry_policy"):
        return
    policy = config.retry_policy
    for field, default in zip(("minimum_backoff", "maximum_backoff"), limits.DEFAULT_BACKOFF, strict=True):
        if not policy.HasField(field):
            getattr(policy, field).seconds = default
        _check_range(f"retry_policy.{field}", seconds(getattr(policy, field)), limits.BACKOFF)
    if seconds(policy.minimum_backoff) > seconds(policy.maximum_backoff):
        raise invalid("The retry_policy.minimum_backoff must not be greater than the maximum_backoff.")


def _check_push(config: Proto) -> None:
    config.push_config.SetInParent()
    endpoint = config.push_config.push_endpoint
    if not endpoint:
        return
    if not endpoint.startswith(("http://", "https://")):
        raise invalid(f"Invalid push endpoint given (endpoint={endpoint}).")
    if config.enable_exactly_once_delivery:
        raise invalid("Exactly-once delivery is not supported on push subscriptions.")
    if config.push_config.HasField("oidc_token") and not config.push_config.oidc_token.service_account_email:
        raise invalid("The push_config's oidc_token must have a service_account_email.")
