"""The backend in memory: the contract, executable, for tests and for development in one process.

Delivery: exactly as docs/contract.md says, on any `polybus.clock.Clock`. Nothing outlives the process.
Limits: 10 MiB a message unless the topology says less or more; delays everywhere; on an ordered entity the later
messages of a key wait for one that is delayed.
Push subscriptions: their copies are kept until their retention is over, and can be counted and peeked at.
Escape hatch: `raw` gives the topic's or source's own object in the `Store`.
"""

from __future__ import annotations

from polybus.cloud import Cloud
from polybus.embedded.memory.driver import MemoryDriver, driver
from polybus.embedded.memory.store import Store, reset

__all__ = ["CLOUD", "MemoryDriver", "Store", "driver", "reset"]

CLOUD = Cloud(
    name="memory",
    title="memory",
    driver="polybus.embedded.memory.driver:driver",
    no_delay_on=(),
)
