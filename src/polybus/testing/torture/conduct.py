"""What a handler does with one delivery: decided by seed, message and attempt, so that a run can be repeated."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from enum import StrEnum
from typing import Final

from polybus.bus.delivery import Delivery
from polybus.errors import Retry
from polybus.testing.torture.scene import LEASE

__all__ = ["Conduct", "Panic", "choose", "fail", "work", "work_in_thread"]


class Conduct(StrEnum):
    """How a handler behaves."""

    PLAIN = "plain"  # works for a moment and returns
    ACKS = "acks"  # acks by itself, and notes that it was confirmed
    LONG = "long"  # works longer than a lease, awaiting
    BLOCKS = "blocks"  # stands in the way of the event loop, longer than a lease
    SLEEPS = "sleeps"  # longer than a lease in a thread
    RAISES = "raises"  # an ordinary error, whose text can't be encoded
    GROUPS = "groups"  # an ExceptionGroup with a Retry in it
    CANCELS = "cancels"  # CancelledError, of its own
    PANICS = "panics"  # a BaseException
    RETRIES = "retries"  # Retry
    NACKS = "nacks"  # gives it back by itself
    CLINGS = "clings"  # swallows a cancellation once


# Parts of 1,000. What blocks the whole loop for over a lease is rare: it stops all that the process does.
_ASYNC: Final = (
    (Conduct.ACKS, 300),
    (Conduct.LONG, 4),
    (Conduct.BLOCKS, 1),
    (Conduct.RAISES, 30),
    (Conduct.GROUPS, 10),
    (Conduct.CANCELS, 10),
    (Conduct.PANICS, 10),
    (Conduct.RETRIES, 20),
    (Conduct.NACKS, 20),
    (Conduct.CLINGS, 10),
)
_BLOCKING: Final = ((Conduct.SLEEPS, 4), (Conduct.RAISES, 30), (Conduct.PANICS, 10), (Conduct.RETRIES, 20))
_OVER: Final = 1.2
"""Parts of a lease that is overrun."""


class Panic(BaseException):
    """What an extension module raises past everything that catches Exception."""


def choose(seed: int, delivery: Delivery, *, blocking: bool) -> tuple[Conduct, random.Random]:
    """Return what to do with a delivery, and the random numbers for doing it."""
    text = f"{seed} {delivery.source} {delivery.body!r} {delivery.attempt}"
    chance = random.Random(hashlib.sha256(text.encode()).digest())  # noqa: S311 - a plan, not a secret
    left = chance.randrange(1_000)
    for conduct, parts in _BLOCKING if blocking else _ASYNC:
        if left < parts:
            return conduct, chance
        left -= parts
    return Conduct.PLAIN, chance


def fail(conduct: Conduct) -> None:
    """Raise what the conduct says, or return where it is none that fails."""
    match conduct:
        case Conduct.RAISES:
            raise ValueError("can't read caf\udce9, " + "and so on " * 200)
        case Conduct.GROUPS:
            raise ExceptionGroup("of a task group", [ExceptionGroup("inner", [Retry("later", after=0.3)])])
        case Conduct.CANCELS:
            raise asyncio.CancelledError
        case Conduct.PANICS:
            raise Panic("at the disco")
        case Conduct.RETRIES:
            raise Retry("not yet", after=0.5)


async def work(conduct: Conduct, chance: random.Random) -> None:
    """Take the time that the conduct takes, on the event loop."""
    match conduct:
        case Conduct.LONG:
            await asyncio.sleep(_OVER * LEASE)
        case Conduct.BLOCKS:
            time.sleep(_OVER * LEASE)  # noqa: ASYNC251 - that is what it is for
        case Conduct.CLINGS:
            try:
                await asyncio.sleep(chance.uniform(0.0, 0.5))
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
        case _:
            await asyncio.sleep(chance.expovariate(1 / 0.01))


def work_in_thread(conduct: Conduct, chance: random.Random) -> None:
    """Take the time that the conduct takes, in a thread."""
    time.sleep(_OVER * LEASE if conduct is Conduct.SLEEPS else chance.expovariate(1 / 0.01))
