"""What a handler's end means: again, a dead letter, or the end of the process."""

from __future__ import annotations

import msgspec

from polybus.bus.texts import said
from polybus.errors import DeadLetter, Retry, leaves_of, signal_in, wait_of

__all__ = ["Failed", "only_signals", "read"]


class Failed(msgspec.Struct, frozen=True):
    """A failed attempt; `dead` where it is a dead letter at once, `delay` (seconds) where the handler said so."""

    reason: str
    description: str
    delay: float | None = None
    dead: bool = False


def only_signals(error: BaseException) -> bool:
    """Say whether an exception is, or as a group holds, nothing but signals: whoever settles by it may absorb it."""
    return all(isinstance(leaf, Retry | DeadLetter) for leaf in leaves_of(error))


def read(error: BaseException) -> Failed:
    """Say what an exception asks for; beside a Retry in its group, an error's attempt comes again at its time."""
    signal = signal_in(error)
    if isinstance(signal, DeadLetter):
        if not (signal.reason or signal.description):
            return Failed(type(signal).__qualname__, said(signal), dead=True)
        return Failed(signal.reason, signal.description, dead=True)
    if signal is not None:
        return Failed("Retry", said(signal), wait_of(signal))
    waits = (wait_of(leaf) for leaf in leaves_of(error) if isinstance(leaf, Retry))
    delays = [wait for wait in waits if wait is not None]
    return Failed(type(error).__qualname__, said(error), max(delays, default=None))
