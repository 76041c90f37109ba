"""Who else may use a topic or queue on Google Cloud: IAM members, as services have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from polybus.plan.findings import Report
from polybus.plan.rules import no_conditions, outsiders
from polybus.topology.model import Allow, Topology

__all__ = ["asked", "rule"]

_MEMBER = re.compile(r"(?:serviceAccount|user|group|domain):\S+|(?:principal|principalSet)://\S+")


def rule(report: Report, topology: Topology) -> None:
    """Refuse what is no member of IAM's; nobody lets in everyone."""
    for path, _, allow in outsiders(topology, "gcp"):
        if not _MEMBER.fullmatch(allow.principal):
            limit = "allowed: a member, such as serviceAccount:<email> or group:<email>; not allUsers"
            report.error(f"{path}.principal", allow.principal, limit, source="PG", instead='cloud = "aws" or "azure"')
        no_conditions(report, path, allow)


def asked(topology: Topology) -> Iterator[tuple[Allow, str, str]]:
    """Give everyone who is let in, with the name of the topic or queue and the place in the topology."""
    for path, entry, allow in outsiders(topology, "gcp"):
        yield allow, entry.name, path
