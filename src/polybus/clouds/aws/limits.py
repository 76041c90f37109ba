"""What SNS and SQS limit, each with its source.

[B] the SQS and SNS service models in botocore 1.44; [PA] pulumi_aws 7.51 argument documentation; [SNS] "Filter policy
constraints in Amazon SNS"; [Q] the Amazon SQS quotas pages; [k] widely documented, not re-read for this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from polybus.topology.limits import DAY, KIB, MIB, CloudLimits, Count, NameRule, Range

__all__ = ["AWS", "SOURCES", "AwsLimits"]

SOURCES: Final = {
    "B": "AWS API model",
    "IAM": "IAM User Guide",
    "PA": "pulumi-aws arguments",
    "Q": "SQS documentation",
    "SNS": "SNS documentation",
}
"""What the codes of sources are to a reader who has never seen this table."""


@dataclass(frozen=True, slots=True)
class AwsLimits(CloudLimits):
    """What SNS and SQS limit besides."""

    delay: Range
    attribute_count: Count
    filter_keys: Count
    filter_combinations: Count
    filter_bytes: Count
    filters_per_topic: Count
    filters_per_account: Count
    fifo_topics: Count
    alarms: Count
    redrive_sources: Count
    fifo_subscriptions: Count
    large_message_subscriptions: Count
    sns_default_bytes: int
    batch_entries: Count
    batch_bytes: Count
    long_poll: Range


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
    filters_per_account=Count(10_000, "SNS"),  # likewise
    fifo_topics=Count(1_000, "SNS"),  # likewise
    alarms=Count(5_000, "k"),  # of a region, likewise ("CloudWatch service quotas")
    redrive_sources=Count(10, "B"),
    fifo_subscriptions=Count(100, "k"),
    large_message_subscriptions=Count(100, "PA"),
    sns_default_bytes=256 * KIB,
    batch_entries=Count(10, "B"),
    batch_bytes=Count(MIB, "B"),
    long_poll=Range(0, 20, "B"),
)
