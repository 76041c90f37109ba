"""The envelope that SNS puts around a message where a subscription has no raw delivery."""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, datetime

import msgspec

__all__ = ["Notification", "read_notification", "time_of"]


class Notification(msgspec.Struct, frozen=True):
    """What was published: its text, attributes, id, and when SNS took it, in seconds since the epoch."""

    text: str
    attributes: dict[str, str]
    id: str
    sent: float | None


class _Value(msgspec.Struct, frozen=True):
    kind: str = msgspec.field(name="Type", default="")
    value: str = msgspec.field(name="Value", default="")


class _Document(msgspec.Struct, frozen=True):
    type: str = msgspec.field(name="Type")
    id: str = msgspec.field(name="MessageId")
    topic: str = msgspec.field(name="TopicArn")
    text: str = msgspec.field(name="Message")
    stamp: str = msgspec.field(name="Timestamp")
    unsubscribe: str = msgspec.field(name="UnsubscribeURL")
    attributes: dict[str, _Value] = msgspec.field(name="MessageAttributes", default_factory=dict)


def read_notification(body: str, topics: Container[str]) -> Notification | None:
    """Return what SNS put into this envelope for a subscription of one of `topics`; None where it isn't such a one.

    A payload may be a notification itself: one that a relay or an archive hands on is of another topic, and stays as
    it is. One of the same topic, published to it again, can't be told from a delivery without raw delivery.
    """
    if not body.startswith("{") or '"TopicArn"' not in body:
        return None
    try:
        found = msgspec.json.decode(body, type=_Document)
    except (msgspec.DecodeError, RecursionError):
        return None
    if found.type != "Notification" or found.topic not in topics or f"{found.topic}:" not in found.unsubscribe:
        return None
    attributes = {name: each.value for name, each in found.attributes.items()}
    return Notification(found.text, attributes, found.id, time_of(found.stamp))


def time_of(stamp: str) -> float | None:
    """Return a time of SNS's, in seconds since the epoch; None for any other, since anyone may have written it."""
    try:
        seconds = datetime.fromisoformat(stamp).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds >= 0 else None
