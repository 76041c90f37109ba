"""The contract, clause by clause: what the conformance suite proves of every backend.

P is publishing, D delivering, O what operators and the bus ask of a driver beside.
"""

from __future__ import annotations

import inspect
import re
import sys
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
        "D15": "a cancellation that polybus did not cause, and any error, is that handler's failure and no one else's",
        "D16": "nothing ends or goes deaf in silence: who waits for it is told",
        "O1": "operators ping, describe, count, look at and purge what is there; what is missing is NOT_FOUND",
        "O2": "what an error means is told by its type or code: what passes is retryable, what isn't known INTERNAL",
    }
)

_NAME = re.compile(r"test_([PDO]\d+)_")


def clause_of(test: str) -> str | None:
    """Return the clause that a test's name carries (`test_D12_a_drain_...`), or None."""
    found = _NAME.match(test)
    return found.group(1) if found is not None else None


# What lets time pass, in the tests of the suite and in their helpers.
_MOVES_TIME = ("env.advance(", "env.keep(", "env.stand_still(")
_HELPER = re.compile(r"(?:self\.|\b)(_[a-z]\w*)\(")


def moves_time(test: Callable[..., Any]) -> bool:
    """Say whether a test of the suite lets time pass, which takes that long where the clock can't be moved."""
    seen = dict[str, Callable[..., Any]]()
    waiting = [inspect.unwrap(test)]
    while waiting:
        function = waiting.pop()
        source = inspect.getsource(function)
        if any(call in source for call in _MOVES_TIME):
            return True
        for name in _HELPER.findall(source):
            helper = _helper(test, name)
            if helper is not None and name not in seen:
                seen[name] = helper
                waiting.append(helper)
    return False


def _helper(test: Callable[..., Any], name: str) -> Callable[..., Any] | None:
    """Find a helper of a test: a method of its class, or a function of its module."""
    module = sys.modules[test.__module__]
    group = getattr(module, test.__qualname__.partition(".")[0], None)
    found = getattr(group, name, None) or getattr(module, name, None)
    return inspect.unwrap(found) if inspect.isfunction(found) else None
