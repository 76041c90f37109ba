"""The thresholds of each entry: what the bus says, its topic, and the entry itself, the nearest last."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

from polybus.plan.findings import Report
from polybus.plan.rules import consumed, path_of
from polybus.topology.model import Alarms, OwnAlarms, Queue, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration

__all__ = ["THRESHOLDS", "Threshold", "alarms_of", "lowest", "own_alarms", "unheard"]

Threshold: TypeAlias = Literal["dead_letters", "oldest_age", "backlog", "failed_pushes"]
THRESHOLDS: Final[tuple[Threshold, ...]] = ("dead_letters", "oldest_age", "backlog", "failed_pushes")


def alarms_of(topology: Topology, entry: Subscription | Queue) -> Alarms | None:
    """Give the thresholds of an entry, of which 0 is none; None where it has no alarms at all.

    What a subscription says itself holds though its topic is switched off.
    """
    above = topology.topics[entry.topic].alarms if isinstance(entry, Subscription) else None
    nearest = entry.alarms or above
    if topology.alarms is None or (nearest is not None and not nearest.on):
        return None
    return _over(_over(topology.alarms, above), entry.alarms)


def lowest(topology: Topology, subscriptions: Iterable[Subscription], what: Threshold) -> float:
    """Give the lowest threshold of a topic's subscriptions, for what a cloud counts by topic alone; 0 for none."""
    found = (alarms_of(topology, item) for item in subscriptions)
    return min((one for one in (getattr(alarms, what) for alarms in found if alarms is not None) if one), default=0)


def own_alarms(topology: Topology) -> Iterator[tuple[str, Topic | Subscription | Queue, OwnAlarms]]:
    """Give the place of each entry that says something of its alarms, the entry, and what it says."""
    for entry in (*topology.topics.values(), *consumed(topology)):
        if entry.alarms is not None:
            yield f"{path_of(entry)}.alarms", entry, entry.alarms


def unheard(report: Report, path: str, value: float, what: Threshold, limit: str, *, source: str, instead: str) -> None:
    """Tell of a threshold that no alarm has, since the cloud doesn't count that."""
    if value:
        found = format_duration(value) if what == "oldest_age" else str(value)
        report.note(f"{path}.{what}", found, f"{limit}: it raises no alarm", source=source, instead=instead)


def _over(alarms: Alarms, own: OwnAlarms | None) -> Alarms:
    if own is None:
        return alarms
    given = {name: getattr(own, name) for name in THRESHOLDS}
    return dataclasses.replace(alarms, **{name: value for name, value in given.items() if value is not None})
