"""What `polybus check` tells of contracts: which can't be read, and which changes break a reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybus.cli.output import note
from polybus.cli.text import wrapped

if TYPE_CHECKING:
    from polybus.contracts.load import Contract
    from polybus.contracts.topology import Broken
    from polybus.topology.model import Topology

__all__ = ["Told", "told"]

ADVICE = (
    "publish the new form beside the old one (a new topic, or a type of its own) until all readers know it; "
    'compatibility = "backward", "forward" or "none" at the entry says that others don\'t matter'
)
_LONGEST_EXAMPLE = 200


@dataclass(frozen=True, slots=True)
class Told:
    """What was found: `problems` by their place, and what breaks."""

    count: int
    problems: Mapping[str, str]
    broken: list[Broken]

    @property
    def ok(self) -> bool:
        return not self.problems and not self.broken

    def plain(self) -> dict[str, Any]:
        """Give it as plain data."""
        findings = [{"path": path, "found": problem} for path, problem in self.problems.items()]
        return {"ok": self.ok, "findings": findings, "breaks": [_plain(each) for each in self.broken]}

    def print(self) -> None:
        """Print it for people."""
        if self.problems:
            print(f"contracts: refused, {len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}")
        elif self.broken:
            changes = f"{len(self.broken)} change{'s' if len(self.broken) > 1 else ''}"
            print(f"contracts: refused, {changes} would break readers")
        else:
            print(f"contracts: ok, {self.count} declared")
        for path, problem in self.problems.items():
            print(wrapped(f"error at {path}: {problem}", "  "))
        for each in self.broken:
            print(wrapped(f"error at {each.path}, read by {', '.join(each.readers)}: {each.problem}", "  "))
            if (example := _example(each)) is not None:
                print(wrapped(f"such as: {json.dumps(example, ensure_ascii=False)[:_LONGEST_EXAMPLE]}", "    "))
        if self.broken:
            print(wrapped(f"instead: {ADVICE}", "    "))


def told(declared: Topology, old: Topology | None, kept: Path | None) -> Told | None:
    """Read the contracts of a topology, and compare them with those of an old one, or with a folder of schemas.

    None where none is declared.
    """
    from polybus.contracts.topology import breaks_between, resolve
    from polybus.contracts.topology import declared as with_schemas

    if not any(with_schemas(declared)):
        return None
    here = _folder(declared)
    found = resolve(declared, here)
    problems = dict(found.problems)
    before: dict[str, Contract] = {}
    if old is not None:
        before = _of_old(old, here, problems)
    elif kept is not None:
        before = _of_folder(declared, kept, problems)
    return Told(len(found.contracts), problems, breaks_between(before, found.contracts, declared))


def _of_old(old: Topology, here: Path, problems: dict[str, str]) -> dict[str, Contract]:
    from polybus.contracts.elsewhere import load_in
    from polybus.contracts.load import is_file
    from polybus.contracts.topology import declared as with_schemas
    from polybus.errors import ConfigError

    folder = _folder(old)
    found: dict[str, Contract] = {}
    for path, entry in with_schemas(old):
        reference = str(entry.schema)
        if folder == here and not is_file(reference):
            # The old topology is alone: its types are those of today, and would be compared with themselves.
            note(
                f"polybus: {path}.schema: {reference} is compared with itself, as {old.source} is beside the new code: "
                "check against a checkout of the old version, or a folder that `polybus export jsonschema` wrote"
            )
            continue
        try:
            found[path] = load_in(reference, folder)
        except ConfigError as error:
            problems[f"{path}.schema of {old.source}"] = str(error)
    return found


def _of_folder(declared: Topology, kept: Path, problems: dict[str, str]) -> dict[str, Contract]:
    from polybus.contracts.kept import load_kept
    from polybus.contracts.topology import declared as with_schemas
    from polybus.errors import ConfigError

    found: dict[str, Contract] = {}
    for path, entry in with_schemas(declared):
        try:
            before = load_kept(kept, entry.name)
        except ConfigError as error:
            problems[f"{path}.schema"] = str(error)
        else:
            if before is not None:
                found[path] = before
    return found


def _folder(topology: Topology) -> Path:
    return Path(topology.source).resolve().parent


def _example(broken: Broken) -> Any:
    from polybus.contracts.breaks import NONE

    example = broken.problem.gap.example
    return None if example is NONE else example


def _plain(broken: Broken) -> dict[str, Any]:
    gap = broken.problem.gap
    example = _example(broken)
    return {
        "path": broken.path,
        "readers": list(broken.readers),
        "side": broken.problem.side.value,
        "rule": gap.rule,
        "place": gap.place,
        "detail": gap.detail,
        **({} if example is None else {"example": example}),
    }
