"""The JSON in which SNS wraps a message where delivery is not raw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from polybus.localcloud.aws.sns.publish import Notification
from polybus.localcloud.aws.sns.subscription import Subscription

__all__ = ["envelope"]


def envelope(notification: Notification, subscription: Subscription, now: float) -> str:
    """Return the notification document. Its signature is empty: only AWS can sign as AWS."""
    region = subscription.arn.region
    host = f"https://sns.{region}.amazonaws.com"
    stamp = datetime.fromtimestamp(now, UTC)
    document: dict[str, Any] = {"Type": "Notification", "MessageId": notification.id}
    if notification.sequence is not None:
        document["SequenceNumber"] = notification.sequence
    document["TopicArn"] = subscription.topic_arn
    if notification.subject is not None:
        document["Subject"] = notification.subject
    document |= {
        "Message": notification.body(subscription.protocol),
        "Timestamp": f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z",
        "SignatureVersion": "1",
        "Signature": "",
        "SigningCertURL": "",
        "UnsubscribeURL": f"{host}/?Action=Unsubscribe&SubscriptionArn={subscription.arn_text}",
    }
    if notification.attributes:
        document["MessageAttributes"] = {
            name: {"Type": value["DataType"], "Value": value.get("StringValue", value.get("BinaryValue"))}
            for name, value in notification.attributes.items()
        }
    return msgspec.json.encode(document).decode()
