"""Waits that a test asks for: the next calls of an operation are held up."""

from __future__ import annotations

from collections import deque

from polybus.clock import Clock

__all__ = ["Delays"]


class Delays:
    """How long the next calls wait, by operation (`*`: of any); for one event loop."""

    def __init__(self) -> None:
        self._planned: dict[str, deque[float]] = {}

    def plan(self, operation: str, seconds: float, count: int) -> None:
        """Have the next `count` calls of an operation wait for so many seconds."""
        self._planned.setdefault(operation, deque()).extend([seconds] * count)

    def clear(self) -> None:
        """Forget what was planned."""
        self._planned.clear()

    @property
    def planned(self) -> bool:
        """Whether any call is to wait: to be asked before `hold`, which costs more."""
        return bool(self._planned)

    async def hold(self, operation: str, clock: Clock) -> None:
        """Wait as long as a call of this operation is to."""
        for name in (operation, "*"):
            waits = self._planned.get(name)
            if waits:
                seconds = waits.popleft()
                if not waits:
                    del self._planned[name]
                await clock.sleep(seconds)
                return
