"""The provider SDKs: finding the class of a resource type, and holding a plan to its argument names."""

from __future__ import annotations

import importlib
import inspect
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from polybus.errors import ConfigError, MissingExtra
from polybus.plan.values import Resource
from polybus.topology.table import nearest

__all__ = ["Sdk"]

# The SDKs load their modules at the first look into them, and another thread would see one half loaded meanwhile.
_LOADING = threading.Lock()

_OURS = frozenset({"self", "__self__", "resource_name", "opts"})


@dataclass(frozen=True, slots=True)
class Sdk:
    """One provider's Python package, imported when it is first used.

    `extra` is what installs it; `modules` are the token's modules that have another name in Python.
    """

    package: str
    extra: str
    modules: Mapping[str, str] = field(default_factory=dict)

    def resource(self, type_: str) -> Any:
        """Return the class of a type token: `aws:sqs/queue:Queue` is `pulumi_aws.sqs.Queue`."""
        return self._member(type_, type_.rpartition(":")[2])

    def lookup(self, type_: str) -> Any:
        """Return the function of a token that is read: `...:getProject` is `get_project_output`."""
        return self._member(type_, re.sub(r"(?<!^)([A-Z])", r"_\1", type_.rpartition(":")[2]).lower() + "_output")

    def check(self, resources: Iterable[Resource], source: str, cloud: str) -> None:
        """Raise ConfigError for every argument that the provider doesn't know; `source` names the topology's file."""
        problems: list[str] = []
        for resource in resources:
            known = self._arguments(resource)
            for name in resource.properties:
                if name not in known:
                    near = nearest(name, known)
                    hint = f"; did you mean {near}?" if near else ""
                    where = f"{source}: at {resource.entry}.{cloud}.{name}"
                    problems.append(f"{where}: {resource.type} has no such argument{hint}")
        if problems:
            raise ConfigError("\n".join(problems))

    def _arguments(self, resource: Resource) -> frozenset[str]:
        made = self.lookup(resource.type) if resource.kind == "lookup" else self.resource(resource.type)._internal_init
        return frozenset(inspect.signature(made).parameters) - _OURS

    def _member(self, type_: str, member: str) -> Any:
        name = type_.split(":")[1].split("/", maxsplit=1)[0]
        with _LOADING:
            try:
                importlib.import_module(self.package)
            except ModuleNotFoundError as error:
                raise MissingExtra(self.package.replace("_", "-"), self.extra) from error
            return getattr(importlib.import_module(f"{self.package}.{self.modules.get(name, name)}"), member)
