"""Finding a binding, and giving the bus for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.binding import Binding
from polybus.bus.bus import Bus
from polybus.bus.options import PublisherOptions
from polybus.bus.resolve import resolve
from polybus.clock import Clock, SystemClock
from polybus.driver import Driver
from polybus.telemetry import Hooks

if TYPE_CHECKING:
    from polybus.topology.model import Topology

__all__ = ["connect"]


def connect(
    source: Binding | Topology | Path | str | None = None,
    *,
    service: str | None = None,
    clock: Clock | None = None,
    hooks: Sequence[Hooks] = (),
    publisher: PublisherOptions | None = None,
    driver: Driver | None = None,
) -> Bus:
    """Return a bus, to be used as `async with polybus.connect() as bus`.

    `source` is a binding, a topology (embedded, in memory), a path of either's file, a binding's JSON, or `embedded`.
    Where it is None: POLYBUS_BINDING, `polybus.binding.json`, `polybus.toml` with the embedded backend; files are found
    upward from the working directory. With `service`, what that service hasn't declared is refused. Raises ConfigError
    for what is wrong with any of that; nothing is connected yet. With POLYBUS_OTEL=1 OpenTelemetry is told as well.
    """
    binding, origin = resolve(source)
    return Bus(
        binding,
        origin=origin,
        service=service,
        clock=clock or SystemClock(),
        hooks=_with_otel(hooks),
        publisher=publisher or PublisherOptions(),
        driver=driver,
    )


def _with_otel(hooks: Sequence[Hooks]) -> Sequence[Hooks]:
    if "POLYBUS_OTEL" not in os.environ:  # the usual case doesn't even import it
        return hooks
    from polybus.otel import from_environment

    return from_environment(hooks)
