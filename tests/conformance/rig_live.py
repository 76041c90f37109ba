"""What the rigs of real accounts share: the machine's own clock, names of their own, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from polybus.binding import Binding
from polybus.clock import SystemClock
from polybus.testing.conformance.delivering import CASES
from polybus.testing.rig import BaseRig
from polybus.topology.model import Topology

from .live import Run, Stay, prefix
from .usable import wait_until_usable


class Live(BaseRig):
    """Before a cloud's local rig in the list of bases: it replaces the server by an account."""

    account: Callable[[], Any]
    # Round trips of up to a second, and a consumer's end waits for polls that nothing hastens.
    patience = 60.0
    stay: Stay

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()

    def make(self, topology: Topology) -> Binding:
        """Make the topology in the account, by `stay.realise`. Blocks."""
        raise NotImplementedError

    async def realise(self, topology: Topology) -> Binding:
        run = Run.begin(prefix())
        self.stay = Stay(await asyncio.to_thread(self.account), run)
        made = await asyncio.to_thread(self.make, dataclasses.replace(topology, name=run.prefix))
        driver = self.driver(made)
        try:
            seconds = await wait_until_usable(driver, made, CASES)
        finally:
            await driver.aclose()
        self.stay.report += f"; usable after {seconds:.0f} s more"
        return made

    async def drop(self) -> None:
        if hasattr(self, "stay"):
            await asyncio.to_thread(self.stay.end)
