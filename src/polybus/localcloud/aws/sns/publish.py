"""Publishing: what a topic accepts."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from polybus.localcloud.aws.attributes import Attributes, attributes_size, check_attributes, legal_text
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.params import text
from polybus.localcloud.aws.sns.topic import Topic

__all__ = ["Notification", "check_notification"]

_GROUP = re.compile(r"[!-~]{1,128}")
_SUBJECT = re.compile(r"[!-~][ -~]{0,99}")


@dataclass(slots=True)
class Notification:
    """An accepted message; `bodies` holds the body for each protocol, `default` for the others; `size` in bytes."""

    id: str
    bodies: Mapping[str, str]
    attributes: Attributes
    size: int
    subject: str | None
    group: str | None
    dedup: str | None
    sequence: str | None = None
    trace: str | None = None

    def body(self, protocol: str) -> str:
        return self.bodies.get(protocol, self.bodies["default"])


def check_notification(topic: Topic, params: Mapping[str, Any], trace: str | None = None) -> Notification:
    """Read one message of a request, with its trace header; raises AwsError where SNS refuses it for this topic."""
    message = text(params, "Message")
    if not message:
        raise sns_invalid("Empty message")
    if not legal_text(message):
        raise sns_invalid("Message Reason: it has characters that are not allowed")
    attributes, why = check_attributes(params.get("MessageAttributes"))
    why = why or _array_problem(attributes)
    if why:
        raise AwsError("ParameterValueInvalid", why)
    subject = text(params, "Subject")
    if subject is not None and not _SUBJECT.fullmatch(subject):
        raise sns_invalid("Subject")
    size = len(message.encode()) + attributes_size(attributes)
    if size > topic.settings.max_message:
        raise sns_invalid("Message too long")
    group, dedup = _ordering(topic, message, params)
    bodies = _bodies(params, message)
    return Notification(str(uuid.uuid4()), bodies, attributes, size, subject, group, dedup, trace=trace)


def _array_problem(attributes: Attributes) -> str | None:
    for name, value in attributes.items():
        if value["DataType"] == "String.Array":
            try:
                items = msgspec.json.decode(value["StringValue"])
            except (msgspec.DecodeError, RecursionError):
                items = None
            if not isinstance(items, list) or any(isinstance(item, list | dict) for item in items):
                return f"The message attribute '{name}' of type String.Array must be an array of plain values."
    return None


def _bodies(params: Mapping[str, Any], message: str) -> Mapping[str, str]:
    structure = text(params, "MessageStructure")
    if structure is None:
        return {"default": message}
    if structure != "json":
        raise sns_invalid("MessageStructure")
    try:
        bodies = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError):
        bodies = None
    if not isinstance(bodies, dict):
        raise sns_invalid("Message Structure - JSON message body failed to parse")
    bodies = {key: value for key, value in bodies.items() if isinstance(value, str)}
    if "default" not in bodies:
        raise sns_invalid("Message Structure - No default entry in JSON message body")
    return bodies


def _ordering(topic: Topic, message: str, params: Mapping[str, Any]) -> tuple[str | None, str | None]:
    group, dedup = text(params, "MessageGroupId"), text(params, "MessageDeduplicationId")
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", dedup)):
        if value is not None and not _GROUP.fullmatch(value):
            rule = "can only include alphanumeric and punctuation characters. 1 to 128 in length"
            raise sns_invalid(f"The {name} parameter is invalid. Reason: it {rule}")
    if not topic.settings.fifo:
        if dedup is not None:
            why = "The request includes MessageDeduplicationId parameter that is not valid for this topic type"
            raise sns_invalid(f"MessageDeduplicationId Reason: {why}")
        return group, None
    if group is None:
        raise sns_invalid("The MessageGroupId parameter is required for FIFO topics")
    if dedup is None:
        if not topic.settings.content_dedup:
            why = "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided"
            raise sns_invalid(f"{why} explicitly")
        dedup = hashlib.sha256(message.encode()).hexdigest()
    return group, dedup
