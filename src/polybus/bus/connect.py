"""Finding a binding, and giving the bus for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.binding import Binding
from polybus.bus.bus import Bus
from polybus.bus.options import PublisherOptions
from polybus.bus.resolve import find
from polybus.clock import Clock, SystemClock
from polybus.driver import Driver
from polybus.telemetry import Hooks, everywhere
from polybus.variables import OTEL, misspelt

if TYPE_CHECKING:
    from polybus.middleware import AnyMiddleware
    from polybus.topology.model import Topology

__all__ = ["connect"]

_log = logging.getLogger("polybus")


def connect(
    source: Binding | Topology | Path | str | None = None,
    *,
    service: str | None = None,
    clock: Clock | None = None,
    hooks: Sequence[Hooks] = (),
    publisher: PublisherOptions | None = None,
    driver: Driver | None = None,
    middleware: Sequence[AnyMiddleware] = (),
) -> Bus:
    """Return a bus, to be used as `async with polybus.connect() as bus`.

    `source` is a binding, a topology (embedded, in memory), a path of either's file, a binding's JSON, where that is
    (`ssm:<name>`, `https://...`; it is read now, and once), or `embedded`.
    Where it is None: POLYBUS_BINDING, `polybus.binding.json`, `polybus.toml` with the embedded backend; files are found
    upward from the working directory. With `service`, what that service hasn't declared is refused. Raises ConfigError
    for what is wrong with any of that; nothing is connected yet. The embedded backend, where nothing asked for it, is a
    WARNING, and refused where a platform's own variables say that this is a deployment, or a variable is misspelt.
    With POLYBUS_OTEL=1 OpenTelemetry is told as well. What is published, and the handlers of `bus.consumer`, have
    `middleware` around them, the first outermost; deliveries of `bus.consume` come as they are.
    """
    found = find(source)
    _tell_of_slips()
    return Bus(
        found.binding,
        origin=found.origin,
        doubt=found.doubt,
        service=service,
        clock=clock or SystemClock(),
        hooks=_with_otel((*hooks, *everywhere())),
        publisher=publisher or PublisherOptions(),
        driver=driver,
        middleware=middleware,
    )


_warned: set[str] = set()


def _tell_of_slips() -> None:
    for name, meant in misspelt(os.environ).items():
        if name not in _warned:
            _warned.add(name)
            _log.warning("%s is set, and nothing reads it; did you mean %s?", name, meant)


def _with_otel(hooks: Sequence[Hooks]) -> Sequence[Hooks]:
    if OTEL not in os.environ:  # the usual case doesn't even import it
        return hooks
    from polybus.otel import from_environment

    return from_environment(hooks)
