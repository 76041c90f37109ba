"""What a fork does to gRPC: nothing of it may be used in a child whose parent had a connection open.

Its threads don't come along, and a new connection in the child ends that with SIGSEGV: gRPC supports only children that
don't use it ("Fork support" in its documentation). So it is refused here, before gRPC is touched.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from polybus.errors import BindingError

__all__ = ["FORKS", "Forks"]

_log = logging.getLogger("polybus")

# gRPC's own handlers start its threads anew in each child, and with an asynchronous connection open in the parent one
# child in four ends with SIGSEGV then, whatever it does. Without them a child that leaves gRPC alone is left alone.
# gRPC reads this as it is loaded.
SWITCH = "GRPC_ENABLE_FORK_SUPPORT"
LOADED = "grpc._cython.cygrpc"


def _without_handlers() -> bool:
    """Turn gRPC's own handlers off; say whether they are."""
    if LOADED not in sys.modules:
        os.environ.setdefault(SWITCH, "0")
    return os.environ.get(SWITCH, "1").lower() in ("0", "false", "no", "off")


# What gRPC calls its threads. They end a moment after the last connection was closed; a child that is forked before may
# wait for ever for what they held.
THREADS = ("event_engine", "grpc_", "lifeguard", "timer_manager")
# Seconds that a fork waits for them, and how often it looks. They take a hundredth of a second, or belong to somebody
# else in this process, and stay.
ENDING = 1.0
LOOK = 0.005


class Forks:
    """The connections of this process, and whether it is a child that must make none.

    `safe` says that gRPC's own handlers are off; `threads` gives the names of this process's threads.
    """

    def __init__(
        self,
        *,
        safe: bool = True,
        threads: Callable[[], Iterable[str]] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._safe = safe
        self._threads = threads or _threads
        self._sleep = sleep
        self._open = 0
        self._spoilt = False
        # Whether gRPC may have threads though no connection is open, and whether they have been waited for.
        self._used = self._waited = False

    def opened(self) -> None:
        """Note one more connection."""
        self._open += 1
        self._used, self._waited = True, False

    def closed(self) -> None:
        """Note that one is closed."""
        self._open -= 1

    def refuse_in_child(self) -> None:
        """Raise BindingError in a process that was forked while its parent used gRPC."""
        if self._spoilt:
            raise BindingError(
                "this process was forked while its parent was connected to Pub/Sub, and gRPC doesn't survive that: "
                "connect in the children alone, after the fork; or close the parent's bus before it forks; or start "
                "processes by spawn (multiprocessing.get_context('spawn'))"
            )

    def before(self) -> None:
        """Get ready for a fork: let gRPC's threads end, where nothing is connected any more."""
        if self._open and not self._safe:
            self._safe = True  # said once
            _log.warning(
                "this process forks while it is connected to Pub/Sub, and gRPC was loaded before polybus could turn "
                "its fork handlers off: the child may end with SIGSEGV. Set %s=0 in the environment",
                SWITCH,
            )
        if self._open or not self._used:
            return
        left = 0.0 if self._waited else ENDING
        self._waited = True
        while self._runs():
            if left <= 0:
                return
            self._sleep(LOOK)
            left -= LOOK
        self._used = False

    def forked(self) -> None:
        """Note that this process is a child."""
        self._spoilt = self._spoilt or self._used
        self._open, self._used = 0, False

    def _runs(self) -> bool:
        return any(name.startswith(THREADS) for name in self._threads())


def _threads() -> list[str]:
    """Return the names of this process's threads; none where the system doesn't tell them (all but Linux)."""
    found: list[str] = []
    for thread in Path("/proc/self/task").glob("*/comm"):
        try:
            found.append(thread.read_text())
        except OSError:
            continue  # it has ended
    return found


FORKS = Forks(safe=_without_handlers())
os.register_at_fork(before=FORKS.before, after_in_child=FORKS.forked)
