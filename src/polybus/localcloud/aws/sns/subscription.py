"""A subscription: where a topic's messages go, in which form, and which of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.sns.filter_check import parse_filter
from polybus.localcloud.aws.sns.filter_policy import FilterPolicy

__all__ = ["PROTOCOLS", "Subscription", "SubscriptionSettings", "check_endpoint"]

PROTOCOLS = ("sqs", "lambda", "firehose", "http", "https", "email", "email-json", "sms", "application")
_RAW = ("sqs", "http", "https", "firehose")
_KNOWN = {
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "SubscriptionRoleArn",
    "ReplayPolicy",
}


class SubscriptionSettings:
    """What was set on a subscription; `given` holds the attributes as their owner wrote them."""

    def __init__(self, protocol: str, given: Mapping[str, str]) -> None:
        """Check every attribute; raises AwsError for what SNS refuses."""
        if unknown := given.keys() - _KNOWN:
            raise sns_invalid(f"AttributeName: {min(unknown)}")
        self.given = {name: value for name, value in given.items() if value}
        raw = self.given.get("RawMessageDelivery", "false").lower()
        if raw not in ("true", "false"):
            raise sns_invalid("Attributes Reason: RawMessageDelivery: Invalid value. Must be true or false.")
        if raw == "true" and protocol not in _RAW:
            raise sns_invalid(f"Attributes Reason: RawMessageDelivery: not for protocol {protocol}")
        self.raw = raw == "true"
        scope = self.given.get("FilterPolicyScope", "MessageAttributes")
        if scope not in ("MessageAttributes", "MessageBody"):
            raise sns_invalid("Attributes Reason: FilterPolicyScope: Invalid value. MessageAttributes or MessageBody.")
        self.filter: FilterPolicy | None = None
        if policy := self.given.get("FilterPolicy"):
            self.filter = parse_filter(policy, scope)
        if self.filter is None:
            self.given.pop("FilterPolicy", None)
        self.dead_letters = self._redrive()

    def _redrive(self) -> str | None:
        text = self.given.get("RedrivePolicy")
        if not text:
            return None
        try:
            target: Any = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise sns_invalid("Attributes Reason: RedrivePolicy: failed to parse JSON.") from None
        arn = Arn.parse(target.get("deadLetterTargetArn")) if isinstance(target, Mapping) else None
        if arn is None or arn.service != "sqs":
            raise sns_invalid("Attributes Reason: RedrivePolicy: deadLetterTargetArn is an invalid ARN")
        return str(arn)


class Subscription:
    """One endpoint of one topic. Only those of protocol sqs are delivered to; others stay pending or idle here."""

    def __init__(self, arn: Arn, topic_arn: str, protocol: str, endpoint: str, settings: SubscriptionSettings) -> None:
        self.arn = arn
        self.arn_text = str(arn)
        self.topic_arn = topic_arn
        self.protocol = protocol
        self.endpoint = endpoint
        self.settings = settings

    @property
    def row_key(self) -> str:
        return self.arn_text

    def to_row(self) -> list[Any]:
        return [self.arn_text, self.topic_arn, self.protocol, self.endpoint, self.settings.given]

    @property
    def pending(self) -> bool:
        """Whether somebody outside would have to confirm it first."""
        return self.protocol in ("http", "https", "email", "email-json")

    def listed(self) -> dict[str, str]:
        """Return what lists of subscriptions show."""
        return {
            "SubscriptionArn": "PendingConfirmation" if self.pending else self.arn_text,
            "Owner": self.arn.account,
            "Protocol": self.protocol,
            "Endpoint": self.endpoint,
            "TopicArn": self.topic_arn,
        }

    def attributes(self, principal: str) -> dict[str, str]:
        """Return what GetSubscriptionAttributes shows."""
        given = dict(self.settings.given)
        if "FilterPolicy" in given:
            given.setdefault("FilterPolicyScope", "MessageAttributes")
        return {
            "SubscriptionArn": self.arn_text,
            "TopicArn": self.topic_arn,
            "Owner": self.arn.account,
            "Protocol": self.protocol,
            "Endpoint": self.endpoint,
            "PendingConfirmation": "true" if self.pending else "false",
            "ConfirmationWasAuthenticated": "false" if self.pending else "true",
            "SubscriptionPrincipal": principal,
            **given,
            "RawMessageDelivery": "true" if self.settings.raw else "false",
        }


def check_endpoint(protocol: str, endpoint: str, fifo_topic: bool) -> None:
    """Refuse an endpoint that a topic of this type can't deliver to."""
    if protocol not in PROTOCOLS:
        raise sns_invalid(f"Amazon SNS does not support this protocol string: {protocol}")
    if fifo_topic and protocol != "sqs":
        raise sns_invalid(f"Invalid protocol type: {protocol}: FIFO topics deliver to SQS queues only")
    if protocol == "sqs":
        arn = Arn.parse(endpoint)
        if arn is None or arn.service != "sqs":
            raise sns_invalid("SQS endpoint ARN")
        if arn.resource.endswith(".fifo") and not fifo_topic:
            why = "Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
            raise AwsError("InvalidParameter", f"Invalid parameter: Invalid parameter: {why}")
