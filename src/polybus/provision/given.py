"""Topics and queues of others that the stack names and the topology doesn't: each environment has its own.

An address that is an output is planned by a stand-in of the same form, so that the plan has what an adopted entry
takes; where the stand-in or anything made of it gets into a resource, the output takes its place. What it turns out to
be is planned with once more before it is used, so that it is held to what a declared one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from polybus.errors import ConfigError, PolybusError
from polybus.plan.planning import Planning
from polybus.topology.model import Queue, Topic, Topology, digest
from polybus.topology.table import nearest

if TYPE_CHECKING:
    from polybus.plan.later import Text

__all__ = ["Given", "given"]


@dataclass(frozen=True, slots=True)
class Given:
    """The topology to plan with, and what becomes of each text of its plan."""

    topology: Topology
    text: Callable[[str], Any]


def given(declared: Topology, existing: Mapping[str, Text], planning: Planning, settings: Any) -> Given:
    """Adopt topics and queues by name; raises ConfigError for names that the topology has not.

    `settings` are those of the plan, without outputs.
    """
    if not existing:
        return Given(declared, _as_it_is)
    known = {name: value for name, value in existing.items() if isinstance(value, str)}
    outputs = {name: value for name, value in existing.items() if not isinstance(value, str)}
    topology = adopting(declared, known)
    standing: dict[str, str] = {}
    for name in outputs:
        if planning.standing is None:
            raise ConfigError(f"existing.{name}: found an output of another resource; this cloud takes text alone")
        standing[name] = planning.standing(_entry(topology, name), settings)
    planned = adopting(topology, standing)
    digests = (digest(planned), digest(declared))
    if not outputs:
        return Given(planned, lambda text: digests[1] if text == digests[0] else text)
    import pulumi

    forms = [form for name in outputs for form in planning.forms(standing[name])]

    def checked(real: Mapping[str, str]) -> list[str]:
        try:
            planning.plan(adopting(topology, real), settings)
        except PolybusError as error:
            raise pulumi.RunError(str(error)) from error
        return [form for name in outputs for form in planning.forms(real[name])]

    found: pulumi.Output[list[str]] = pulumi.Output.all(**outputs).apply(checked)

    def text(value: str) -> Any:
        if value == digests[0]:
            return digests[1]
        if not any(form in value for form in forms):
            return value
        return found.apply(lambda real: _rewritten(value, zip(forms, real, strict=True)))

    return Given(planned, text)


def adopting(topology: Topology, existing: Mapping[str, str]) -> Topology:
    """Return a topology with some of its topics and queues adopted."""
    for name in existing:
        _entry(topology, name)

    def adopted(entries: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: replace(entry, existing=existing[name]) if name in existing else entry
            for name, entry in entries.items()
        }

    return replace(topology, topics=adopted(topology.topics), queues=adopted(topology.queues))


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


def _as_it_is(text: str) -> str:
    return text
