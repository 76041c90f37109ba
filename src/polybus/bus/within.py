"""Running a coroutine within a context of its own, in the task that is there."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any

__all__ = ["Within"]


class Within:
    """A coroutine in a copy of the current context, begun at once: what it sets there, nobody else sees.

    `done` says whether it ended without waiting for anything; else await it, in the task in which it was made. It may
    not return anything. A task of its own for each coroutine would do the same, and takes 3 µs or more of the 9 that
    handling a message takes (memory backend, Python 3.11).
    """

    __slots__ = ("_context", "_coroutine", "_waits_for", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._context: Context = copy_context()
        self._coroutine = coroutine
        self.done = False
        self._waits_for: Any = None
        try:
            self._waits_for = self._context.run(coroutine.send, None)
        except StopIteration:
            self.done = True

    def __await__(self) -> Generator[Any, Any, None]:
        run, coroutine, waits_for = self._context.run, self._coroutine, self._waits_for
        while not self.done:
            try:
                sent = yield waits_for
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as error:  # noqa: BLE001 - the coroutine's to handle
                thrown: BaseException | None = error
            else:
                thrown = None
            try:
                waits_for = run(coroutine.send, sent) if thrown is None else run(coroutine.throw, thrown)
            except StopIteration:
                self.done = True
