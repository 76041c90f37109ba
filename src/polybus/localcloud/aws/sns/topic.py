"""A topic: its attributes, its subscriptions, and for FIFO its deduplication window."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.policy.document import Policy, PolicyError
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.sns.delivery_policy import check_policy
from polybus.localcloud.aws.sns.subscription import Subscription
from polybus.localcloud.aws.sqs.dedup import DedupWindow

__all__ = ["DEFAULT_MESSAGE", "KNOWN", "Topic", "TopicSettings"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")
DEFAULT_MESSAGE = 262_144  # bytes; MaximumMessageSize may raise it to 1 MiB (botocore 1.44.5 model, CreateTopic)
MAX_MESSAGE = 1_048_576
_CHOICES = {
    "FifoTopic": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "FifoThroughputScope": ("Topic", "MessageGroup"),
    "SignatureVersion": ("1", "2"),
    "TracingConfig": ("PassThrough", "Active"),
}
# What SNS compares with where a topic is created again (recorded: its defaults may be said).
_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "FifoThroughputScope": "Topic",
    "TracingConfig": "PassThrough",
    "SignatureVersion": "1",
    "MaximumMessageSize": str(DEFAULT_MESSAGE),
}
_FIFO_ONLY = {"ContentBasedDeduplication", "FifoThroughputScope", "ArchivePolicy"}
_FREE = {"Policy", "DisplayName", "DeliveryPolicy", "KmsMasterKeyId", "ArchivePolicy", "DataProtectionPolicy"}
KNOWN = {*_CHOICES, *_FREE, "MaximumMessageSize"}
"""The attributes that topics have, beside those of delivery status."""
_FEEDBACK = re.compile(
    r"(HTTP|Firehose|Lambda|Application|SQS)(SuccessFeedback(RoleArn|SampleRate)|FailureFeedbackRoleArn)"
)


class TopicSettings:
    """What was set on a topic; `given` holds the attributes as their owner wrote them."""

    def __init__(self, name: str, given: Mapping[str, str]) -> None:
        """Check the name and every attribute; raises AwsError for what SNS refuses."""
        self.fifo = given.get("FifoTopic") == "true"
        if not (_FIFO_NAME if self.fifo else _NAME).fullmatch(name):
            rule = "Fifo Topic names must end with .fifo and" if self.fifo or name.endswith(".fifo") else "Topic names"
            characters = (
                "must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens"
            )
            raise sns_invalid(
                f"{rule} {characters}, and must be between 1 and 256 characters long." if name else "Topic Name"
            )
        # FifoTopic=false is what a topic is without it, and isn't shown (recorded).
        self.given = {key: value for key, value in given.items() if value and (key, value) != ("FifoTopic", "false")}
        for key, value in self.given.items():
            self._check(key, value)
        if policy := self.given.get("DeliveryPolicy"):
            self.given["DeliveryPolicy"] = check_policy(policy, where="")
        self.max_message = int(self.given.get("MaximumMessageSize", DEFAULT_MESSAGE))
        self.content_dedup = self.given.get("ContentBasedDeduplication") == "true"
        self.dedup_by_group = self.given.get("FifoThroughputScope") == "MessageGroup"
        self.policy: Policy | None = None
        if text := self.given.get("Policy"):
            try:
                self.policy = Policy.parse(text, principals=True)
            except PolicyError as error:
                raise sns_invalid(f"Policy Reason: {error}") from None

    def _check(self, name: str, value: str) -> None:
        if name == "MaximumMessageSize":
            if not (re.fullmatch(r"[0-9]{4,7}", value) and 1024 <= int(value) <= MAX_MESSAGE):
                raise sns_invalid("Attributes Reason: MaximumMessageSize must be between 1024 and 1048576")
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise sns_invalid(f"Attributes Reason: {name} must be one of {', '.join(_CHOICES[name])}")
        elif name not in _FREE and not _FEEDBACK.fullmatch(name):
            raise sns_invalid("AttributeName")
        if name in _FIFO_ONLY and not self.fifo:
            raise sns_invalid(f"Attributes Reason: {name} is only for FIFO topics")

    def shown(self, name: str) -> str:
        """Return an attribute as it is in effect, said or not."""
        return self.given.get(name, _DEFAULTS.get(name, ""))


class Topic:
    """`subscriptions` are by ARN, in the order in which they were made."""

    def __init__(self, arn: Arn, settings: TopicSettings, tags: dict[str, str], rows: Rows) -> None:
        self.arn = arn
        self.arn_text = str(arn)
        self.settings = settings
        self.tags = tags
        self.subscriptions: dict[str, Subscription] = {}
        self.dedup = DedupWindow(f"sns/{arn}", rows)

    @property
    def row_key(self) -> str:
        return self.arn_text

    def to_row(self) -> list[Any]:
        return [self.arn_text, self.settings.given, self.tags]

    def check_sizes(self, max_message: int, protocols: list[str]) -> None:
        """Refuse messages over 256 KiB where a subscription can't take them."""
        large = max_message > DEFAULT_MESSAGE
        if large and (len(protocols) > 100 or any(p not in ("sqs", "firehose", "lambda") for p in protocols)):
            why = "a MaximumMessageSize above 256 KiB takes at most 100 subscriptions, all SQS, Firehose or Lambda"
            raise AwsError("InvalidParameter", f"Invalid parameter: Attributes Reason: {why}")
