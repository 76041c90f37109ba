"""Sending: what a queue accepts, and how it becomes a message."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polybus.localcloud.aws.attributes import (
    Attributes,
    attributes_md5,
    attributes_size,
    check_attributes,
    legal_text,
)
from polybus.localcloud.aws.errors import AwsError, invalid_value, missing_parameter
from polybus.localcloud.aws.params import integer, text
from polybus.localcloud.aws.sqs.fifo import FifoQueue
from polybus.localcloud.aws.sqs.message import Message
from polybus.localcloud.aws.sqs.queue import Queue

__all__ = ["MAX_ATTRIBUTES", "Draft", "check_draft", "check_fifo", "post", "sequence_number"]

MAX_ATTRIBUTES = 10  # SQS quotas, message attributes
_GROUP = re.compile(r"[!-~]{1,128}")  # alphanumeric and punctuation, as MessageDeduplicationId (botocore model)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be sent, checked; `size` in bytes, attributes included; `delay` in seconds."""

    body: str
    attributes: Attributes
    size: int
    delay: int | None = None
    group: str | None = None
    dedup: str | None = None
    trace: str | None = None
    sender: str = ""


def _bad(reason: str) -> AwsError:
    return AwsError("InvalidParameterValue", reason)


def check_draft(queue: Queue, params: Mapping[str, Any], sender: str, trace: str | None = None) -> Draft:
    """Read one message of a request; raises AwsError where this queue refuses it.

    `trace` is the request's own header, for a message that brings none.
    """
    body = text(params, "MessageBody")
    if not body:
        raise missing_parameter("MessageBody")
    if not legal_text(body):
        raise AwsError("InvalidMessageContents", "The message contains characters outside the allowed set.")
    attributes, why = check_attributes(params.get("MessageAttributes"), any_letters=True)
    if why:
        raise _bad(why)
    if len(attributes) > MAX_ATTRIBUTES:
        raise _bad(f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].")
    size = len(body.encode()) + (attributes_size(attributes) if attributes else 0)
    limit = queue.settings.max_message
    if size > limit:
        raise _bad(f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.")
    group, dedup = text(params, "MessageGroupId"), text(params, "MessageDeduplicationId")
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", dedup)):
        if value is not None and not _GROUP.fullmatch(value):
            reason = f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
            raise invalid_value(value, name, reason)
    delay = integer(params, "DelaySeconds", 0, 900)
    if queue.fifo:
        dedup = _check_fifo(queue, body, group, dedup, delay)
    elif dedup is not None:
        raise invalid_value(dedup, "MessageDeduplicationId", _NOT_HERE)
    return Draft(body, attributes, size, delay, group, dedup, _trace(params) or trace, sender)


_NO_DEDUP = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
_NOT_HERE = "The request include parameter that is not valid for this queue type."


def _check_fifo(queue: Queue, body: str, group: str | None, dedup: str | None, delay: int | None) -> str:
    if group is None:
        raise missing_parameter("MessageGroupId")
    if delay:
        raise invalid_value(delay, "DelaySeconds", _NOT_HERE)
    if dedup is not None:
        return dedup
    if not queue.settings.content_dedup:
        raise _bad(_NO_DEDUP)
    return hashlib.sha256(body.encode()).hexdigest()


def check_fifo(queue: Queue, entry: Mapping[str, Any]) -> None:
    """Refuse a batch to a FIFO queue for an entry without group or deduplication id.

    Anything else that is wrong with an entry is that entry's failure alone (recorded).
    """
    if not queue.fifo:
        return
    if text(entry, "MessageGroupId") is None:
        raise _bad("The request must contain the parameter MessageGroupId.")
    if text(entry, "MessageDeduplicationId") is None and not queue.settings.content_dedup:
        raise _bad(_NO_DEDUP)


def _trace(params: Mapping[str, Any]) -> str | None:
    system = params.get("MessageSystemAttributes")
    if not system:
        return None
    if not isinstance(system, Mapping) or system.keys() != {"AWSTraceHeader"}:
        raise _bad("MessageSystemAttributes may only hold AWSTraceHeader.")
    value = system["AWSTraceHeader"]
    if not isinstance(value, Mapping) or value.get("DataType") != "String" or not text(value, "StringValue"):
        raise _bad("The message system attribute 'AWSTraceHeader' must be a non-empty String.")
    return text(value, "StringValue")


def sequence_number(order: int) -> str:
    """Return a sequence number, 20 digits, that grows with `order`."""
    return str(10**19 + order)


def post(queue: Queue, draft: Draft) -> Message:
    """Put a message into `queue`, or return the one that it repeats; the caller then wakes the queue's waiters."""
    timeline = queue.timeline
    now = timeline.now()
    order = timeline.order()
    message = Message(
        queue=queue.uid,
        order=order,
        id=str(uuid.uuid4()),
        body=draft.body,
        md5=hashlib.md5(draft.body.encode(), usedforsecurity=False).hexdigest(),
        attributes=draft.attributes,
        attributes_md5=attributes_md5(draft.attributes),
        sent=now,
        sender=draft.sender,
        group=draft.group,
        dedup=draft.dedup,
        trace=draft.trace,
    )
    if isinstance(queue, FifoQueue):
        scope = (draft.group or "") if queue.settings.dedup_by_group else ""
        dedup = draft.dedup or ""
        seen = queue.dedup.find(scope, dedup, now)
        if seen is not None:
            message.id, message.sequence = seen.message_id, seen.sequence
            return message
        message.sequence = sequence_number(order)
        queue.dedup.add(scope, dedup, now, message.id, message.sequence)
    # On a FIFO queue it is the queue's delay that counts, though a message says 0 (recorded).
    delay = queue.settings.delay if draft.delay is None or queue.fifo else draft.delay
    queue.add(message, delay)
    return message
