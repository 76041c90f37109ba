"""A stack on this machine: what Pulumi's engine does with it, and what the local cloud has nothing for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi import automation as auto

from polybus.provision import automation
from polybus.provision.laptop.cloud import Laptop
from polybus.provision.laptop.place import Place

__all__ = ["LocalStack", "Recorded"]

_OWN = "pulumi:"
"""What the types begin with that are Pulumi's own: the stack itself and its providers."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A resource that is in the state alone: its type and its logical name."""

    type: str
    name: str


class LocalStack:
    """One stack in a place, on the local server that `server`, its variables, leads to.

    All methods raise ConfigError for what Pulumi refuses; `show` gets Pulumi's own lines.
    """

    def __init__(self, name: str, place: Place, laptop: Laptop, server: Mapping[str, str]) -> None:
        self.name = name
        self._laptop = laptop
        self._folder = place.folder(name)
        self._options = auto.LocalWorkspaceOptions(
            env_vars=place.environment(server), pulumi_command=auto.PulumiCommand(str(place.root))
        )

    def preview(self, show: Callable[[str], None], policies: Path | None = None) -> Mapping[str, int]:
        """Return how many resources an update would `create`, `update` and so on."""
        return automation.preview(self.name, self._folder, show=show, policies=policies, options=self._options)

    def up(self, show: Callable[[str], None], policies: Path | None = None) -> Mapping[str, int]:
        """Create or update the stack, and return what became of how many resources."""
        return automation.up(self.name, self._folder, show=show, policies=policies, options=self._options)

    def refresh(self, show: Callable[[str], None]) -> Mapping[str, int]:
        """Bring the state to what there is, and return what became of how many resources."""
        return automation.refresh(self.name, self._folder, show=show, options=self._options)

    def destroy(self, show: Callable[[str], None]) -> Mapping[str, int]:
        """Delete all of the stack, and return what became of how many resources."""
        return automation.destroy(self.name, self._folder, show=show, options=self._options)

    def outputs(self) -> Mapping[str, Any]:
        """Return what the stack exports."""
        return automation.outputs(self.name, self._folder, options=self._options)

    def resources(self) -> tuple[int, tuple[Recorded, ...]]:
        """Return how many resources are on the local cloud, and those that it has nothing for."""
        state = automation.resources(self.name, self._folder, options=self._options)
        custom = [one for one in state if one.get("custom") and not one["type"].startswith(_OWN)]
        recorded = [one for one in custom if not self._laptop.served(one["type"], one.get("inputs") or {})]
        found = sorted((one["type"], one["urn"].rpartition("::")[2]) for one in recorded)
        return len(custom) - len(recorded), tuple(Recorded(*one) for one in found)
