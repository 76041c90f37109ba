"""The event loop that services run on: uvloop where it is installed (`polybus[fast]`), else asyncio's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

__all__ = ["loop_factory"]

_log = logging.getLogger("polybus")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop, and say so in the log; None for asyncio's own."""
    if find_spec("uvloop") is None:
        return None
    uvloop = import_module("uvloop")
    _log.info("services run on uvloop %s", uvloop.__version__)
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make
