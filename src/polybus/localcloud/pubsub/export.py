"""Subscriptions that write to BigQuery, Cloud Storage or Bigtable: what their settings may be. Nothing is written."""

from __future__ import annotations

import re

from polybus.localcloud.pubsub.protocol import Proto, seconds
from polybus.localcloud.pubsub.refusal import invalid

__all__ = ["EXPORTS", "check_export", "export_of"]

EXPORTS = ("bigquery_config", "cloud_storage_config", "bigtable_config")
_ACTIVE = 1  # State.ACTIVE of each of them
_TABLE = re.compile(r"[^\s.:/]+[.:][^\s.:/]+\.[^\s.:/]+|[^\s.:/]+:[^\s.:/]+:[^\s.:/]+\.[^\s.:/]+")
_BIGTABLE = re.compile(r"projects/[^/\s]+/instances/[^/\s]+/tables/[^/\s]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# CloudStorageConfig, in the API's reference.
_DURATION, _DEFAULT_DURATION = (60, 600), 300
_BYTES = (1_000, 10 << 30)
_MESSAGES = 1_000


def export_of(config: Proto) -> str | None:
    """Return by which of its fields a subscription exports, or None."""
    return next((name for name in EXPORTS if config.HasField(name)), None)


def check_export(config: Proto) -> None:
    """Fill in Google's defaults, and refuse export settings that it doesn't take."""
    chosen = [name for name in EXPORTS if config.HasField(name)]
    if config.push_config.push_endpoint:
        chosen.append("push_config")
    if len(chosen) > 1:
        raise invalid(f"A subscription can have only one of {' and '.join(chosen)}.")
    if config.HasField("bigquery_config"):
        _check_bigquery(config.bigquery_config)
    elif config.HasField("cloud_storage_config"):
        _check_cloud_storage(config.cloud_storage_config)
    elif config.HasField("bigtable_config"):
        if not _BIGTABLE.fullmatch(config.bigtable_config.table):
            raise invalid(f"Invalid table in the bigtable_config: {config.bigtable_config.table!r}.")
        config.bigtable_config.state = _ACTIVE
    else:
        return
    if config.enable_exactly_once_delivery:
        raise invalid("Exactly-once delivery is not supported on export subscriptions.")


def _check_bigquery(settings: Proto) -> None:
    if not _TABLE.fullmatch(settings.table):
        raise invalid(f"Invalid table in the bigquery_config: {settings.table!r} is not PROJECT.DATASET.TABLE.")
    if settings.use_topic_schema and settings.use_table_schema:
        raise invalid("The bigquery_config can use the topic's schema or the table's, not both.")
    if settings.drop_unknown_fields and not (settings.use_topic_schema or settings.use_table_schema):
        raise invalid("The bigquery_config can drop unknown fields only where it uses a schema.")
    settings.state = _ACTIVE


def _check_cloud_storage(settings: Proto) -> None:
    if not _BUCKET.fullmatch(settings.bucket):
        raise invalid(f"Invalid bucket in the cloud_storage_config: {settings.bucket!r}.")
    if settings.WhichOneof("output_format") is None:
        settings.text_config.SetInParent()
    if not settings.HasField("max_duration"):
        settings.max_duration.seconds = _DEFAULT_DURATION
    low, high = _DURATION
    if not low <= seconds(settings.max_duration) <= high:
        raise invalid(f"Invalid max_duration in the cloud_storage_config: it must be {low} to {high} seconds.")
    if settings.max_bytes and not _BYTES[0] <= settings.max_bytes <= _BYTES[1]:
        raise invalid(f"Invalid max_bytes in the cloud_storage_config: it must be {_BYTES[0]} to {_BYTES[1]}.")
    if settings.max_messages and settings.max_messages < _MESSAGES:
        raise invalid(f"Invalid max_messages in the cloud_storage_config: it must be at least {_MESSAGES}.")
    settings.state = _ACTIVE
