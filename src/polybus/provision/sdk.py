"""The provider SDKs: finding the class of a resource type, and holding a plan to its argument names."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from polybus.errors import ConfigError, MissingExtra
from polybus.installed import requirement
from polybus.plan.values import Resource
from polybus.topology.table import nearest

__all__ = ["Sdk"]

# The SDKs load their modules at the first look into them, and another thread would see one half loaded meanwhile.
_LOADING = threading.Lock()

# Modules that were looked into.
_SEEN: set[str] = set()

# How annotations name the class of an argument that has arguments of its own.
_ARGUMENTS = re.compile(r"ForwardRef\('(\w+Args)'\)")
_OURS = frozenset({"self", "__self__", "resource_name", "opts"})


@dataclass(frozen=True, slots=True)
class Sdk:
    """One provider's Python package, imported when it is first used.

    `extra` is what installs it; `modules` are the token's modules that have another name in Python, "" for the package.
    `newer` are the arguments, by type, that not all versions have, each with the value that says no more than the
    cloud's own default: with it, an argument that isn't known is left out.
    """

    package: str
    extra: str
    modules: Mapping[str, str] = field(default_factory=dict)
    newer: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def resource(self, type_: str) -> Any:
        """Return the class of a type token: `aws:sqs/queue:Queue` is `pulumi_aws.sqs.Queue`."""
        return self._member(type_, type_.rpartition(":")[2])

    def lookup(self, type_: str) -> Any:
        """Return the function of a token that is read: `...:getProject` is `get_project_output`."""
        return self._member(type_, re.sub(r"(?<!^)([A-Z])", r"_\1", type_.rpartition(":")[2]).lower() + "_output")

    def taken(self, resource: Resource) -> Mapping[str, Any]:
        """Return what a resource is made with by the version that is installed."""
        newer = self.newer.get(resource.type, {})
        if not newer:
            return resource.properties
        known = _parameters(self._made(resource))
        return {
            name: value
            for name, value in resource.properties.items()
            if name in known or name not in newer or newer[name] != value
        }

    def check(
        self,
        resources: Iterable[Resource],
        source: str,
        cloud: str,
        *,
        known: Mapping[str, frozenset[str]] | None = None,
        known_of: tuple[str, str] = ("", ""),
    ) -> None:
        """Raise ConfigError for every argument, at any depth, that the provider doesn't know, and for missing types.

        `source` names the topology's file. A mapping whose keys are data, such as tags, is taken as it is. `known` are
        the arguments of each type that another version has, `known_of` (its package, its number).
        """
        problems: list[str] = []
        for resource in resources:
            made = self._made(resource)
            for path, near in self._unknown(resource.type, _parameters(made), self.taken(resource), ""):
                elsewhere = re.sub(r"\[\d+\]", "", path.removeprefix(".")) in (known or {}).get(resource.type, ())
                hint = f"; did you mean {near}?" if near else ""
                if elsewhere:
                    hint = f" in {self._installed()}; {_distribution(known_of[0])} {known_of[1]} has it"
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
                raise MissingExtra(_distribution(self.package), self.extra) from error
            module = self.modules.get(name, name)
            try:
                return _loaded(f"{self.package}.{module}" if module else self.package, member)
            except (ModuleNotFoundError, AttributeError) as error:
                what = f"{self._installed()} has no {name}.{member}, which {type_} is made with"
                raise ConfigError(f"{what}; {self._needed()}") from error

    def _installed(self) -> str:
        """Name the package and the version that is installed."""
        name = _distribution(self.package)
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:  # found on the path alone
            return name

    def _needed(self) -> str:
        """Say which versions polybus is for, and how one gets there."""
        name = _distribution(self.package)
        if not self.extra:
            return f"install a newer {name}"
        bounds = _bounds(name)
        which = f"{name}{bounds}" if bounds else f"a newer {name}"
        return f"it takes {which}: pip install --upgrade {requirement(self.extra)}"


def _distribution(package: str) -> str:
    """Give what a module's package is installed as."""
    return package.replace("_", "-")


def _bounds(name: str) -> str:
    """Give the versions of a package that polybus's own metadata names, such as `>=7.0,<8`; "" where it doesn't."""
    try:
        required = importlib.metadata.requires("polybus") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    found = (re.match(rf"{re.escape(name)}\s*([<>=!~][^;]*)", line) for line in required)
    bounds = next((match[1] for match in found if match), "")
    return ",".join(sorted((part.strip() for part in bounds.split(",") if part.strip()), reverse=True))


def _loaded(module: str, member: str) -> Any:
    """Return a member of a module, which the first look into it loads."""
    if module in _SEEN:
        return getattr(importlib.import_module(module), member)
    with warnings.catch_warnings():
        # Some warn then of classes that nobody asked for, and whoever makes an error of that would have half of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = getattr(importlib.import_module(module), member)
    _SEEN.add(module)
    return found


def _parameters(made: Any) -> dict[str, str]:
    """Give what a function of the SDK takes, by name, with each annotation as text."""
    found = inspect.signature(made).parameters
    return {name: str(parameter.annotation) for name, parameter in found.items() if name not in _OURS}
