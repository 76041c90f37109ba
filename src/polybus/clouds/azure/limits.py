"""What Service Bus limits, each with its source.

[AZ] "Service Bus quotas and limits" in Microsoft's azure-docs; [TF] the name validators of terraform-provider-azurerm;
[k] widely documented, not re-read for this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from polybus.topology.limits import DAY, KIB, MIB, CloudLimits, Count, NameRule, Range

__all__ = ["AZURE", "SOURCES", "AzureLimits"]

SOURCES: Final = {
    "AZ": "Service Bus quotas",
    "TF": "azurerm name rules",
}
"""What the codes of sources are to a reader who has never seen this table."""


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

    def most_of(self, units: int | None) -> int:
        """Give how many topics and queues a namespace holds: Standard, or Premium with so many messaging units."""
        return self.entities.most if units is None else self.entities_per_unit.most * units


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
