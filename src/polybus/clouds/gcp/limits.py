"""What Pub/Sub limits, each with its source.

[GQ] "Pub/Sub quotas and limits"; [PG] pulumi_gcp 10.2 argument documentation; [k] widely documented, not re-read for
this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from polybus.topology.limits import DAY, KIB, CloudLimits, Count, NameRule, Range

__all__ = ["GCP", "SOURCES", "GcpLimits"]

SOURCES: Final = {
    "GQ": "Pub/Sub quotas",
    "PG": "pulumi-gcp arguments",
}
"""What the codes of sources are to a reader who has never seen this table."""


@dataclass(frozen=True, slots=True)
class GcpLimits(CloudLimits):
    """What Pub/Sub limits besides."""

    filter_bytes: Count
    topics: Count
    subscriptions: Count
    topic_retention: Range
    extension: Range
    request_bytes: Count
    publish_messages: Count
    ack_ids: Count
    ack_bytes: Count
    label_characters: Count


_GCP_NAME = NameRule(
    Range(3, 255, "PG"),
    r"(?![Gg][Oo][Oo][Gg])[A-Za-z][A-Za-z0-9._~+%-]*",
    "3 to 255 of A-Z a-z 0-9 - _ . ~ + %, a letter first, not beginning with goog",
    "PG",
)

GCP: Final = GcpLimits(
    cloud="gcp",
    topic_name=_GCP_NAME,
    subscription_name=_GCP_NAME,
    queue_name=_GCP_NAME,
    lease=Range(10, 600, "PG"),
    retention=Range(600, 31 * DAY, "PG"),
    dead_letter_retention=Range(600, 31 * DAY, "PG"),
    attempts=Range(5, 100, "PG"),
    delay=None,
    message_bytes=Range(10_000_000, 10_000_000, "GQ"),  # fixed; the smaller reading of "10 MB"
    default_message_bytes=10_000_000,
    attribute_count=Count(100, "GQ"),
    attribute_name_bytes=Count(256, "GQ"),
    attribute_value_bytes=Count(1_024, "GQ"),
    ordering_key_bytes=Count(1_024, "GQ"),
    filter_bytes=Count(256, "PG"),
    topics=Count(10_000, "k"),  # of a project
    subscriptions=Count(10_000, "k"),
    topic_retention=Range(600, 31 * DAY, "PG"),
    extension=Range(0, 600, "PG"),
    request_bytes=Count(10_000_000, "GQ"),
    publish_messages=Count(1_000, "GQ"),
    ack_ids=Count(1_000, "GQ"),
    ack_bytes=Count(512 * KIB, "GQ"),
    label_characters=Count(63, "k"),
)
