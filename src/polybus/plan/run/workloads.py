"""The services of a plan as what runs: each with what it consumes, and with the binding that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.errors import ConfigError
from polybus.plan.planning import CloudPlan, Planning
from polybus.plan.run.asked import Asked
from polybus.plan.run.model import BLANK, Platform, Running, Source, Workload, blank, blank_name
from polybus.plan.values import Ref, marked, resolve
from polybus.topology.model import Queue, Service, Subscription, Topology
from polybus.topology.table import nearest

__all__ = ["chosen", "finder", "workloads"]

_SERVICE = "{service}"
_OURS = "polybus"


def chosen(topology: Topology, names: Sequence[str]) -> tuple[list[Service], dict[str, str]]:
    """Return the services that run, and why others don't, by their names.

    `names` are those that are asked for, none for all; raises ConfigError for one that isn't declared.
    """
    for name in names:
        if name not in topology.services:
            near = nearest(name, topology.services)
            hint = f"; did you mean {near}?" if near else ""
            declared = ", ".join(sorted(topology.services)) or "none"
            raise ConfigError(f"{topology.source} declares no service {name!r}; there are: {declared}{hint}")
    if names:
        return [topology.services[name] for name in dict.fromkeys(names)], {}
    idle = {name: why for name, one in topology.services.items() if (why := _idle(topology, one))}
    return [one for one in topology.services.values() if one.name not in idle], idle


def _idle(topology: Topology, service: Service) -> str:
    """Say why `polybus run` doesn't run a service; "" where it does."""
    consumed: dict[str, Queue | Subscription] = {**topology.queues, **topology.subscriptions}
    if any(consumed[name].consumers == _OURS for name in service.consumes) or _pushed(topology, service):
        return ""
    if service.consumes:
        return "what it consumes is for others than polybus"
    return "" if service.publishes else "it only operates, as people do"


def _pushed(topology: Topology, service: Service) -> tuple[Subscription, ...]:
    """List the push subscriptions of the function that has the service's name."""
    found = topology.subscriptions.values()
    return tuple(item for item in found if item.push is not None and item.push.function == service.name)


def finder(running: Running, plan: CloudPlan) -> Callable[[Ref], str]:
    """Return a function that gives what a reference stands for, as text; blanks stay marked in it."""
    find = running.find(plan)

    def found(ref: Ref) -> str:
        return marked(ref) if ref.resource == BLANK else find(ref)

    return found


def workloads(
    plan: CloudPlan,
    planning: Planning,
    find: Callable[[Ref], str],
    services: Iterable[Service],
    asked: Callable[[str], Asked],
    *,
    platform: Platform,
    stack: str,
    fill: Callable[[Any], Any],
    said: Callable[[str], str] = str,
) -> list[Workload]:
    """Make each service something that runs; `fill` fills blanks, `said` rewrites the texts of the binding.

    Raises ConfigError where more replicas are asked for at least than at most.
    """
    values = _said(fill(resolve(planning.binding_values(plan), find)), said)
    whole = msgspec.convert(values, Binding)
    references = fill(resolve(planning.exports(plan).get("bindingReferences", {}), find))

    def workload(service: Service) -> Workload:
        given = asked(service.name).over(platform.defaults)
        least, most = _bounds(service.name, asked(service.name), given)
        pushed = _pushed(plan.topology, service)
        own = whole.for_service(service.name, pushes=[item.name for item in pushed])
        return Workload(
            bus=plan.topology.name,
            stack=stack,
            service=service,
            image=_named(given.image, service, "image"),
            apps=tuple(_named(app, service, "app") for app in given.app or (None,)),
            least=least,
            most=most,
            messages=given.messages or 1,
            grace=given.grace or 0.0,
            cpu=given.cpu or 1.0,
            memory=given.memory or 1,
            sources=tuple(Source(name, own.source(name)) for name in service.consumes),
            pushed=pushed,
            binding=own,
            reference=references.get(service.name, ""),
        )

    return [workload(service) for service in services]


def _bounds(service: str, asked: Asked, given: Asked) -> tuple[int, int]:
    """Return how many replicas there are at least and at most; of a bound that nobody gave, the other's."""
    least, most = given.min or 0, given.max or 0
    if least <= most:
        return least, most
    if asked.min is not None and asked.max is not None:
        raise ConfigError(f"{service}: found min {least} and max {most}; allowed: no more at least than at most")
    return (least, least) if asked.max is None else (most, most)


def _named(text: str | None, service: Service, what: str) -> str:
    return blank(blank_name(service.name, what)) if text is None else text.replace(_SERVICE, service.name)


def _said(value: Any, said: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _said(item, said) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_said(item, said) for item in value]
    return said(value) if isinstance(value, str) else value
