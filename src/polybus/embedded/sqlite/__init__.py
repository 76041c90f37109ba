"""The backend on SQLite: one file, several processes, no server.

Delivery: exactly as docs/contract.md says. What was accepted is on the disk (WAL, synchronous = FULL, group
commit). Leases, delays and retentions are kept by the time that passes, which all processes of a machine measure alike,
and not by the time of day: a clock that is set changes nothing (docs/adr/0019-time-of-a-store.md).
Limits: 10 MiB a message unless the topology says less or more; delays everywhere; on an ordered entity the later
messages of a key wait for one that is delayed; a local file system. A topic's subscriptions are those of the
publisher's binding.
Push subscriptions: their copies are kept until their retention is over, and can be counted and peeked at.
Files: the database with SQLite's `-wal` and `-shm`, and a folder `-wake` of named pipes; all may be removed together
while no process uses them. Removed or replaced while one does, it says so and accepts nothing more. The `-wal` is the
log: usually some 4 MB, more while a process that is stopped or reads for long holds on to it, then cut back to 64 MiB.
Escape hatch: `raw` gives the file's path.
"""

from __future__ import annotations

import sys
import warnings

from polybus.cloud import Cloud
from polybus.embedded.sqlite.driver import SqliteDriver, driver

__all__ = ["CLOUD", "SqliteDriver", "driver"]

if (3, 12) <= sys.version_info < (3, 12, 4):
    # They take ?1 for a parameter with a name, and warn of one that is given by its place (CPython, gh-117995).
    warnings.filterwarnings("ignore", r"Binding \d+ \('\?\d+'\) is a named parameter", DeprecationWarning)

CLOUD = Cloud(
    name="sqlite",
    title="SQLite",
    driver="polybus.embedded.sqlite.driver:driver",
    no_delay_on=(),
)
