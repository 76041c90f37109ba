"""What each cloud would refuse of a topology, or do differently: before anything is created or paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from polybus.errors import UnsupportedFeature
from polybus.plan import bodies, options, there
from polybus.plan.findings import Finding, Report, Severity
from polybus.plan.opened import spelled, standing_in, where
from polybus.plan.planning import planning_of
from polybus.registry import offering
from polybus.topology.model import Topology
from polybus.topology.open import places

__all__ = ["Finding", "Severity", "check", "refuse"]


def check(topology: Topology, cloud: str | None = None, *, stack: str = "") -> list[Finding]:
    """List what `cloud`, or each that has a plan, refuses or does differently; errors first, as declared.

    `stack` is part of physical names. The embedded backends refuse nothing.
    """
    findings: list[Finding] = []
    for name in offering("planning") if cloud is None else (cloud,):
        findings.extend(_findings(topology, name, stack))
        report = Report(name, planning_of(name).sources)
        options.rule(report, topology.on(name), name)
        _open(report, topology.on(name))
        findings.extend(report.findings)
    return sorted(findings, key=lambda finding: finding.severity != Severity.ERROR)


def refuse(
    topology: Topology, cloud: str, *, stack: str = "", rules: Callable[[Report, Topology, str], None] | None = None
) -> Topology:
    """Return what a cloud has of a topology: all but the entries that exist on others alone.

    Raises UnsupportedFeature with everything that it can't do of that; notes don't count. `rules` are those of a cloud
    that need not be registered. Pass-through arguments aren't looked at: who deploys has the SDK itself, perhaps a
    newer one, and asks that.
    """
    found = _findings(topology, cloud, stack, rules)
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if errors:
        raise UnsupportedFeature("\n".join(f"{topology.source}: {finding}" for finding in errors))
    return topology.on(cloud)


def _findings(
    topology: Topology, cloud: str, stack: str, rules: Callable[[Report, Topology, str], None] | None = None
) -> list[Finding]:
    # Rules that were given are those of a cloud that need not be registered: nobody knows its documents.
    report = Report(cloud) if rules else Report(cloud, planning_of(cloud).sources)
    there.rule(report, topology, cloud)
    if topology.large_bodies is not None and (rules is not None or not planning_of(cloud).bodies):
        bodies.none_here(report)
    if rules is not None:
        rules(report, topology.on(cloud), stack)
        return report.findings
    planning = planning_of(cloud)
    standing, named = standing_in(topology.on(cloud), planning, None)
    planning.rules(report, standing, stack)
    return [_spelled(finding, named) for finding in report.findings]


def _spelled(finding: Finding, named: Mapping[str, str]) -> Finding:
    found, limit, instead = (str(spelled(text, named)) for text in (finding.found, finding.limit, finding.instead))
    return replace(finding, found=found, limit=limit, instead=instead)


def _open(report: Report, topology: Topology) -> None:
    """Tell what is left open: what it will be is held to its form once a stack says it."""
    for place in places(topology):
        limit = f"open: it is {where(place.value)}"
        instead = "--config FILE, to check what a stack's configuration says" if place.value.source == "config" else ""
        report.note(place.path, str(place.value), limit, instead=instead)
