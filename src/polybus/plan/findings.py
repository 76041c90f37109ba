"""What `check` finds, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from polybus.topology.limits import WIDELY_KNOWN

__all__ = ["Finding", "Report", "Severity"]


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
    """Collects the findings of one cloud; `sources` are its documents, by the codes that its limits have for them."""

    def __init__(self, cloud: str, sources: Mapping[str, str] = MappingProxyType({})) -> None:
        self._cloud = cloud
        self._sources = {WIDELY_KNOWN: "", **sources}
        self.findings: list[Finding] = []

    def error(self, path: str, found: str, limit: str, *, source: str = "", instead: str = "") -> None:
        """Refuse something."""
        self.findings.append(Finding(Severity.ERROR, self._cloud, path, found, limit, self._written(source), instead))

    def note(self, path: str, found: str, limit: str, *, source: str = "", instead: str = "") -> None:
        """Tell something that isn't refused."""
        self.findings.append(Finding(Severity.NOTE, self._cloud, path, found, limit, self._written(source), instead))

    def _written(self, source: str) -> str:
        return self._sources.get(source, source)
