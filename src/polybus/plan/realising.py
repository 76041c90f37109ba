"""Making a plan's resources one by one, with the inputs that Pulumi's provider would get."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from polybus.plan.planning import CloudPlan
from polybus.plan.values import Ref, resolve

__all__ = ["Maker", "camel", "make_all"]


class Maker(Protocol):
    """Makes resources of one cloud."""

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one resource, or read one, and return its outputs."""

    def close(self) -> None:
        """Close the connections."""


def make_all(
    plan: CloudPlan, maker: Maker, given: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Make everything in a plan, in its order, and close the maker; return the outputs of each resource by its name.

    `given` turns properties, in which references are replaced, into a provider's inputs.
    """
    outputs: dict[str, Mapping[str, Any]] = {}

    def find(ref: Ref) -> Any:
        made = outputs[ref.resource]
        return made[ref.output] if ref.output in made else made[camel(ref.output)]

    try:
        for resource in plan.resources:
            inputs = given(resolve(resource.properties, find))
            outputs[resource.name] = maker.create(resource.type, resource.name, inputs)
    finally:
        maker.close()
    return outputs


def camel(name: str) -> str:
    """Return a property's name as Pulumi's engine has it: `fifo_queue` is fifoQueue."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
