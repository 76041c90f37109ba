"""How long a platform has to wait between the signal to end and the kill.

A drain takes the handlers' grace and DRAIN seconds more at the very most (contract, D12), counted from the signal's
arrival. Platforms count from when they decide: what the signal takes to arrive, and the interpreter to leave, is
MARGIN.
"""

from __future__ import annotations

import math

from polybus.errors import ConfigError
from polybus.topology.quantities import format_duration

__all__ = ["DRAIN", "MARGIN", "hold", "stop_seconds"]

DRAIN = 10.0
"""Seconds that a drain may take beyond the grace of its handlers (contract, D12; `polybus.app.ending` keeps it)."""

MARGIN = 5.0
"""Seconds for the signal to arrive and the interpreter to leave: 1 s for the platform to pass it on, and less than 1 s
of CPU, which takes 4 s at a quarter of a core (`polybus.plan.run.asked.DEFAULT`)."""


def stop_seconds(grace: float) -> int:
    """Return the seconds between the signal to end and the kill."""
    return math.ceil(grace + DRAIN + MARGIN)


def hold(place: str, grace: float, most: float, platform: str) -> None:
    """Raise ConfigError where a platform kills before a drain is sure to be over."""
    if stop_seconds(grace) > most:
        room = most - DRAIN - MARGIN
        raise ConfigError(
            f"{place}: found {format_duration(grace)}; {platform} kills {most:g} s after the signal to end, and a "
            f"drain takes up to {DRAIN:g} s more than the grace, its signal and exit {MARGIN:g} s; instead: "
            f"--grace {format_duration(max(room, 0))} at most, or a platform that waits longer"
        )
