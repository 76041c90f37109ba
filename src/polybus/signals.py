"""Which signals tell a process to end."""

from __future__ import annotations

import signal

__all__ = ["heeded"]

_HANDED_DOWN = (signal.SIGINT, signal.SIGHUP)


def heeded(*numbers: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return those that this process acts on: not SIGINT and SIGHUP where it was started with them ignored.

    So a shell starts what runs in the background of a script, and nohup its command: the Ctrl-C, and the end of the
    terminal, are then for others. SIGTERM always means this process.
    """
    return tuple(
        number for number in numbers if number not in _HANDED_DOWN or signal.getsignal(number) is not signal.SIG_IGN
    )
