"""The provider SDKs: finding the class of a resource type, and holding a plan to its argument names."""

from __future__ import annotations

import importlib
import inspect
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from polybus.errors import ConfigError, MissingExtra
from polybus.plan.values import Resource
from polybus.topology.table import nearest

__all__ = ["Sdk"]

# The SDKs load their modules at the first look into them, and another thread would see one half loaded meanwhile.
_LOADING = threading.Lock()

# How annotations name the class of an argument that has arguments of its own.
_ARGUMENTS = re.compile(r"ForwardRef\('(\w+Args)'\)")
_OURS = frozenset({"self", "__self__", "resource_name", "opts"})


@dataclass(frozen=True, slots=True)
class Sdk:
    """One provider's Python package, imported when it is first used.

    `extra` is what installs it; `modules` are the token's modules that have another name in Python, "" for the package.
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
        """Raise ConfigError for every argument, at any depth, that the provider doesn't know.

        `source` names the topology's file. A mapping whose keys are data, such as tags, is taken as it is.
        """
        problems: list[str] = []
        for resource in resources:
            made = self._made(resource)
            for path, near in self._unknown(resource.type, _parameters(made), resource.properties, ""):
                hint = f"; did you mean {near}?" if near else ""
                where = f"{source}: at {resource.entry}.{cloud}{path}"
                problems.append(f"{where}: {resource.type} has no such argument{hint}")
        if problems:
            raise ConfigError("\n".join(problems))

    def _made(self, resource: Resource) -> Any:
        """Return what takes a resource's arguments: the SDKs' classes hide that; one written by hand doesn't."""
        if resource.kind == "lookup":
            return self.lookup(resource.type)
        found = self.resource(resource.type)
        return getattr(found, "_internal_init", found.__init__)

    def _unknown(
        self, type_: str, known: Mapping[str, str], given: Mapping[str, Any], path: str
    ) -> Iterator[tuple[str, str | None]]:
        """Find the paths of arguments that aren't known, each with the nearest name that is."""
        for name, value in given.items():
            if name not in known:
                yield f"{path}.{name}", nearest(name, known)
                continue
            inside = self._inside(type_, known[name])
            several = isinstance(value, (list, tuple))
            for at, item in enumerate(value if several else (value,)):
                if inside and isinstance(item, Mapping):
                    yield from self._unknown(
                        type_, inside, item, f"{path}.{name}[{at}]" if several else f"{path}.{name}"
                    )

    def _inside(self, type_: str, annotation: str) -> dict[str, str]:
        """Give what an argument is made of, by its annotation; nothing for plain values and for mappings of data.

        Nor for one of several forms: the SDK can't tell which a table is, and hands its keys on as they stand.
        """
        forms = dict.fromkeys(_ARGUMENTS.findall(annotation))
        if "Mapping[" in annotation or len(forms) != 1:
            return {}
        return _parameters(self._member(type_, next(iter(forms))).__init__)

    def _member(self, type_: str, member: str) -> Any:
        name = type_.split(":")[1].split("/", maxsplit=1)[0]
        with _LOADING:
            try:
                importlib.import_module(self.package)
            except ModuleNotFoundError as error:
                raise MissingExtra(self.package.replace("_", "-"), self.extra) from error
            module = self.modules.get(name, name)
            return getattr(importlib.import_module(f"{self.package}.{module}" if module else self.package), member)


def _parameters(made: Any) -> dict[str, str]:
    """Give what a function of the SDK takes, by name, with each annotation as text."""
    found = inspect.signature(made).parameters
    return {name: str(parameter.annotation) for name, parameter in found.items() if name not in _OURS}
