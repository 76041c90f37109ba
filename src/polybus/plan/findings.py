"""What `check` finds, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Report", "Severity"]

# What the codes of `polybus.topology.limits` are to a reader who has never seen that table.
_SOURCES = {
    "AZ": "Service Bus quotas",
    "B": "AWS API model",
    "GQ": "Pub/Sub quotas",
    "IAM": "IAM User Guide",
    "PA": "pulumi-aws arguments",
    "PG": "pulumi-gcp arguments",
    "PZ": "pulumi-azure-native arguments",
    "Q": "SQS documentation",
    "SNS": "SNS documentation",
    "TF": "azurerm name rules",
    "k": "",
}


class Severity(StrEnum):
    """An error is refused, by `check`, `plan` and `connect` alike; a note tells what this cloud does differently."""

    ERROR = "error"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a cloud can't do, or does differently.

    `path` is the place in the topology, `limit` what the cloud allows, `source` where that is written, `instead` the
    nearest thing that works.
    """

    severity: Severity
    cloud: str
    path: str
    found: str
    limit: str
    source: str = ""
    instead: str = ""

    def __str__(self) -> str:
        source = f" [{self.source}]" if self.source else ""
        instead = f"; instead: {self.instead}" if self.instead else ""
        return f"at {self.path}: {self.cloud}: found {self.found}; {self.limit}{source}{instead}"


class Report:
    """Collects the findings of one cloud."""

    def __init__(self, cloud: str) -> None:
        self._cloud = cloud
        self.findings: list[Finding] = []

    def error(self, path: str, found: str, limit: str, *, source: str = "", instead: str = "") -> None:
        """Refuse something."""
        written = _SOURCES.get(source, source)
        self.findings.append(Finding(Severity.ERROR, self._cloud, path, found, limit, written, instead))

    def note(self, path: str, found: str, limit: str, *, source: str = "", instead: str = "") -> None:
        """Tell something that isn't refused."""
        written = _SOURCES.get(source, source)
        self.findings.append(Finding(Severity.NOTE, self._cloud, path, found, limit, written, instead))
