"""What stack configurations decide, for `polybus check`: `--config`, and the one that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybus.cli import options

if TYPE_CHECKING:
    from polybus.plan.diff import Change
    from polybus.plan.planning import CloudPlan, Planning
    from polybus.plan.table import Sample
    from polybus.provision.cloud import Provider
    from polybus.provision.configured import Configured as File
    from polybus.provision.given import Given
    from polybus.topology.model import Topology

__all__ = ["Configured", "changes_configured", "read"]


@dataclass(frozen=True, slots=True)
class Configured:
    """One stack as its file says: the cloud, the settings of its plan, and every key as it stands there."""

    path: Path
    stack: str
    cloud: str
    settings: Any
    file: File
    provider: Provider

    @property
    def keys(self) -> Mapping[str, str]:
        return self.file.given

    @property
    def planning(self) -> Planning:
        return self.provider.planning

    def plan(self, topology: Topology) -> CloudPlan:
        """Plan a topology for this stack; raises UnsupportedFeature or ConfigError for what can't be."""
        return self.sample(topology).plan

    def known(self, topology: Topology) -> Topology:
        """Return a topology with what this stack fills in."""
        return self._given(topology).topology

    def sample(self, topology: Topology) -> Sample:
        """Plan as `plan` does, with what is to be shown in place of secrets that can't be read here."""
        from polybus.plan.opened import standing_in
        from polybus.plan.table import Sample

        known = self._given(topology)
        planned, named = standing_in(known.topology, self.planning, known.settings)
        return Sample(self.planning.plan(planned, known.settings), named)

    def _given(self, topology: Topology) -> Given:
        from polybus.provision.given import given

        existing, values = self.file.existing, self.file.values
        return given(topology, existing, self.planning, self.settings, cloud=self.cloud, values=values)


def read(path: Path, stack: str, topology: Topology) -> Configured:
    """Read a stack's file; `stack` of "" is in its name.

    Raises ConfigError for what is wrong in it, MissingExtra where PyYAML isn't installed.
    """
    from polybus.provision.configured import of_stack_file, stack_named

    named = stack or stack_named(path)
    if not named:
        raise options.refuse(f"{path.name} doesn't say the stack, as Pulumi.<stack>.yaml does; name it", "--stack")
    found = of_stack_file(path, named)
    provider = found.cloud()
    return Configured(path, named, provider.name, found.settings(provider, topology), found, provider)


def changes_configured(old: tuple[Configured, Topology], new: tuple[Configured, Topology]) -> list[Change]:
    """Compare the plans of two topologies, each for its own stack; raises UnsupportedFeature where one can't be."""
    from polybus.plan.diff import Edit, diff

    (before, was), (after, will) = old, new
    there, planned = before.sample(was).resources, after.sample(will).resources
    places = before.planning.place(before.settings), after.planning.place(after.settings)
    moved = [
        Edit(key, found, places[1].get(key) or "", forces=True)
        for key, found in places[0].items()
        if found and places[1].get(key) and found != places[1].get(key)
    ]
    return diff(there, planned, moved)
