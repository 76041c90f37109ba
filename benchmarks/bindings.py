"""What the benchmarks of the embedded backends publish to."""

from __future__ import annotations

from pathlib import Path

from polybus.binding import Binding, Entity, Kind

QUEUE = "work"


def _queue() -> Entity:
    return Entity(kind=Kind.QUEUE, name=QUEUE, address=QUEUE, dead_letter=f"{QUEUE}-dead")


def memory() -> Binding:
    return Binding(backend="memory", bus="bench", queues={QUEUE: _queue()})


def sqlite(path: Path) -> Binding:
    return Binding(backend="sqlite", bus="bench", settings={"path": str(path)}, queues={QUEUE: _queue()})
