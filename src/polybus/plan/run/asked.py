"""What is asked of each service's processes: image, apps, how many, for how many messages, how large.

The stack's configuration may say it of each service, in the table `run`; the command line says it of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from polybus.durations import parse_duration
from polybus.errors import ConfigError
from polybus.topology.model import Topology
from polybus.topology.quantities import parse_size
from polybus.topology.table import nearest

__all__ = ["DEFAULT", "Asked", "asked_of"]

_MIB = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a service; None is what isn't said."""

    image: str | None = None
    app: tuple[str, ...] | None = None
    min: int | None = None
    max: int | None = None
    messages: int | None = None
    grace: float | None = None
    cpu: float | None = None
    memory: int | None = None

    def over(self, other: Asked) -> Asked:
        """Return this, and what the other says where this says nothing."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(other, **{name: value for name, value in given.items() if value is not None})


DEFAULT = Asked(
    min=1,
    max=10,
    # A consumer holds 32 messages: 16 that are handled at once, and as many ahead (`polybus.ConsumerOptions`). Those
    # are counted too, so a target of 32 would start a second replica as soon as the first is busy; with 64, one waits
    # for each that is held.
    messages=64,
    grace=30.0,
    # Measured with CPython 3.11: 47 to 62 MiB with an app and a cloud's SDK, before the first message. The rest is for
    # what handlers need, and 32 bodies of up to 1 MiB.
    cpu=0.25,
    memory=512,
)


def asked_of(table: Mapping[str, Any], topology: Topology, place: str) -> dict[str, Asked]:
    """Read the table `run`, which has a table a service; raises ConfigError for what is misspelt or wrong."""
    for name in table:
        if name not in topology.services:
            near = nearest(name, topology.services)
            hint = f"; did you mean {near}?" if near else ""
            declared = ", ".join(sorted(topology.services)) or "none"
            raise ConfigError(
                f"{place}.{name}: {topology.source} declares no such service; there are: {declared}{hint}"
            )
    return {name: _read(value, f"{place}.{name}") for name, value in table.items()}


def _read(given: Any, place: str) -> Asked:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place}: found {given!r}; allowed: a table of {', '.join(_READERS)}")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _READERS:
            near = nearest(name, _READERS)
            hint = f"; did you mean {near}?" if near else ""
            raise ConfigError(f"{place}.{name}: nothing reads it{hint}; allowed: {', '.join(_READERS)}")
        read, allowed = _READERS[name]
        found[name] = read(value)
        if found[name] is None:
            raise ConfigError(f"{place}.{name}: found {value!r}; allowed: {allowed}")
    return Asked(**found)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...] | None:
    several = [value] if isinstance(value, str) else value
    fine = isinstance(several, list) and several and all(isinstance(one, str) and one for one in several)
    return tuple(several) if fine else None


def _count(least: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= least else None

    return read


def _seconds(value: Any) -> float | None:
    found = parse_duration(value) if isinstance(value, str) else value
    if not isinstance(found, (int, float)) or isinstance(found, bool) or found < 0:
        return None
    return float(found)


def _cores(value: Any) -> float | None:
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 64
    return float(value) if fine else None


def _mebibytes(value: Any) -> int | None:
    size = parse_size(value) if isinstance(value, str) else None
    return size // _MIB if size and size % _MIB == 0 else None


_READERS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "image": (_text, "a container image"),
    "app": (_texts, "an app as module:name, or a list of them"),
    "min": (_count(0), "a whole number from 0"),
    "max": (_count(1), "a whole number from 1"),
    "messages": (_count(1), "a whole number from 1"),
    "grace": (_seconds, 'a duration, such as "45s"'),
    "cpu": (_cores, "a number of cores, such as 0.5"),
    "memory": (_mebibytes, 'a size in MiB, such as "512MiB"'),
}
