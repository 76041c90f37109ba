"""What the two embedded backends, memory and SQLite, have in common: limits, checks and features."""

from __future__ import annotations

import logging
import uuid
from collections import Counter

from polybus.binding import Entity, Kind
from polybus.driver import BatchLimits, Outgoing
from polybus.errors import Fault, FaultKind
from polybus.feature import Feature
from polybus.message import Message
from polybus.portable import safe_id
from polybus.topology.limits import (
    DEAD_LETTER_RESERVE_BYTES,
    attribute_name_problem,
    ordering_key_problem,
)

__all__ = [
    "BATCH",
    "DEFAULT_MAX_SIZE",
    "DedupWindow",
    "Expiries",
    "check",
    "check_key",
    "features",
    "tenant_of",
]

DEFAULT_MAX_SIZE = 10 * 1024 * 1024
"""Bytes of one message where the topology says nothing: as on Google, the largest default of the three clouds."""

# Far beyond where a larger batch still gains (raw SQLite: 19 times at 100 a transaction, and flat from there), small
# enough that one batch of one publisher can't hold up the others for long.
BATCH = BatchLimits(count=1_000, total_bytes=64 * 1024 * 1024)

_COMMON = (
    Feature.NACK_DELAY
    | Feature.PEEK
    | Feature.COUNTS
    | Feature.AGE
    | Feature.EXACTLY_ONCE
    | Feature.CONSISTENT
    | Feature.ATTEMPTS
)

_log = logging.getLogger("polybus")


def features(entity: Entity) -> Feature:
    """Return what an embedded backend can do with an entity."""
    if entity.kind is Kind.DEAD_LETTERS:
        return _COMMON
    return _COMMON | Feature.DELAY | (Feature.ORDERING if entity.ordered else Feature.FAIRNESS)


def check(outgoing: Outgoing, target: Entity, backend: str) -> tuple[Message, int] | Fault:
    """Return the message as it will be stored and its size in bytes, or why it can't be published (contract, P4).

    The size counts the body, the names and values of attributes and the ordering key, as UTF-8. What is stored is a
    copy, so that the caller may go on changing its attributes. A message without an id gets one.
    """
    message = outgoing.message
    size = len(message.body)
    attributes = message.attributes
    if attributes:
        attributes = dict(attributes)
        try:
            for name, value in attributes.items():
                problem = attribute_name_problem(name)
                if problem is not None:
                    return _invalid(target, backend, problem)
                size += len(name) + len(value.encode())
        except (UnicodeEncodeError, AttributeError, TypeError):
            return _invalid(target, backend, f"the value of attribute {name!r} is not a str of Unicode characters")
    key = message.ordering_key
    if key is not None:
        problem = ordering_key_problem(key)
        if problem is not None:
            return _invalid(target, backend, problem)
        size += len(key)
    if outgoing.delay:
        problem = _delay_problem(outgoing.delay, target)
        if problem is not None:
            return _invalid(target, backend, problem)
    limit = DEFAULT_MAX_SIZE if target.max_size is None else target.max_size
    if size + DEAD_LETTER_RESERVE_BYTES > limit:
        return Fault(
            FaultKind.TOO_LARGE,
            f"{size} bytes for {target.kind.value} {target.name!r}: the limit on {backend} is {limit}, of which "
            f"{DEAD_LETTER_RESERVE_BYTES} are kept for dead-lettering",
        )
    identity = message.id or str(uuid.uuid4())
    return Message(message.body, attributes, key, identity, message.published_at, message.content_type), size


def check_key(message: Message, target: Entity, backend: str) -> Fault | None:
    """Say why a message's ordering key, or its absence, doesn't fit the target (contract, P6)."""
    if target.ordered and message.ordering_key is None:
        return _invalid(target, backend, "it is ordered, and the message has no ordering key")
    if not target.ordered and message.ordering_key is not None:
        return _invalid(target, backend, "it is not ordered, and the message has an ordering key")
    return None


def tenant_of(message: Message, fairness_key: str) -> str:
    """Return whose message it is; those without the attribute are of one tenant, ""."""
    value = message.attributes.get(fairness_key, "")
    return value and safe_id(value)


def _delay_problem(delay: float, target: Entity) -> str | None:
    if not 0 <= delay <= target.max_delay:
        return f"a delay of {delay} s, and its max_delay is {target.max_delay} s"
    return None


def _invalid(target: Entity, backend: str, problem: str) -> Fault:
    return Fault(FaultKind.INVALID, f"{target.kind.value} {target.name!r} on {backend}: {problem}")


class DedupWindow:
    """The deduplication ids of late: a publish that is repeated after its answer was lost is accepted once.

    Two generations of ids, so that forgetting costs nothing per message: an id is known for at least SPAN seconds or
    CAPACITY later ids, whichever is shorter.
    """

    SPAN = 300.0  # SQS FIFO's interval; a publisher retries for 60 s by default
    CAPACITY = 50_000  # about 10 MB of ids a target; at 40,000 messages a second still over a second of retries

    __slots__ = ("_current", "_previous", "_since")

    def __init__(self) -> None:
        self._current: set[str] = set()
        self._previous: set[str] = set()
        self._since = 0.0

    def __contains__(self, dedup_id: str) -> bool:
        return dedup_id in self._current or dedup_id in self._previous

    def turn(self, now: float) -> None:
        """Forget what is old enough; to be called now and then, with the clock's monotonic reading."""
        if len(self._current) < self.CAPACITY and now - self._since < self.SPAN:
            return
        self._previous = self._current if now - self._since < 2 * self.SPAN else set()
        self._current = set()
        self._since = now

    def admit(self, dedup_id: str) -> bool:
        """Note an id; say whether it is new. What has none is."""
        if not dedup_id:
            return True
        if dedup_id in self._current or dedup_id in self._previous:
            return False
        self._current.add(dedup_id)
        return True

    def update(self, dedup_ids: set[str]) -> None:
        self._current |= dedup_ids


class Expiries:
    """Tells the log what was deleted because its retention was over: nothing is deleted in silence.

    The first at once, what follows within a minute of it together: a backlog expires in many small steps.
    """

    EVERY = 60.0

    __slots__ = ("_count", "_due", "_where")

    def __init__(self, where: str) -> None:
        self._where = where
        self._count: Counter[str] = Counter()
        self._due = float("-inf")

    def add(self, source: str, count: int) -> None:
        """Count what was deleted from a source; `source` says what it is and its name."""
        self._count[source] += count

    def tell(self, now: float, *, last: bool = False) -> None:
        """Log what was counted, if it is time or the last time; `now` is a reading in seconds that never goes back."""
        if not self._count or (now < self._due and not last):
            return
        self._due = now + self.EVERY
        for source, count in sorted(self._count.items()):
            _log.warning(
                "%s: %d messages of %s expired: their retention is over, they are deleted", self._where, count, source
            )
        self._count.clear()
