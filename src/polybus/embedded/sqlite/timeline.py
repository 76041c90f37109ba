"""The store's own time, by which leases, delays and retentions are kept (docs/adr/0019-time-of-a-store.md).

It goes on by what was measured to pass, never by what a clock says the time of day is: a clock that is set, wrong or
set right moves nothing. All processes of one boot share the machine's monotonic clock, so all of them reckon the same
time from one row of the file. Where nobody could measure, over a restart of the machine or while it slept, the store's
time stands still, and only delays are made shorter by what the clocks say went by: that deletes nothing.
"""

from __future__ import annotations

import functools
import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from polybus.clock import Clock
from polybus.embedded.sqlite import schema

__all__ = ["Timeline"]

_log = logging.getLogger("polybus")

STEP = 5.0
"""Seconds by which the time of day must part from the monotonic clock to be called a step: NTP's own steps are from
0.128 s on, but nobody needs to be told of those."""

TOLD_EVERY = 60.0
"""Seconds between two lines of the log about a clock that is set again and again."""

WRITTEN_EVERY = 1.0
"""Seconds after which a transaction writes the time again: what is lost of it when all processes are killed and the
machine restarts at once."""

AGREE = 1.0
"""Seconds within which two measures of the same time are the same: they aren't read at one instant."""


class _Row(NamedTuple):
    """The store's time, and what the clocks of the process that wrote it said then."""

    now: float
    monotonic: float
    wall: float
    slept: float
    origin: str


class Timeline:
    """The store's time, for one process. `now` may be asked for in any thread."""

    def __init__(self, clock: Clock, path: Path) -> None:
        self._clock = clock
        self._path = path
        self._offset = 0.0
        self._written = _Row(float("-inf"), 0.0, 0.0, 0.0, "")
        self._apart: float | None = None
        self._silent_until = float("-inf")

    def now(self) -> float:
        """Return the store's time, in seconds; it never goes back."""
        return self._clock.monotonic() + self._offset

    def monotonic(self) -> float:
        """Return the clock's monotonic reading, by which leases are told to the bus."""
        return self._clock.monotonic()

    def wall(self) -> float:
        """Return the time of day, for people to read."""
        return self._clock.time()

    def open(self, connection: sqlite3.Connection) -> None:
        """Find out what time it is in the store; to be called before any other use, outside a transaction."""
        row = _read(connection)
        if row is None or self._reckon(row) is None:
            with schema.transaction(connection):
                row = _read(connection)  # another process may have been faster
                if row is None:
                    self._begin(connection)
                elif self._reckon(row) is None:
                    self._resume(connection, row)
            row = _read(connection)
        if row is not None:
            self._offset = (self._reckon(row) or row.now) - self._clock.monotonic()
            self._written = row

    def follow(self, connection: sqlite3.Connection) -> float:
        """Return the store's time, never behind what other processes have written."""
        row = _read(connection)
        now = self.now()
        if row is not None:
            self._written = row
            if row.now > now:  # a clock that a test moves is ahead of others
                self._offset += row.now - now
                now = row.now
        return now

    def keep(self, connection: sqlite3.Connection, now: float) -> None:
        """Write the time, now and then; within a transaction."""
        if now - self._written.now < WRITTEN_EVERY:
            return
        now = max(now, self.follow(connection))
        last = self._written
        if now - last.now < WRITTEN_EVERY:  # another process has done it
            return
        slept, origin = _slept(), _origin(self._clock)
        if last.origin == origin and slept - last.slept > AGREE:
            connection.execute(_SHORTEN_DELAYS, (slept - last.slept,))
        self._write(connection, now, slept, origin)

    def notice(self) -> None:
        """Say so where the time of day was set since the last look; the store doesn't follow it."""
        now = self._clock.monotonic()
        apart = self._clock.time() - now - _slept()
        if self._apart is None:
            self._apart = apart
        before = self._apart
        if abs(apart - before) > STEP and now >= self._silent_until:
            self._apart, self._silent_until = apart, now + TOLD_EVERY
            way = "forward" if apart > before else "back"
            _log.warning(
                "the time of day went %s by %.0f s beside the time that passed (it was set, or the machine slept); "
                "%s goes on by the time that passed: no lease, delay or retention follows the step",
                way,
                abs(apart - before),
                self._path,
            )

    def _reckon(self, row: _Row) -> float | None:
        """Return the store's time from what was written; None where the machine was restarted since."""
        passed = self._clock.monotonic() - row.monotonic
        here = _origin(self._clock)
        if here and row.origin == here:
            return None if passed < -AGREE else row.now + max(passed, 0.0)
        if here and row.origin and _boot(row.origin) != _boot(here):
            return None
        # Monotonic clocks of other makes (a test's, a time namespace's): as much as both kinds of readings say.
        return row.now + max(min(passed, self._clock.time() - row.wall), 0.0)

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin the time of a new store, or of one from before stores had a time of their own."""
        now = self._clock.time()
        connection.execute(_ADOPT, (now,))
        self._write(connection, now, _slept(), _origin(self._clock))

    def _resume(self, connection: sqlite3.Connection, row: _Row) -> None:
        """Go on where the time stood when the machine was stopped: nobody measured for how long it was."""
        connection.execute(_SHORTEN_DELAYS, (max(self._clock.time() - row.wall, 0.0),))
        connection.execute(_END_LEASES)  # whoever held one is gone
        self._write(connection, row.now, _slept(), _origin(self._clock))

    def _write(self, connection: sqlite3.Connection, now: float, slept: float, origin: str) -> None:
        row = _Row(now, self._clock.monotonic(), self._clock.time(), slept, origin)
        connection.execute(_WRITE, row)
        self._written = row


def _read(connection: sqlite3.Connection) -> _Row | None:
    cursor = connection.execute("SELECT now, monotonic, wall, slept, origin FROM time")
    row = cursor.fetchone()
    cursor.close()
    return None if row is None else _Row(*row)


@functools.cache
def _machine() -> str:
    """Name this boot of this machine and its time namespace: within it all processes share the monotonic clock."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = "-"  # not Linux: a restart shows by a monotonic clock that begins anew
    try:
        namespace = os.readlink("/proc/self/ns/time")
    except OSError:
        namespace = "-"
    return f"{boot} {namespace}"


def _origin(clock: Clock) -> str:
    """Name where a clock's monotonic readings come from; empty where it isn't the machine's own clock."""
    return _machine() if abs(clock.monotonic() - time.monotonic()) < AGREE else ""


def _boot(origin: str) -> str:
    return origin.partition(" ")[0]


def _slept() -> float:
    """Return how long this machine has slept since it was booted, in seconds; 0 where that can't be known."""
    boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return 0.0
    return time.clock_gettime(boottime) - time.clock_gettime(time.CLOCK_MONOTONIC)


_WRITE = "INSERT OR REPLACE INTO time (id, now, monotonic, wall, slept, origin) VALUES (1, ?, ?, ?, ?, ?)"

_SHORTEN_DELAYS = f"UPDATE line SET due = due - ? WHERE state = {schema.DELAYED}"  # noqa: S608 - made of numbers only

_END_LEASES = f"UPDATE line SET due = 0 WHERE state = {schema.LEASED}"  # noqa: S608 - made of numbers only

# The lines of a store of version 1 have times of day. Each gets its whole retention again, and no longer a delay than
# it was given: no reading of a clock can be trusted to say how much of them is over.
_ADOPT = f"""
UPDATE line SET
    expires = ?1 + (expires - at.at), since = min(at.at, ?1),
    due = CASE state WHEN {schema.DELAYED} THEN ?1 + min(max(due - ?1, 0), max(due - at.at, 0)) ELSE 0 END
FROM (SELECT seq, at FROM message) at WHERE at.seq = line.seq
"""  # noqa: S608 - made of numbers only
