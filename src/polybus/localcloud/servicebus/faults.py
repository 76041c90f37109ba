"""Failures that a test asks for."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from polybus.localcloud.servicebus.refusal import Refusal

__all__ = ["ANSWERED", "PLACES", "Faults"]

PLACES = ("connect", "token", "attach", "send", "settle", "management", "http")
ANSWERED = ("send", "settle", "management")
"""Where an answer can wait."""


@dataclass(slots=True)
class _Fault:
    place: str
    condition: str | None  # None: the operation is done, and the connection cut before its answer
    remaining: int
    entity: str | None
    description: str


class Faults:
    """What is to fail next, by place; callable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Fault] = []
        self._waits: dict[str, deque[float]] = {}

    def delay_next(self, place: str, seconds: float, count: int = 1) -> None:
        """Have the answers of the next `count` operations at send, settle or management wait for so many seconds."""
        if place not in ANSWERED:
            raise ValueError(f"answers wait at {', '.join(ANSWERED)}, not at {place!r}")
        with self._lock:
            self._waits.setdefault(place, deque()).extend([seconds] * count)

    def wait(self, place: str) -> float:
        """Return how many seconds this answer is to wait; 0 where that wasn't asked for."""
        waits = self._waits.get(place) if self._waits else None
        return waits.popleft() if waits else 0.0

    def fail_next(
        self, place: str, condition: str, count: int = 1, *, entity: str | None = None, description: str | None = None
    ) -> None:
        """Refuse the next `count` operations at `place` (of `entity`, if given) with an AMQP condition.

        Places: connect, token, attach, send, settle, management (requests on $management), http.
        """
        text = description or f"Asked for by a test: {condition}."
        self._arm(_Fault(place, condition, count, entity.lower() if entity else None, text))

    def cut_next(self, place: str, count: int = 1, *, entity: str | None = None) -> None:
        """Do the next `count` operations at `place`, then cut their connection instead of answering."""
        self._arm(_Fault(place, None, count, entity.lower() if entity else None, ""))

    def _arm(self, fault: _Fault) -> None:
        if fault.place not in PLACES:
            raise ValueError(f"faults happen at {', '.join(PLACES)}, not at {fault.place!r}")
        with self._lock:
            self._armed = [*self._armed, fault]

    def clear(self) -> None:
        with self._lock:
            self._armed = []
            self._waits = {}

    def check(self, place: str, entity: str) -> None:
        """Raise Refusal if an operation here is to fail."""
        fault = self._take(place, entity, cuts=False) if self._armed else None
        if fault is not None and fault.condition is not None:
            raise Refusal(fault.condition, fault.description)

    def cuts(self, place: str, entity: str) -> bool:
        """Return whether the connection is to be cut instead of answering."""
        return bool(self._armed) and self._take(place, entity, cuts=True) is not None

    def _take(self, place: str, entity: str, *, cuts: bool) -> _Fault | None:
        path = entity.lower()
        with self._lock:
            for fault in self._armed:
                if fault.place == place and (fault.condition is None) == cuts and fault.entity in (None, path):
                    fault.remaining -= 1
                    if fault.remaining <= 0:
                        self._armed = [other for other in self._armed if other is not fault]
                    return fault
        return None
