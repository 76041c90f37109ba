"""Dead letters as copies, for a system that can't move a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polybus.driver import BatchLimits, Outgoing, Prepared, ToDeadLetters
from polybus.errors import Fault, FaultKind
from polybus.message import Sent

__all__ = ["Letter", "batches", "letter_of", "unless_sent"]


class Letter(Outgoing, frozen=True, gc=False):
    """A message on its way to dead letters, by `BaseConsumer.dead_letter`: `encode` has to keep why it is there."""

    reason: str = ""
    description: str = ""


def letter_of(settlement: ToDeadLetters[Any]) -> Letter:
    """Make the copy of a message that is dead-lettered."""
    received = settlement.received
    return Letter(
        received.message,
        moves=received.moves + 1,
        token=received.token,
        reason=settlement.reason,
        description=settlement.description,
    )


def unless_sent(outcome: object) -> Fault | None:
    """Give why a copy wasn't sent, None where it was."""
    if isinstance(outcome, Sent):
        return None
    if isinstance(outcome, Fault):
        return outcome
    detail = f"the driver gave {type(outcome).__qualname__} as an outcome; a bug of this backend"
    return Fault(FaultKind.INVALID, detail)


def batches(ready: Mapping[int, Prepared[Any]], limits: BatchLimits) -> Iterator[dict[int, Prepared[Any]]]:
    """Cut what is ready into batches; dead letters have no order to keep."""
    batch: dict[int, Prepared[Any]] = {}
    size, key = 0, None
    for place, each in ready.items():
        full = len(batch) >= limits.count or size + each.size > limits.total_bytes
        other = not limits.mixes_keys and each.outgoing.message.ordering_key != key
        if batch and (full or other):
            yield batch
            batch, size = {}, 0
        batch[place] = each
        size, key = size + each.size, each.outgoing.message.ordering_key
    if batch:
        yield batch
