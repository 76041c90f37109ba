"""Every cloud's limits as data, each with its source, and the portable rules for attribute names and ordering keys.

Sources: [B] the SQS and SNS service models in botocore 1.44; [PA] pulumi_aws 7.51, [PG] pulumi_gcp 10.2 and [PZ]
pulumi_azure_native 3.29 argument documentation; [AZ] "Service Bus quotas and limits" in Microsoft's azure-docs;
[TF] the name validators of terraform-provider-azurerm; [SNS] "Filter policy constraints in Amazon SNS"; [Q] the Amazon
SQS quotas pages; [GQ] "Pub/Sub quotas and limits"; [k] widely documented, not re-read for this table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

__all__ = [
    "AWS",
    "AZURE",
    "DEAD_LETTER_RESERVE_BYTES",
    "GCP",
    "LIMITS",
    "MAX_NACK_DELAY",
    "NET_ATTEMPTS",
    "AwsLimits",
    "AzureLimits",
    "CloudLimits",
    "Count",
    "GcpLimits",
    "NameRule",
    "Range",
    "attribute_name_problem",
    "ordering_key_problem",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
DAY: Final = 86_400.0

DEAD_LETTER_RESERVE_BYTES: Final = 2 * KIB
"""Room that every message keeps free, so that its dead letter still fits with the reason (contract, P4)."""

NET_ATTEMPTS: Final = 20
"""What the cloud's own delivery limit allows above `max_attempts`, for consumers that crash (contract, D6)."""

MAX_NACK_DELAY: Final = 600.0
"""The longest delay of a nack, in seconds (contract, D4)."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a cloud allows, both ends included: seconds, bytes or a count, as the field that holds it says."""

    least: float
    most: float
    source: str

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most

    def clamp(self, value: float) -> float:
        """Give the nearest value that is allowed."""
        return min(max(value, self.least), self.most)


@dataclass(frozen=True, slots=True)
class Count:
    """The most that a cloud allows."""

    most: int
    source: str


@dataclass(frozen=True, slots=True)
class NameRule:
    """What a cloud accepts as a physical name; `allowed` says it in words."""

    length: Range
    pattern: str
    allowed: str
    source: str

    def accepts(self, name: str) -> bool:
        return len(name) in self.length and re.fullmatch(self.pattern, name) is not None


@dataclass(frozen=True, slots=True)
class CloudLimits:
    """What all three clouds limit. Durations are seconds, sizes bytes.

    `attempts` is the cloud's own delivery limit. `delay` of None means that the cloud has no delayed messages.
    `message_bytes` is the smallest and the largest maximum that an entity can have; `default_message_bytes` what it
    gets when nothing is declared. `attribute_count` counts the reserved attribute too.
    """

    cloud: str
    topic_name: NameRule
    subscription_name: NameRule
    queue_name: NameRule
    lease: Range
    retention: Range
    dead_letter_retention: Range | None
    attempts: Range
    delay: Range | None
    message_bytes: Range
    default_message_bytes: int
    attribute_count: Count | None
    attribute_name_bytes: Count | None
    attribute_value_bytes: Count | None
    ordering_key_bytes: Count


@dataclass(frozen=True, slots=True)
class AwsLimits(CloudLimits):
    """What SNS and SQS limit besides."""

    delay: Range
    attribute_count: Count
    filter_keys: Count
    filter_combinations: Count
    filter_bytes: Count
    filters_per_topic: Count
    fifo_topics: Count
    redrive_sources: Count
    fifo_subscriptions: Count
    large_message_subscriptions: Count
    sns_default_bytes: int
    batch_entries: Count
    batch_bytes: Count
    long_poll: Range


@dataclass(frozen=True, slots=True)
class AzureLimits(CloudLimits):
    """What Service Bus limits besides; `message_bytes` holds for Premium, `default_message_bytes` for every tier."""

    namespace_name: NameRule
    filter_characters: Count
    subscriptions_per_topic: Count
    entities: Count
    entities_per_unit: Count
    units: tuple[int, ...]
    header_bytes: Count
    premium_message_bytes: Range
    duplicate_window: Range
    forward_hops: Count


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


def _sns_name(most: int, words: str) -> NameRule:
    return NameRule(Range(1, most, "B"), r"[A-Za-z0-9_-]+(\.fifo)?", words, "B")


AWS: Final = AwsLimits(
    cloud="aws",
    topic_name=_sns_name(256, "1 to 256 of A-Z a-z 0-9 _ -, then .fifo on an ordered one, which counts"),
    subscription_name=_sns_name(80, "1 to 80 of A-Z a-z 0-9 _ -, then .fifo on an ordered one, which counts"),
    queue_name=_sns_name(80, "1 to 80 of A-Z a-z 0-9 _ -, then .fifo on an ordered one, which counts"),
    lease=Range(0, 43_200, "B"),
    retention=Range(60, 14 * DAY, "B"),
    dead_letter_retention=Range(60, 14 * DAY, "B"),
    attempts=Range(1, 1_000, "PA"),
    delay=Range(0, 900, "B"),
    message_bytes=Range(KIB, MIB, "B"),
    default_message_bytes=MIB,
    attribute_count=Count(10, "Q"),
    attribute_name_bytes=Count(256, "B"),
    attribute_value_bytes=None,
    ordering_key_bytes=Count(128, "Q"),
    filter_keys=Count(5, "SNS"),
    filter_combinations=Count(150, "SNS"),
    filter_bytes=Count(256 * KIB, "SNS"),
    filters_per_topic=Count(200, "SNS"),  # unless the account's quota was raised
    fifo_topics=Count(1_000, "SNS"),  # likewise
    redrive_sources=Count(10, "B"),
    fifo_subscriptions=Count(100, "k"),
    large_message_subscriptions=Count(100, "PA"),
    sns_default_bytes=256 * KIB,
    batch_entries=Count(10, "B"),
    batch_bytes=Count(MIB, "B"),
    long_poll=Range(0, 20, "B"),
)

_ENTITY = r"[A-Za-z0-9]([A-Za-z0-9._~/-]*[A-Za-z0-9])?"
_BUS_NAME = NameRule(
    Range(1, 260, "TF"), _ENTITY, "1 to 260 of A-Z a-z 0-9 . _ ~ / -, ending in letters or digits", "TF"
)

AZURE: Final = AzureLimits(
    cloud="azure",
    topic_name=_BUS_NAME,
    queue_name=_BUS_NAME,
    subscription_name=NameRule(
        Range(1, 50, "TF"),
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
        "1 to 50 of A-Z a-z 0-9 . _ -, ending in letters or digits",
        "TF",
    ),
    lease=Range(5, 300, "AZ"),
    retention=Range(1, 3_650_000 * DAY, "AZ"),  # TimeSpan.MaxValue, about 10,675,199 days, is the default
    dead_letter_retention=None,  # dead letters stay until they are received or purged
    attempts=Range(1, 2_000, "k"),
    delay=Range(0, 3_650_000 * DAY, "AZ"),
    message_bytes=Range(KIB, 100 * MIB, "AZ"),
    default_message_bytes=256 * KIB,
    attribute_count=None,
    attribute_name_bytes=None,
    attribute_value_bytes=Count(32 * KIB, "AZ"),
    ordering_key_bytes=Count(128, "AZ"),
    namespace_name=NameRule(
        Range(6, 50, "TF"),
        r"[A-Za-z][-A-Za-z0-9]{4,48}[A-Za-z0-9](?<!-sb)(?<!-mgmt)",
        "6 to 50 of A-Z a-z 0-9 -, a letter first, not ending -sb or -mgmt, unique in the world",
        "TF",
    ),
    filter_characters=Count(1_024, "AZ"),
    subscriptions_per_topic=Count(2_000, "AZ"),
    entities=Count(10_000, "AZ"),  # topics and queues of a Standard namespace
    entities_per_unit=Count(1_000, "AZ"),  # of a Premium one
    units=(1, 2, 4, 8, 16),  # [AZ], "Service Bus Premium messaging tier"
    header_bytes=Count(64 * KIB, "AZ"),
    premium_message_bytes=Range(MIB, 100 * MIB, "AZ"),
    duplicate_window=Range(20, 7 * DAY, "AZ"),
    forward_hops=Count(4, "AZ"),
)

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

LIMITS: Final[Mapping[str, CloudLimits]] = MappingProxyType({"aws": AWS, "azure": AZURE, "gcp": GCP})

_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_RESERVED = ("aws", "amazon", "goog", "polybus")
_KEY = re.compile(r"[!-~]{1,128}")


@lru_cache(maxsize=4096)
def attribute_name_problem(name: object) -> str | None:
    """Say what is wrong with the name of an attribute, or None when every cloud carries it (DESIGN, section 9)."""
    if not isinstance(name, str):
        return f"attribute name {name!r} is {type(name).__name__}, not str"
    if not _ATTRIBUTE.fullmatch(name):
        return f"attribute name {name!r}: allowed are 1 to 128 of A-Z a-z 0-9 _ . -, a letter or _ first"
    if ".." in name or name.endswith("."):
        return f"attribute name {name!r}: allowed is no .. in it and no . at its end"
    lower = name.lower()
    for word in _RESERVED:
        if lower.startswith(word):
            return f"attribute name {name!r}: names beginning with {word!r}, in any case, are reserved"
    return None


def ordering_key_problem(key: object) -> str | None:
    """Say what is wrong with an ordering key, or None when every cloud carries it (DESIGN, section 9).

    Not cached: keys are many, and one match costs less than a lookup that mostly misses.
    """
    if not isinstance(key, str):
        return f"ordering key {key!r} is {type(key).__name__}, not str"
    if _KEY.fullmatch(key):
        return None
    shown = key if len(key) <= 40 else f"{key[:40]}..."
    return f"ordering key {shown!r}: allowed are 1 to 128 printable ASCII characters without spaces"
