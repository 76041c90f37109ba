"""Receiving: long polls, what a received message shows, and receives tried again by their attempt id."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.localcloud.aws.attributes import Attributes, attributes_md5
from polybus.localcloud.aws.errors import AwsError, invalid_value
from polybus.localcloud.aws.params import integer, strings, text
from polybus.localcloud.aws.sqs.message import IN_FLIGHT, Message
from polybus.localcloud.aws.sqs.queue import Queue

__all__ = ["MAX_IN_FLIGHT", "Attempts", "Poll", "check_poll", "shown"]

# In-flight quota of standard and of FIFO queues alike (SQS quotas, 2024-11: FIFO raised from 20,000).
MAX_IN_FLIGHT = 120_000

_SYSTEM: dict[str, Callable[[Message], str | None]] = {
    "SenderId": lambda message: message.sender,
    "SentTimestamp": lambda message: str(int(message.sent * 1000)),
    "ApproximateReceiveCount": lambda message: str(message.receives),
    "ApproximateFirstReceiveTimestamp": lambda message: str(int((message.first_received or 0) * 1000)),
    "SequenceNumber": lambda message: message.sequence,
    "MessageDeduplicationId": lambda message: message.dedup,
    "MessageGroupId": lambda message: message.group,
    "AWSTraceHeader": lambda message: message.trace,
    "DeadLetterQueueSourceArn": lambda message: message.source,
}


@dataclass(frozen=True, slots=True)
class Poll:
    """What a receive asks for; times in seconds."""

    count: int
    visibility: int
    wait: int
    system: frozenset[str]
    names: tuple[str, ...]
    attempt: str | None


def check_poll(queue: Queue, params: Mapping[str, Any]) -> Poll:
    """Read a receive's parameters; raises AwsError for what is out of range or not for this queue."""
    count = integer(params, "MaxNumberOfMessages", 1, 10)
    wait = integer(params, "WaitTimeSeconds", 0, 20)
    visibility = integer(params, "VisibilityTimeout", 0, 43_200)
    system = frozenset(strings(params, "AttributeNames") + strings(params, "MessageSystemAttributeNames"))
    unknown = system - _SYSTEM.keys() - {"All"}
    if unknown:
        raise AwsError("InvalidAttributeName", f"Unknown Attribute {min(unknown)}.")
    attempt = text(params, "ReceiveRequestAttemptId")
    if attempt is not None and not queue.fifo:
        reason = "The request include parameter that is not valid for this queue type."
        raise invalid_value(attempt, "ReceiveRequestAttemptId", reason)
    return Poll(
        count=1 if count is None else count,
        visibility=queue.settings.visibility if visibility is None else visibility,
        wait=queue.settings.wait if wait is None else wait,
        system=frozenset(_SYSTEM) if "All" in system else system,
        names=tuple(strings(params, "MessageAttributeNames")),
        attempt=attempt,
    )


def shown(message: Message, poll: Poll) -> dict[str, Any]:
    """Return a received message as the response shows it."""
    answer: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": message.handle,
        "MD5OfBody": message.md5,
        "Body": message.body,
    }
    if poll.system:
        values = {name: _SYSTEM[name](message) for name in poll.system}
        answer["Attributes"] = {name: value for name, value in values.items() if value is not None}
    if poll.names and message.attributes:
        chosen = _chosen(message.attributes, poll.names)
        if chosen:
            answer["MessageAttributes"] = chosen
            whole = len(chosen) == len(message.attributes)
            answer["MD5OfMessageAttributes"] = message.attributes_md5 if whole else attributes_md5(chosen)
    return answer


def _chosen(attributes: Attributes, names: tuple[str, ...]) -> Attributes:
    if not {"All", ".*", "*"}.isdisjoint(names):
        return attributes
    # `Hel.*` is any name that begins with Hel, with a dot or without (recorded).
    prefixes = tuple(name[:-2] for name in names if name.endswith(".*"))
    return {name: value for name, value in attributes.items() if name in names or name.startswith(prefixes)}


@dataclass(frozen=True, slots=True)
class _Attempt:
    key: str
    until: float
    messages: tuple[tuple[Message, int], ...]


class Attempts:
    """A FIFO queue's receives of the last five minutes, by ReceiveRequestAttemptId."""

    WINDOW = 300.0  # botocore model, ReceiveRequestAttemptId: "for the duration of 5 minutes"

    def __init__(self) -> None:
        self._known: dict[str, _Attempt] = {}
        self._due: deque[_Attempt] = deque()

    def again(self, key: str, now: float) -> list[Message]:
        """Return what the attempt was given, if all of it is still out under the same receipts."""
        while self._due and self._due[0].until <= now:
            old = self._due.popleft()
            if self._known.get(old.key) is old:
                del self._known[old.key]
        attempt = self._known.get(key)
        if attempt is None or any(m.state != IN_FLIGHT or m.receives != receives for m, receives in attempt.messages):
            return []
        return [message for message, _ in attempt.messages]

    def keep(self, key: str, messages: list[Message], now: float) -> None:
        attempt = _Attempt(key, now + self.WINDOW, tuple((message, message.receives) for message in messages))
        self._known[key] = attempt
        self._due.append(attempt)
