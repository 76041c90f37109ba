"""What a thread received for somebody who doesn't wait for it any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Look", "Poll"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Look(Protocol[T_co]):
    """A look at a queue: several receives, each of which waits `wait` seconds."""

    @property
    def wait(self) -> int: ...

    def run(self, client: Any) -> T_co:
        """Receive until there is nothing more, or `stop` is called. Blocks."""

    def stop(self) -> None:
        """Have `run` give back what it received, and return; from any thread."""


class Poll(Generic[T]):
    """Work in a thread whose result isn't lost where nobody waits for it any more: `left` gets it then."""

    def __init__(self, work: Callable[[], T], left: Callable[[T], object]) -> None:
        self._work = work
        self._left = left
        self._lock = threading.Lock()
        self._is_left = False
        self._result: list[T] = []

    def __call__(self) -> T:
        result = self._work()
        with self._lock:
            self._result.append(result)
            is_left = self._is_left
        if is_left:
            self.give_back()
        return result

    def leave(self) -> bool:
        """Note that nobody waits any more; say whether there is a result that nobody saw."""
        with self._lock:
            self._is_left = True
            return bool(self._result)

    def give_back(self) -> None:
        """Pass on the result that nobody saw."""
        with contextlib.suppress(Exception):  # nobody is there to be told; what it was about comes back with its lease
            self._left(self._result[0])
