"""A blocking call in a thread of its own that asks the event loop for what comes after it."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")
R = TypeVar("R")
Reply = tuple[Any, BaseException | None]


async def in_thread(
    name: str,
    function: Callable[[T, Callable[[T], R]], R],
    value: T,
    proceed: Callable[[T], Awaitable[R]],
    given_up: BaseException,
) -> R:
    """Call `function(value, proceed)` in a thread; what `proceed` does is done here, by the task that calls.

    So a cancellation reaches what the thread waits for. Where the thread itself is at work as this is cancelled, it is
    left to itself, and `given_up` is raised where it proceeds. A thread for each call, no pool: one that waited for a
    place behind calls that themselves wait for it would wait for ever.
    """
    call = _ThreadCall(function, value, given_up)
    threading.Thread(target=call.run, args=(contextvars.copy_context(),), name=f"polybus {name}", daemon=True).start()
    try:
        while True:
            asked = await call.asks.get()
            if isinstance(asked, _Done):
                result: R = asked.result()
                return result
            call.replies.put(await _answer(proceed, asked))
    finally:
        call.give_up()


class _Asked:
    """The thread wants to proceed; `context` is what it has set by then."""

    def __init__(self, value: Any, context: contextvars.Context) -> None:
        self.value = value
        self.context = context


class _Done:
    def __init__(self, value: Any, error: BaseException | None) -> None:
        self._value = value
        self._error = error

    def result(self) -> Any:
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self._error = None  # the frame would refer to itself by its traceback


async def _answer(proceed: Callable[[Any], Awaitable[Any]], asked: _Asked) -> Reply:
    before = contextvars.copy_context()
    changed = [(variable, value) for variable, value in asked.context.items() if before.get(variable) is not value]
    tokens = [(variable, variable.set(value)) for variable, value in changed]
    try:
        return await proceed(asked.value), None
    except BaseException as error:  # noqa: BLE001 - it is raised in the thread, and from there again
        return None, error
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


class _ThreadCall:
    def __init__(self, function: Callable[..., Any], value: Any, given_up: BaseException) -> None:
        self._loop = asyncio.get_running_loop()
        self._function = function
        self._value = value
        self._given_up = given_up
        self.asks: asyncio.Queue[_Asked | _Done] = asyncio.Queue()
        self.replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()

    def run(self, context: contextvars.Context) -> None:
        """Make the call; for the thread."""
        try:
            done = _Done(context.run(self._function, self._value, self._proceed), None)
        except BaseException as error:  # noqa: BLE001 - it is told to whoever waits
            done = _Done(None, error)
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.asks.put_nowait, done)

    def give_up(self) -> None:
        """Let the thread never proceed again."""
        self.replies.put((None, self._given_up))

    def _proceed(self, value: Any) -> Any:
        try:
            self._loop.call_soon_threadsafe(self.asks.put_nowait, _Asked(value, contextvars.copy_context()))
        except RuntimeError:
            raise self._given_up from None
        result, error = self.replies.get()
        if error is None:
            return result
        if error is self._given_up:
            self.give_up()
        try:
            raise error
        finally:
            del error
