"""The JSON documents that SNS delivers: notifications where delivery isn't raw, and questions to HTTP endpoints."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from polybus.localcloud.aws.sns.publish import Notification
from polybus.localcloud.aws.sns.signing import Signer
from polybus.localcloud.aws.sns.subscription import Subscription
from polybus.localcloud.aws.sns.topic import Topic

__all__ = ["Envelopes"]

_VISIT = "visit the SubscribeURL included in this message."
_ASKED = {
    "SubscriptionConfirmation": "You have chosen to subscribe to the topic {topic}.\n"
    f"To confirm the subscription, {_VISIT}",
    "UnsubscribeConfirmation": "You have chosen to deactivate subscription {subscription}.\n"
    f"To cancel this operation and restore the subscription, {_VISIT}",
}


@dataclass(frozen=True, slots=True)
class Envelopes:
    """Writes and signs documents; `url` says where this server is reached."""

    signer: Signer
    url: Callable[[], str]

    def notification(self, topic: Topic, notification: Notification, subscription: Subscription, now: float) -> str:
        """Return the document of one message for one subscription; of a FIFO topic it has no signature (recorded)."""
        document: dict[str, Any] = {"Type": "Notification", "MessageId": notification.id}
        if notification.sequence is not None:
            document["SequenceNumber"] = notification.sequence
        document["TopicArn"] = topic.arn_text
        if notification.subject is not None:
            document["Subject"] = notification.subject
        document |= {"Message": notification.body(subscription.protocol), "Timestamp": _stamp(now)}
        if not topic.settings.fifo:
            self._sign(document, topic)
        asked = urlencode({"Action": "Unsubscribe", "SubscriptionArn": subscription.arn_text}, safe=":")
        document["UnsubscribeURL"] = f"{self.url()}/?{asked}"
        if notification.attributes:
            document["MessageAttributes"] = {
                name: {"Type": value["DataType"], "Value": value.get("StringValue", value.get("BinaryValue"))}
                for name, value in notification.attributes.items()
            }
        return msgspec.json.encode(document).decode()

    def question(self, kind: str, topic: Topic, subscription: Subscription, now: float) -> tuple[str, str]:
        """Return the id and the document by which an endpoint is asked whether it wants, or told that it is no more."""
        confirm = {"Action": "ConfirmSubscription", "TopicArn": topic.arn_text, "Token": subscription.token}
        told = _ASKED[kind].format(topic=topic.arn_text, subscription=subscription.arn_text)
        document = {
            "Type": kind,
            "MessageId": str(uuid.uuid4()),
            "Token": subscription.token,
            "TopicArn": topic.arn_text,
            "Message": told,
            "SubscribeURL": f"{self.url()}/?{urlencode(confirm, safe=':')}",
            "Timestamp": _stamp(now),
        }
        self._sign(document, topic)
        return document["MessageId"], msgspec.json.encode(document).decode()

    def _sign(self, document: dict[str, Any], topic: Topic) -> None:
        version = topic.settings.shown("SignatureVersion")
        signature = self.signer.sign(document, version)
        where = f"{self.url()}{self.signer.path}"
        document |= {"SignatureVersion": version, "Signature": signature, "SigningCertURL": where}


def _stamp(now: float) -> str:
    at = datetime.fromtimestamp(now, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
