"""Which properties of a cloud's resources are compared with a plan, and when two values mean the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from polybus.plan.same import Same

__all__ = ["Derive", "Rules"]

Derive: TypeAlias = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """How one type of resource is compared.

    `kind` names one that nobody planned. `identity` are the properties that tell one from another of its type, where
    the binding has no address of it. `derived` gives what is compared instead of the properties that it is made of.
    `shown` are those that are long documents, of which the parts that differ are told: each with what reads one.
    """

    kind: str
    compared: Mapping[str, Same]
    identity: Mapping[str, Same] = field(default_factory=dict)
    derived: Mapping[str, Derive] = field(default_factory=dict)
    shown: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    def value(self, name: str, properties: Mapping[str, Any]) -> Any:
        """Give a property, or what is derived under that name."""
        derive = self.derived.get(name)
        return derive(properties) if derive else properties.get(name)

    def same(self, planned: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
        """Tell whether both are the same resource."""
        return all(alike(planned.get(name), found.get(name)) for name, alike in self.identity.items())
