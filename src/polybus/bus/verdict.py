"""What a handler's end means: done, again, a dead letter, or the end of the process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from polybus.bus.texts import said
from polybus.errors import DeadLetter, Retry

__all__ = ["Failed", "ends_process", "only_signals", "read", "signal_of"]


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed attempt; `dead` where it is a dead letter at once, `delay` (seconds) where the handler said so."""

    reason: str
    description: str
    delay: float | None = None
    dead: bool = False


def ends_process(error: BaseException) -> KeyboardInterrupt | SystemExit | None:
    """Return the KeyboardInterrupt or SystemExit that an exception is or, as a group, holds."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return error
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, Exception):
        return next((leaf for leaf in _leaves(error) if isinstance(leaf, KeyboardInterrupt | SystemExit)), None)
    return None


def signal_of(error: BaseException) -> Retry | DeadLetter | None:
    """Return the signal that an exception is, or that a group comes to: None where it is a failure.

    In a group DeadLetter wins over all else, since it says that another attempt is of no use. Several Retry are the one
    that waits longest. Retry beside errors is no signal: something failed.
    """
    if isinstance(error, Retry | DeadLetter):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    leaves = list(_leaves(error))
    letter = next((leaf for leaf in leaves if isinstance(leaf, DeadLetter)), None)
    if letter is not None:
        return letter
    retries = [leaf for leaf in leaves if isinstance(leaf, Retry)]
    return _longest(retries) if len(retries) == len(leaves) else None


def only_signals(error: BaseException) -> bool:
    """Say whether an exception is, or as a group holds, nothing but signals: whoever settles by it may absorb it."""
    return all(isinstance(leaf, Retry | DeadLetter) for leaf in _leaves(error))


def read(error: BaseException) -> Failed:
    """Say what an exception asks for; beside a Retry in its group, an error's attempt comes again at its time."""
    signal = signal_of(error)
    if isinstance(signal, DeadLetter):
        return Failed(signal.reason, signal.description, dead=True)
    if signal is not None:
        return Failed("Retry", said(signal), signal.after)
    delay = None
    if isinstance(error, BaseExceptionGroup):
        retries = [leaf for leaf in _leaves(error) if isinstance(leaf, Retry)]
        delay = _longest(retries).after if retries else None
    return Failed(type(error).__qualname__, said(error), delay)


def _longest(retries: list[Retry]) -> Retry:
    return max(retries, key=lambda retry: -1.0 if retry.after is None else retry.after)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
