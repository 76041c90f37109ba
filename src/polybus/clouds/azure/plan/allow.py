"""Who else may use a topic or queue on Azure: role assignments, as services have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from polybus.clouds.azure.plan.namespace import Principal
from polybus.plan.findings import Report
from polybus.plan.rules import no_conditions, outsiders
from polybus.topology.model import Allow, Topology

__all__ = ["asked", "rule"]

_PRINCIPAL = re.compile(
    r"(?:(ServicePrincipal|User|Group|ForeignGroup|Device)/)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    re.IGNORECASE,
)


def rule(report: Report, topology: Topology) -> None:
    """Refuse what is no principal of Entra ID's, and rights that Service Bus can't give so."""
    for path, _, allow in outsiders(topology, "azure"):
        if not _PRINCIPAL.fullmatch(allow.principal):
            limit = "allowed: an object id in Entra ID, alone or after its type, as Group/<id>"
            report.error(f"{path}.principal", allow.principal, limit, source="AZ", instead='cloud = "aws" or "gcp"')
        if "subscribe" in allow.actions:
            limit = "who receives from Service Bus receives from subscriptions that are there"
            instead = "a subscription in the topology, and a service that consumes it"
            report.error(f"{path}.actions", "subscribe", limit, source="AZ", instead=instead)
        no_conditions(report, path, allow)


def asked(topology: Topology) -> Iterator[tuple[Principal, Allow, str, str]]:
    """Give everyone who is let in, with the name of the topic or queue and the place in the topology."""
    for path, entry, allow in outsiders(topology, "azure"):
        found = _PRINCIPAL.fullmatch(allow.principal)
        if found is not None:  # refused before
            yield Principal(found[2], found[1] or "ServicePrincipal"), allow, entry.name, path
