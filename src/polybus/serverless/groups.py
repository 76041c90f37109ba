"""A batch handled as it may be: all at once, but one by one where order is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from polybus.driver import Received
from polybus.serverless.inlet import Inlet, Verdict

__all__ = ["run_all", "run_in_groups"]


Deliver = Callable[[Received[Any]], Awaitable[Verdict]]


async def run_in_groups(batch: Sequence[Received[Any]], deliver: Deliver) -> list[Verdict]:
    """Return the verdict of each, in order.

    Deliveries of one group run in the batch's order; after one that must come again, the rest of its group isn't
    handled and must come again too (contract, D10). Groups, and deliveries without one, run at the same time.
    """
    verdicts = [Verdict.AGAIN] * len(batch)
    lines: dict[object, list[int]] = {}
    for place, received in enumerate(batch):
        lines.setdefault(place if received.group is None else f"group {received.group}", []).append(place)

    async def run(places: Sequence[int]) -> None:
        for place in places:
            verdicts[place] = await deliver(batch[place])
            if verdicts[place] is not Verdict.DONE:
                return

    await asyncio.gather(*(run(places) for places in lines.values()))
    return verdicts


async def run_all(inlet: Inlet, batch: Sequence[Received[Any]], deliver: Deliver) -> list[Verdict]:
    """Return the verdict of each, in order, having it handled with as many others as the inlet's handler takes."""
    if inlet.takes is None:
        return await run_in_groups(batch, deliver)
    if all(received.group is None for received in batch):
        return list(await asyncio.gather(*map(deliver, batch)))
    # The next of a key may be handled once the earlier ones are done: one call after the other.
    verdicts = [Verdict.AGAIN] * len(batch)
    behind: set[str | None] = set()
    for start in range(0, len(batch), inlet.takes):
        places = [
            place
            for place in range(start, min(start + inlet.takes, len(batch)))
            if batch[place].group is None or batch[place].group not in behind
        ]
        found = await asyncio.gather(*(deliver(batch[place]) for place in places))
        for place, verdict in zip(places, found, strict=True):
            verdicts[place] = verdict
            if verdict is not Verdict.DONE:
                behind.add(batch[place].group)
    return verdicts
