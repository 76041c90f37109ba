"""A batch handled as it may be: all at once, but one by one where order is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from polybus.driver import Received
from polybus.serverless.inlet import Verdict

__all__ = ["run_in_groups"]


async def run_in_groups(
    batch: Sequence[Received[Any]], deliver: Callable[[Received[Any]], Awaitable[Verdict]]
) -> list[Verdict]:
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
