"""Several hooks as one, none of which can hurt the bus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from polybus.binding import Entity
from polybus.errors import Fault, exit_in
from polybus.message import Sent
from polybus.telemetry import Hooks, LeaseExtended, LeaseLostEvent, Processing, Publishing, Settled

T = TypeVar("T")
_log = logging.getLogger("polybus")

__all__ = ["combine"]


def combine(hooks: Sequence[Hooks]) -> Hooks | None:
    """Return one hook that calls them all, or None where there are none: then the bus makes no events at all."""
    return _Combined(tuple(hooks)) if hooks else None


class _Combined:
    def __init__(self, hooks: tuple[Hooks, ...]) -> None:
        self._hooks = hooks

    def inject(self, event: Publishing) -> Mapping[str, str]:
        merged: dict[str, str] = {}
        for injected in self._each(lambda hook: hook.inject(event)):
            merged.update(injected)
        return merged

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
        ends = list(self._each(lambda hook: hook.publishing(event)))

        def done(outcome: Sent | Fault) -> None:
            for end in ends:
                _guarded(lambda end=end: end(outcome))  # type: ignore[misc]

        return done

    @contextmanager
    def processing(self, event: Processing) -> Iterator[None]:
        contexts = list(self._each(lambda hook: hook.processing(event)))
        for context in contexts:
            _guarded(context.__enter__)
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            kind = type(error) if error is not None else None
            for context in reversed(contexts):
                _guarded(lambda context=context: context.__exit__(kind, error, None))  # type: ignore[misc]

    def settled(self, event: Settled) -> None:
        list(self._each(lambda hook: hook.settled(event)))

    def lease_extended(self, event: LeaseExtended) -> None:
        list(self._each(lambda hook: hook.lease_extended(event)))

    def lease_lost(self, event: LeaseLostEvent) -> None:
        list(self._each(lambda hook: hook.lease_lost(event)))

    def in_flight(self, source: Entity, change: int) -> None:
        list(self._each(lambda hook: hook.in_flight(source, change)))

    def not_taking(self, source: Entity, reason: str, change: int) -> None:
        for hook in self._hooks:
            tell = getattr(hook, "not_taking", None)  # younger than the others: a listener may not have it
            if tell is not None:
                _guarded(lambda tell=tell: tell(source, reason, change))  # type: ignore[misc]

    def _each(self, call: Callable[[Hooks], T]) -> Iterator[T]:
        for hook in self._hooks:
            yield from _guarded(lambda hook=hook: call(hook))  # type: ignore[misc]


def _guarded(call: Callable[[], T]) -> list[T]:
    try:
        return [call()]
    except BaseException as error:  # a listener's bug, a panic or a CancelledError as well, loses no message
        if exit_in(error) is not None:
            raise
        _log.exception("a polybus hook raised; the bus goes on")
        return []
