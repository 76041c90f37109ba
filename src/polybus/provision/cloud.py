"""What provisioning has to know of one cloud; everything else is in its plan."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from polybus.errors import ConfigError
from polybus.plan.values import Resource
from polybus.provision.sdk import Sdk
from polybus.topology.model import CLOUDS, Topology
from polybus.topology.table import nearest

if TYPE_CHECKING:
    from polybus.provision.config import StackConfig

__all__ = ["Cloud", "CloudPlan", "cloud_named", "elsewhere"]


class CloudPlan(Protocol):
    """What the clouds' plans share."""

    @property
    def topology(self) -> Topology: ...

    @property
    def resources(self) -> tuple[Resource, ...]: ...


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud: its plan's functions, its provider's SDK, and how a stack config becomes its settings.

    `keys` are the keys of the stack config that only this cloud reads.
    """

    name: str
    sdk: Sdk
    settings_type: type
    plan: Callable[[Topology, Any], CloudPlan]
    binding_values: Callable[[Any], dict[str, Any]]
    exports: Callable[[Any], dict[str, Any]]
    settings: Callable[[StackConfig], Any]
    keys: Mapping[str, str]

    def planned(self, topology: Topology, settings: object) -> CloudPlan:
        """Plan a topology; raises ConfigError or UnsupportedFeature with everything that is wrong for this cloud."""
        if settings is not None and not isinstance(settings, self.settings_type):
            expected, found = self.settings_type.__name__, type(settings).__name__
            raise ConfigError(f"settings: found {found}; {self.name} takes {expected}")
        plan = self.plan(topology, settings)
        self.sdk.check(plan.resources, topology.source, self.name)
        return plan


def cloud_named(name: str) -> Cloud:
    """Return one of the clouds; its provider's SDK isn't imported yet. Raises ConfigError for any other name."""
    if name not in CLOUDS:
        near = nearest(name, CLOUDS)
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigError(f"found the cloud {name!r}; allowed: {', '.join(CLOUDS)}{hint}")
    cloud: Cloud = importlib.import_module(f"polybus.clouds.{name}.stack").CLOUD
    return cloud


def elsewhere(cloud: Cloud) -> dict[str, str]:
    """Return the keys that only other clouds read, each with the cloud that does."""
    others = [cloud_named(name) for name in CLOUDS if name != cloud.name]
    return {key: other.name for other in others for key in other.keys if key not in cloud.keys}
