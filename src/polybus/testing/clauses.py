"""The contract, clause by clause: what the conformance suite proves of every backend."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

__all__ = ["CLAUSES", "clause_of", "moves_time"]

CLAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "P1": "publish returns when the backend has durably accepted the message, with its id; otherwise it raises",
        "P2": "outcomes are per message: those that failed are reported, and only those are tried again",
        "P3": "any bytes and any Unicode attribute values come back identical; text stays readable on the wire",
        "P4": "what is over a limit fails before any network call, naming the limit and the cloud",
        "P5": "only retryable faults are retried, with jittered backoff up to a deadline; a retry keeps the id",
        "P6": "messages of one ordering key are delivered in the order of the calls; a failure blocks its key",
        "P7": "outstanding messages and bytes are bounded: publish waits, it doesn't grow",
        "P8": "a delayed message is not delivered before its delay is over; undeclared delay is refused",
        "D1": "at least once: what is not acked comes again, until its retention is over",
        "D2": "the lease is extended until the delivery is settled, up to max_lease; its loss is told",
        "D3": "an ack is final; settling twice is no error and does nothing",
        "D4": "nack(delay=d): it comes again, not before d, and takes no handler slot meanwhile",
        "D5": "attempt starts at 1 and counts deliveries",
        "D6": "what fails at max_attempts is dead-lettered as it was, with the reason; the cloud's limit is the net",
        "D7": "a handler can dead-letter at once, with a reason and a description; a crash leaves letter or message",
        "D8": "every subscription gets its copy of what its filter passes, decided by the cloud",
        "D9": "consumers of one subscription compete: a leased message is with one of them",
        "D10": "in an ordered subscription nothing is delivered before the earlier ones of its key are settled",
        "D11": "a body that a typed handler can't decode is dead-lettered with the reason",
        "D12": "a drain gives back what was prefetched, lets handlers finish in time, and leaves nothing in flight",
        "D13": "redrive puts dead letters back to their own subscription and no other; a crash loses none",
        "D14": "what a foreign producer publishes is delivered, not rejected",
    }
)

_NAME = re.compile(r"test_([PD]\d+)_")


def clause_of(test: str) -> str | None:
    """Return the clause that a test's name carries (`test_D12_a_drain_...`), or None."""
    found = _NAME.match(test)
    return found.group(1) if found is not None else None


# What the suite's tests call to let time pass: the environment, and their own classes' helpers that use it.
_MOVES_TIME = ("env.advance(", "env.keep(", "self._crash(", "self._kept_or_refused(", "_reach(env")


def moves_time(test: Callable[..., Any]) -> bool:
    """Say whether a test of the suite lets time pass, which takes that long where the clock can't be moved."""
    source = inspect.getsource(inspect.unwrap(test))
    return any(call in source for call in _MOVES_TIME)
