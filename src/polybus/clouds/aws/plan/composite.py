"""Composite alarms: one page for what is wrong with a bus, or with what a service publishes to and consumes.

CloudWatch takes 100 alarms, and 10,240 characters, in one rule ("PutCompositeAlarm", CloudWatch API reference). More
are divided into composites that notify nobody, and are the alarms of another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from polybus.plan.names import Names
from polybus.plan.values import Resource
from polybus.topology.model import Topology

__all__ = ["BY", "Alarm", "By", "Group", "groups", "resources", "silent"]

By: TypeAlias = Literal["bus", "service"]
BY: tuple[By, ...] = ("bus", "service")

OF_TOPICS = frozenset({"undelivered", "lost"})
"""What alarms of topics are about; all others are of what is consumed."""

_MOST = 100
_LONGEST = 10_240
_OR = " OR "


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that is planned: of which entry, what it is about, its logical and its physical name."""

    entry: str
    what: str
    logical: str
    physical: str


@dataclass(frozen=True, slots=True)
class Group:
    """The alarms that are one page; `service` is "" for the whole bus."""

    service: str
    alarms: tuple[Alarm, ...]


def groups(topology: Topology, by: By | None, alarms: Sequence[Alarm]) -> list[Group]:
    """Group alarms: all of the bus, or those of each service that there are any of; none where it isn't asked for."""
    if by is None or not alarms:
        return []
    if by == "bus":
        return [Group("", tuple(alarms))]
    found: list[Group] = []
    for name, service in topology.services.items():
        own = (set(service.publishes), set(service.consumes))
        mine = tuple(alarm for alarm in alarms if alarm.entry in own[alarm.what not in OF_TOPICS])
        found += [Group(name, mine)] if mine else []
    return found


def silent(common: Mapping[str, Any]) -> dict[str, Any]:
    """Give what alarms share that notify nobody themselves."""
    return {**common, "alarm_actions": [], "ok_actions": []}


def resources(names: Names, group: Group, common: Mapping[str, Any]) -> Iterator[Resource]:
    """Plan what pages for a group; `common` has whom."""
    # Sorted, so that what is declared in another order is the same rule.
    parts = sorted(((alarm.logical, alarm.physical) for alarm in group.alarms), key=lambda part: part[1])
    level = 0
    while len(chunks := _chunks(parts)) > 1:
        level += 1
        parts = []
        for number, chunk in enumerate(chunks, 1):
            part = _composite(names, group, f"-{level}-{number}", chunk, silent(common))
            parts.append((part.name, part.properties["alarm_name"]))
            yield part
    yield _composite(names, group, "", chunks[0], common)


def _chunks(parts: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = [[]]
    length = 0
    for part in parts:
        more = len(_rule([part])) + len(_OR)
        if len(found[-1]) == _MOST or length + more > _LONGEST:
            found.append([])
            length = 0
        found[-1].append(part)
        length += more
    return found


def _rule(parts: Sequence[tuple[str, str]]) -> str:
    return _OR.join(f'ALARM("{physical}")' for _, physical in parts)


def _composite(
    names: Names, group: Group, suffix: str, parts: Sequence[tuple[str, str]], common: Mapping[str, Any]
) -> Resource:
    what = f"the bus {names.bus}" if not group.service else f"what {group.service} publishes to or consumes"
    kind = "service" if group.service else "bus"
    properties = {
        # No entry's and no service's name ends with a hyphen, so no alarm of an entry's has such a name.
        "alarm_name": names.of(group.service, suffix=f"--{kind}{suffix}"),
        "alarm_rule": _rule(parts),
        "alarm_description": f"something is wrong with {what}: see which of its alarms are raised",
        **common,
    }
    entry = f"$.services.{group.service}" if group.service else "$.alarms"
    logical = f"{group.service or 'bus'}.{kind}-alarm{suffix}"  # the dot is in no name of a topology
    type_ = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
    return Resource(type_, logical, properties, "alarm", entry, after=tuple(name for name, _ in parts))
