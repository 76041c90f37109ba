"""A look at dead letters: Pub/Sub shows messages in no other way than by handing them over."""

from __future__ import annotations

import asyncio

from polybus.clock import Clock
from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.intake import Intake
from polybus.clouds.gcp.driver.settle import modify_each
from polybus.clouds.gcp.driver.stream import Lease
from polybus.clouds.gcp.driver.wire import Pb

__all__ = ["FIRST", "look"]

# Seconds without a first letter after which there is none. Pub/Sub may take some on a subscription that nobody has read
# for long ("if no messages could be returned before the request timeout", PullResponse in the API reference).
FIRST = 20.0
# Of that, the part for which the next are waited for once some have come: they are close behind.
NEXT = 0.15
# Seconds of lease on what is looked at, and after how many it is extended.
LEASE = 60
EXTEND = 20.0


async def look(clients: Clients, subscription: str, count: int, clock: Clock, first: float = FIRST) -> list[Pb]:
    """Return up to `count` messages, each once, oldest first; none is hidden from others for longer than this takes.

    Waits `first` seconds for one. All are given back at the end, when cancelled too.
    """
    intake = Intake(clients, subscription, seconds=LEASE, prefetch=count, ordered=False, clock=clock)
    found: dict[str, Lease] = {}
    try:
        wait, extended = first, clock.monotonic()
        while len(found) < count:
            # Never cut off: what a call would have brought then stays leased, and can't be given back.
            taken = await intake.take(count - len(found), wait)
            if not taken:
                break
            # One whose lease was lost meanwhile comes again.
            found.update((lease.raw.message.message_id, lease) for lease in taken)
            wait = first * NEXT
            if clock.monotonic() - extended > EXTEND:
                extended = clock.monotonic()
                await modify_each(clients, subscription, [lease.ack_id for lease in found.values()], LEASE)
    finally:
        giving = _give_back(clients, subscription, intake, list(found.values()))
        await asyncio.shield(asyncio.ensure_future(giving))
    messages = [lease.raw.message for lease in found.values()]
    return sorted(messages, key=lambda raw: (raw.publish_time.seconds, raw.publish_time.nanos))


async def _give_back(clients: Clients, subscription: str, intake: Intake, leases: list[Lease]) -> None:
    leases += await intake.stop()
    await modify_each(clients, subscription, [lease.ack_id for lease in leases], 0)
    await intake.close()
