"""Pass-through tables, `[topics.orders.aws]` and the like, held to the names that the provider's SDK has, at any depth.

The names are data, since what plans imports no SDK. They are of one version of each SDK; when a stack is deployed, the
SDK that is installed there has the last word, before the first resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polybus.plan.findings import Report
from polybus.plan.planning import Entry, OwnName, Planning, planning_of
from polybus.plan.rules import consumed, path_of
from polybus.topology.model import Subscription, Topology
from polybus.topology.table import nearest

__all__ = ["rule"]


def rule(report: Report, topology: Topology, cloud: str) -> None:
    """Refuse arguments that the resource doesn't have, and those of a resource that isn't made."""
    planning = planning_of(cloud)
    entries: tuple[Entry, ...] = (*topology.topics.values(), *consumed(topology))
    for entry in entries:
        given, path = entry.options.get(cloud, {}), f"{path_of(entry)}.{cloud}"
        type_ = planning.pass_through(entry)
        if given and type_ is None:
            _not_passed_on(report, path, given, entry)
        elif type_ is not None:
            attached = planning.attached.get(type_, {})
            for name in (name for name in given if name in attached):
                limit = f"the plan sets it by a resource of its own, {attached[name]}"
                instead = "rights of the caller's own, in IAM" if name == "policy" else "max_attempts, in the topology"
                report.error(f"{path}.{name}", name, limit, instead=instead)
            _Arguments(report, type_, planning).look(path, given, "")
            _name(report, path, given, planning.names.get(type_), ordered=topology.is_ordered(entry.name))


def _not_passed_on(report: Report, path: str, given: Mapping[str, Any], entry: Entry) -> None:
    """Refuse arguments for what exists already, or of a cloud that takes none."""
    if isinstance(entry, Subscription) or entry.existing is None:
        report.error(path, ", ".join(given), "nothing here takes arguments")
    else:
        limit = "what exists already is adopted as it is, so no arguments are passed on"
        report.error(path, ", ".join(given), limit, instead="these on the resource itself, where it is declared")


def _name(report: Report, path: str, given: Mapping[str, Any], own: OwnName | None, *, ordered: bool) -> None:
    """Refuse a physical name that the cloud doesn't take."""
    name = None if own is None else given.get(own.argument)
    if own is not None and isinstance(name, str) and not own.accepts(name, ordered=ordered):
        report.error(f"{path}.{own.argument}", name, f"allowed: {own.rule.allowed}", source=own.rule.source)


@dataclass(frozen=True, slots=True)
class _Arguments:
    """Looks at every name of a pass-through table for one type of resource."""

    report: Report
    type: str
    planning: Planning

    def look(self, path: str, given: Mapping[str, Any], within: str) -> None:
        """Look at a table; `within` is the dotted argument whose value it is, "" for the whole."""
        arguments = self.planning.arguments.get(self.type, ())
        known = [name[len(within) :] for name in arguments if name.startswith(within)]
        direct = [name for name in known if "." not in name]
        if not direct:
            return  # a table of data, such as tags
        for name, value in given.items():
            if name not in direct:
                limit = f"{self.type} has no such argument in {' '.join(self.planning.sdk)}"
                instead = nearest(name, direct) or ", ".join(sorted(direct))
                self.report.error(f"{path}.{name}", name, limit, instead=instead)
                continue
            several = isinstance(value, (list, tuple))
            for at, item in enumerate(value if several else (value,)):
                if isinstance(item, Mapping):
                    self.look(f"{path}.{name}[{at}]" if several else f"{path}.{name}", item, f"{within}{name}.")
