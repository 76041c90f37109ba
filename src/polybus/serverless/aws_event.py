"""What Lambda puts into events for SQS and SNS, as messages.

Shapes: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and .../with-sns.html. They carry what the APIs do,
under other names: keys in lower camel case for SQS, `Type` and `Value` for SNS's attributes, and binary values in
base64 in both.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.binding import Entity
from polybus.driver import Received

__all__ = ["sns_message", "sqs_message"]

Json = Mapping[str, Any]


def sqs_message(
    record: Json, source: Entity, lease_until: float, topics: Mapping[str, Entity] | None = None
) -> Received[str]:
    """Return the delivery that a record of an SQS event is; `topics` are those of its bus."""
    from polybus.clouds.aws.driver.wire import topics_of

    attributes = {name: _sqs_attribute(value) for name, value in (record.get("messageAttributes") or {}).items()}
    raw = {
        "MessageId": record["messageId"],
        "Body": record["body"],
        "Attributes": record["attributes"],
        "MessageAttributes": attributes,
    }
    attempt = int(record["attributes"]["ApproximateReceiveCount"])
    group = record["attributes"].get("MessageGroupId") if source.ordered else None
    may_deliver = topics_of(source, topics or {})
    delivered = _received(
        raw, source, lease_until, attempt=attempt, receipt=record["receiptHandle"], topics=may_deliver
    )
    return msgspec.structs.replace(delivered, group=group, token=record["messageId"])


def sns_message(notification: Json, source: Entity, lease_until: float) -> Received[str]:
    """Return the delivery that an SNS notification is: an event's `Sns`, or what SNS posts to an HTTPS endpoint.

    It has no receipt, and SNS doesn't count attempts: each is the first.
    """
    from polybus.clouds.aws.driver.notification import time_of

    attributes = {name: _sns_attribute(value) for name, value in (notification.get("MessageAttributes") or {}).items()}
    sent = time_of(notification["Timestamp"])
    raw = {
        "MessageId": notification["MessageId"],
        "Body": notification["Message"],
        "Attributes": {} if sent is None else {"SentTimestamp": str(round(sent * 1000))},
        "MessageAttributes": attributes,
    }
    return _received(raw, source, lease_until, attempt=1, receipt="")


def _received(
    raw: Json,
    source: Entity,
    lease_until: float,
    *,
    attempt: int,
    receipt: str,
    topics: frozenset[str] = frozenset(),
) -> Received[str]:
    from polybus.clouds.aws.driver.wire import decode

    message, envelope = decode(raw, source, topics)
    redelivered = attempt > 1 or envelope.moves > 0
    return Received(message, attempt, lease_until, receipt, None, redelivered, envelope.moves)


def _sqs_attribute(value: Json) -> Json:
    if value.get("stringValue") is not None:
        return {"StringValue": value["stringValue"]}
    return {"BinaryValue": base64.b64decode(value.get("binaryValue") or "")}


def _sns_attribute(value: Json) -> Json:
    if value["Type"] == "Binary":
        return {"BinaryValue": base64.b64decode(value["Value"])}
    return {"StringValue": value["Value"]}
