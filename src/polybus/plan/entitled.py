"""What each service of a plan may do, in the cloud's own words, whoever the stack's configuration says that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from polybus.plan.values import Join, Ref
from polybus.topology.model import Topology

__all__ = ["Right", "declared"]


@dataclass(frozen=True, slots=True)
class Right:
    """`may` are the cloud's actions or roles, `on` the resources, by reference or address; `only_if` its conditions."""

    may: tuple[str, ...]
    on: tuple[str | Ref | Join, ...]
    only_if: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def declared(topology: Topology) -> dict[str, tuple[Right, ...]]:
    """Give the rights as the topology declares them: what is held where a cloud has no words of its own."""
    found = {}
    for name, service in topology.services.items():
        given = {"publishes": service.publishes, "consumes": service.consumes, "operates": service.operates}
        found[name] = tuple(Right((verb,), names) for verb, names in given.items() if names)
    return found
