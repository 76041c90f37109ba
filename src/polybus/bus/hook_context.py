"""Leaving what hooks put around a handler, from wherever the handler's end is noticed."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AbstractContextManager
from contextvars import Context
from typing import Any

__all__ = ["leave"]


def leave(around: AbstractContextManager[None], task: asyncio.Task[Any] | None, error: BaseException | None) -> None:
    """Leave a context that `task` entered, with what the handler ended with.

    What it set in the task's context variables can only be reset there: an asynchronous generator that is closed by
    another task ends its blocks in that one's context, which has never seen the variables.
    """
    kind = None if error is None else type(error)
    if task is not None and task is not asyncio.current_task():
        context = _context_of(task)
        if context is not None and _is_free(context):
            context.run(around.__exit__, kind, error, None)
            return
    around.__exit__(kind, error, None)


def _context_of(task: asyncio.Task[Any]) -> Context | None:
    getter = getattr(task, "get_context", None)
    if getter is not None:
        found = getter()
        return found if isinstance(found, Context) else None
    # Before Python 3.12 a task doesn't tell; its own context is the first that it refers to.
    return next((each for each in gc.get_referents(task) if isinstance(each, Context)), None)


def _is_free(context: Context) -> bool:
    """Say whether a context can be entered: not where it is the current one (two tasks may share it)."""
    try:
        context.run(_nothing)
    except RuntimeError:
        return False
    return True


def _nothing() -> None:
    pass
