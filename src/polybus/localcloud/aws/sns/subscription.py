"""A subscription: where a topic's messages go, in which form, and which of them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.sns.delivery_policy import check_policy
from polybus.localcloud.aws.sns.filter_check import parse_filter
from polybus.localcloud.aws.sns.filter_policy import FilterPolicy

__all__ = ["KNOWN", "PROTOCOLS", "Subscription", "SubscriptionSettings", "check_endpoint"]

PROTOCOLS = ("sqs", "lambda", "firehose", "http", "https", "email", "email-json", "sms", "application")
_RAW = ("sqs", "http", "https", "firehose")
KNOWN = {
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "SubscriptionRoleArn",
    "ReplayPolicy",
}


_DEFAULTS = {"RawMessageDelivery": "false", "FilterPolicyScope": "MessageAttributes"}
_PHONE = re.compile(r"\+?[0-9](?:[-. ]?[0-9]){4,19}")


class SubscriptionSettings:
    """What was set on a subscription; `given` holds the attributes as their owner wrote them."""

    def __init__(self, protocol: str, given: Mapping[str, str], *, where: str = "Attributes Reason: ") -> None:
        """Check every attribute; raises AwsError for what SNS refuses, told after `where`."""
        self._where = where
        if given.keys() - KNOWN:
            raise sns_invalid("AttributeName")
        self.raw = self._is_raw(protocol, given)
        self.given = {name: value for name, value in given.items() if value}
        if "RawMessageDelivery" in self.given:
            self.given["RawMessageDelivery"] = "true" if self.raw else "false"
        scope = self.given.get("FilterPolicyScope", "MessageAttributes")
        if scope not in ("MessageAttributes", "MessageBody"):
            rule = "Please use either MessageBody or MessageAttributes"
            raise sns_invalid(f"{where}FilterPolicyScope: Invalid value [{scope[:80]}]. {rule}")
        self.filter: FilterPolicy | None = None
        if policy := self.given.get("FilterPolicy"):
            self.filter = parse_filter(policy, scope, where)
        if self.filter is None:
            self.given.pop("FilterPolicy", None)
        if policy := self.given.get("DeliveryPolicy"):
            check_policy(policy, where=where)
        self.dead_letters = self._redrive()

    def changed(self, protocol: str, name: str, value: str) -> SubscriptionSettings:
        """Return these settings with one attribute changed; raises AwsError for what SNS refuses."""
        return SubscriptionSettings(protocol, {**self.given, name: value}, where="")

    def shown(self, name: str) -> str:
        """Return an attribute as it is in effect, said or not."""
        return self.given.get(name, _DEFAULTS.get(name, ""))

    def _is_raw(self, protocol: str, given: Mapping[str, str]) -> bool:
        raw = given.get("RawMessageDelivery", "false")
        if raw.lower() not in ("true", "false"):
            found = f"RawMessageDelivery: Invalid value [{raw[:80]}]. Must be true or false."
            raise sns_invalid(f"{self._where}{found}")
        if raw.lower() == "true" and protocol not in _RAW:
            raise sns_invalid(f"{self._where}RawMessageDelivery: not for protocol {protocol}")
        return raw.lower() == "true"

    def _redrive(self) -> str | None:
        text = self.given.get("RedrivePolicy")
        if not text:
            return None
        try:
            target: Any = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise sns_invalid(f"{self._where}RedrivePolicy: failed to parse JSON.") from None
        arn = Arn.parse(target.get("deadLetterTargetArn")) if isinstance(target, Mapping) else None
        if arn is None or arn.service != "sqs":
            raise sns_invalid(f"{self._where}RedrivePolicy: deadLetterTargetArn is an invalid arn")
        return str(arn)


class Subscription:
    """One endpoint of one topic. Queues and confirmed HTTP endpoints are delivered to; others are only kept.

    `token` is what an endpoint that has to be asked confirms with; `authenticated` says that only its owner may end it.
    """

    def __init__(
        self,
        arn: Arn,
        topic_arn: str,
        protocol: str,
        endpoint: str,
        settings: SubscriptionSettings,
        *,
        token: str = "",
        confirmed: bool = False,
        authenticated: bool = False,
    ) -> None:
        self.arn = arn
        self.arn_text = str(arn)
        self.topic_arn = topic_arn
        self.protocol = protocol
        self.endpoint = endpoint
        self.settings = settings
        self.token = token or secrets.token_hex(64)
        self.confirmed = confirmed
        self.authenticated = authenticated

    @property
    def row_key(self) -> str:
        return self.arn_text

    def to_row(self) -> list[Any]:
        state = [self.token, self.confirmed, self.authenticated]
        return [self.arn_text, self.topic_arn, self.protocol, self.endpoint, self.settings.given, *state]

    @property
    def pending(self) -> bool:
        """Whether somebody outside has to confirm it first."""
        return self._asked and not self.confirmed

    @property
    def _asked(self) -> bool:
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
        else:  # a scope of nothing isn't shown (recorded)
            given.pop("FilterPolicyScope", None)
        return {
            "SubscriptionArn": self.arn_text,
            "TopicArn": self.topic_arn,
            "Owner": self.arn.account,
            "Protocol": self.protocol,
            "Endpoint": self.endpoint,
            "PendingConfirmation": "true" if self.pending else "false",
            "ConfirmationWasAuthenticated": "true" if self.authenticated or not self._asked else "false",
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
    if protocol == "sms" and not _PHONE.fullmatch(endpoint):
        raise AwsError("InvalidParameter", f"Invalid SMS endpoint: {endpoint[:80]}")
    if protocol == "sqs":
        arn = Arn.parse(endpoint)
        if arn is None or arn.service != "sqs":
            raise sns_invalid("SQS endpoint ARN")
        if arn.resource.endswith(".fifo") and not fifo_topic:
            why = "Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
            raise AwsError("InvalidParameter", f"Invalid parameter: Invalid parameter: {why}")
