"""What the stack says and the topology doesn't: each environment has its own topics and queues of others, endpoints.

An address that is an output is planned by a stand-in of the same form, so that the plan has what an adopted entry
takes; where the stand-in or anything made of it gets into a resource, the output takes its place. What it turns out to
be is planned with once more before it is used, so that it is held to what a declared one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from polybus.errors import ConfigError, PolybusError
from polybus.plan.opened import held
from polybus.plan.planning import Planning
from polybus.provision.filled import Hidden, fill
from polybus.topology.model import Queue, Topic, Topology
from polybus.topology.open import Place, filled
from polybus.topology.table import nearest

if TYPE_CHECKING:
    from polybus.plan.later import Text

__all__ = ["Given", "given"]


@dataclass(frozen=True, slots=True)
class Given:
    """The topology and the settings to plan with, and what becomes of each text of the plan."""

    topology: Topology
    settings: Any
    text: Callable[[str], Any]


def given(
    declared: Topology,
    existing: Mapping[str, Text],
    planning: Planning,
    settings: Any,
    *,
    cloud: str,
    values: Mapping[str, Text | Hidden] | None = None,
    defer: Callable[[Any], Any] | None = None,
) -> Given:
    """Fill in what the topology leaves open, and adopt topics and queues by name.

    Raises ConfigError for names and values that the topology has not, and for what stays open on `cloud`. `settings`
    are those of the plan, without outputs; `defer` makes them so where functions are filled in that are outputs.
    """
    known = fill(declared, cloud, values or {}, settings)
    settings = known.settings if defer is None else defer(known.settings)
    adopted = {**known.existing, **existing}
    texts = {name: value for name, value in adopted.items() if isinstance(value, str)}
    outputs = {name: value for name, value in adopted.items() if not isinstance(value, str)}
    topology = adopting(known.topology, texts)
    standing: dict[str, str] = {}
    for name in outputs:
        if planning.standing is None:
            raise ConfigError(f"existing.{name}: found an output of another resource; this cloud takes text alone")
        standing[name] = planning.standing(_entry(topology, name), settings)
    planned = adopting(topology, standing)
    groups = []
    if outputs:
        groups.append(_addresses(topology, outputs, standing, planning, settings))
    if known.awaited:
        groups.append(_others(planned, known.awaited, planning, settings))
    return Given(planned, settings, _rewriting(groups))


@dataclass(frozen=True, slots=True)
class _Group:
    """Texts that stand in a plan for others, and what these are, in the same order, once they are known."""

    forms: Sequence[str]
    found: Any


def _addresses(
    topology: Topology, outputs: Mapping[str, Text], standing: Mapping[str, str], planning: Planning, settings: Any
) -> _Group:
    """Await addresses of adopted entries; what they turn out to be is planned with before it is used."""
    import pulumi

    def checked(real: Mapping[str, str]) -> list[str]:
        try:
            planning.plan(adopting(topology, real), settings)
        except PolybusError as error:
            raise pulumi.RunError(str(error)) from error
        return [form for name in outputs for form in planning.forms(real[name])]

    forms = [form for name in outputs for form in planning.forms(standing[name])]
    return _Group(forms, pulumi.Output.all(**outputs).apply(checked))


def _others(topology: Topology, awaited: Mapping[Place, Text], planning: Planning, settings: Any) -> _Group:
    """Await other texts, which may be secrets: what is wrong with one is said without it."""
    import pulumi

    texts = {place.value: value for place, value in awaited.items()}

    def checked(real: Mapping[str, str]) -> list[str]:
        try:
            for place in awaited:
                held(topology, place, real[place.value], secret=True)
            planning.plan(filled(topology, lambda place: real.get(place.value, place.value)), settings)
        except PolybusError as error:
            said = str(error)
            for name, text in real.items():
                said = said.replace(text, name)
            raise pulumi.RunError(said) from None
        return [real[name] for name in texts]

    return _Group([str(name) for name in texts], pulumi.Output.all(**texts).apply(checked))


def _rewriting(groups: Sequence[_Group]) -> Callable[[str], Any]:
    """Return what puts what is known later into a text; each group by itself, since one may be a secret."""

    def text(value: str) -> Any:
        used = [group for group in groups if any(form in value for form in group.forms)]
        if not used:
            return value
        import pulumi

        forms = [form for group in used for form in group.forms]
        found: pulumi.Output[list[list[str]]] = pulumi.Output.all(*(group.found for group in used))

        def whole(real: list[list[str]]) -> str:
            return _rewritten(value, zip(forms, (one for some in real for one in some), strict=True))

        return found.apply(whole)

    return text


def adopting(topology: Topology, existing: Mapping[str, str]) -> Topology:
    """Return a topology with some of its topics and queues adopted."""
    for name in existing:
        _entry(topology, name)

    def adopted(entries: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: replace(entry, existing=existing[name]) if name in existing else entry
            for name, entry in entries.items()
        }

    if not existing:
        return topology
    topics, queues = adopted(topology.topics), adopted(topology.queues)
    return replace(topology, topics=topics, queues=queues, origin=topology.origin or topology)


def _entry(topology: Topology, name: str) -> Topic | Queue:
    found: Topic | Queue | None = topology.topics.get(name) or topology.queues.get(name)
    if found is None:
        every = (*topology.topics, *topology.queues)
        near = nearest(name, every)
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigError(
            f"existing.{name}: {topology.source} declares no such topic or queue; there are: "
            f"{', '.join(sorted(every)) or 'none'}{hint}"
        )
    return found


def _rewritten(text: str, forms: Iterator[tuple[str, str]]) -> str:
    for stands, real in forms:
        text = text.replace(stands, real)
    return text
