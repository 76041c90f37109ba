"""Running on a coroutine within a context of its own, in the task that is there."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any

__all__ = ["Within"]


class Within:
    """A coroutine that was begun in a context of its own, and now waits for something: what it sets, nobody else sees.

    `waits_for` is what its first step yielded. Await this in the task in which it was begun. It may not return
    anything. A task of its own for each coroutine would do the same, and takes 3 µs or more of the 9 that handling a
    message takes (memory backend, Python 3.11).
    """

    __slots__ = ("_context", "_coroutine", "_waits_for")

    def __init__(self, context: Context, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._context = context
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        run, coroutine, waits_for = self._context.run, self._coroutine, self._waits_for
        while True:
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
                return
