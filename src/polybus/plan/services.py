"""The binding of each service by itself, in a plan: what a service's environment holds, and how long that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.plan.planning import CloudPlan, planning_of
from polybus.plan.values import Join, Ref, marked, resolve, unmarked
from polybus.topology.model import Topology

__all__ = ["service_bindings", "sizes"]


def service_bindings(topology: Topology, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give each service's own binding, as plain data with references in it, of the whole one with references in it.

    A push subscription is of the service that has its function's name.
    """
    whole = msgspec.convert(_as_text(values), Binding)
    return {name: _of(whole, name, topology) for name in topology.services}


def sizes(plan: CloudPlan, cloud: str) -> dict[str, int]:
    """Estimate the bytes of each service's binding, and under "" those of the whole: addresses are as long as usual."""
    planning = planning_of(cloud)
    made = {resource.name: resource for resource in plan.resources}

    def find(ref: Ref) -> str:
        return planning.stand_in(made[ref.resource], ref.output)

    values = planning.binding_values(plan)
    return {
        name: _bytes(value, find) for name, value in {"": values, **service_bindings(plan.topology, values)}.items()
    }


def _of(whole: Binding, service: str, topology: Topology) -> Any:
    pushes = (item for item in topology.subscriptions.values() if item.push is not None)
    mine = [item.name for item in pushes if item.push is not None and item.push.function == service]
    return unmarked(whole.for_service(service, pushes=mine).to_compact())


def _as_text(value: Any) -> Any:
    if isinstance(value, (Ref, Join)):
        return marked(value)
    if isinstance(value, Mapping):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_text(item) for item in value]
    return value


def _bytes(values: Any, find: Callable[[Ref], str]) -> int:
    text = json.dumps(resolve(values, find), separators=(",", ":"), ensure_ascii=False)
    return len(text.encode())
