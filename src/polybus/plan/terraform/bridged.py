"""The translation where a Pulumi provider is Terraform's, bridged: the same arguments, but for some names.

What the provider's schema doesn't have is a gap. The schema's names are tables of their own, written from the schemas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from polybus.errors import UnsupportedFeature
from polybus.plan.terraform.model import Block, Gap, Version, shown, version_of
from polybus.plan.values import Resource

__all__ = ["Bridge", "Most", "Names", "Type"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Type:
    """One type of resource: Terraform's name for it, arguments that are called otherwise there, and what it gives.

    `renamed` has the dotted paths of ours. `outputs` are what references may ask for: by name what Terraform calls it,
    with {} for the address of the block where it is more than an attribute. With `data` it is only read. `provider` is
    another than the cloud's own that has it.
    """

    type: str
    renamed: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    outputs: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    data: bool = False
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Most:
    """A bound that a provider had before a version, below what the cloud takes."""

    type: str
    argument: str
    most: int
    before: str


@dataclass(frozen=True)
class Names:
    """The arguments that one version of a provider has, by type: dotted, ! behind what is required."""

    version: str
    table: Mapping[str, str]

    @cached_property
    def known(self) -> Mapping[str, frozenset[str]]:
        return {type_: frozenset(text.replace("!", "").split()) for type_, text in self.table.items()}

    @cached_property
    def required(self) -> Mapping[str, frozenset[str]]:
        named = {type_: text.split() for type_, text in self.table.items()}
        return {type_: frozenset(one[:-1] for one in names if one.endswith("!")) for type_, names in named.items()}


@dataclass(frozen=True)
class Bridge:
    """How the resources of one bridged provider are written.

    `names` are the versions whose arguments are known, the newest first: a version between two has what the older one
    has. `usual` are values by `type.argument` that the cloud has without being told, so that nothing is lost where a
    provider can't be.
    """

    provider: str
    types: Mapping[str, Type]
    names: Sequence[Names]
    bounds: Sequence[Most] = ()
    usual: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def outputs(self) -> Mapping[str, Mapping[str, str]]:
        """Give what references may ask for, by type of resource, as `Terraform.outputs` wants it."""
        return {
            type_: {name: there if "{}" in there else f"{{}}.{there}" for name, there in one.outputs.items()}
            for type_, one in self.types.items()
        }

    def names_of(self, version: Version) -> Names:
        """Return the names that are sure to be in a version."""
        return next((names for names in self.names if version_of(names.version) <= version), self.names[-1])

    def translate(self, resource: Resource, version: Version) -> Block:
        """Give the block for a resource; raises UnsupportedFeature for a type without one."""
        if resource.type not in self.types:
            raise UnsupportedFeature(f"{resource.name}: {resource.type} has no translation for Terraform yet")
        one = self.types[resource.type]
        found = _Translation(self, one, self.names_of(version).known[one.type], version)
        arguments = found.table(resource.properties, "", "")
        return Block(one.type, arguments, one.data, tuple(found.gaps), one.provider)


class _Translation:
    """Translates the arguments of one resource, and keeps what it couldn't."""

    def __init__(self, bridge: Bridge, type_: Type, known: frozenset[str], version: Version) -> None:
        self._bridge = bridge
        self._type = type_
        self._known = known
        self._version = version
        self._bounds = {bound.argument: bound for bound in bridge.bounds if bound.type == type_.type}
        self.gaps: list[Gap] = []

    def table(self, given: Mapping[str, Any], ours: str, theirs: str) -> dict[str, Any]:
        return dict(self._pairs(given, ours, theirs))

    def _pairs(self, given: Mapping[str, Any], ours: str, theirs: str) -> Iterator[tuple[str, Any]]:
        for name, value in given.items():
            own = self._type.renamed.get(f"{ours}{name}", name)
            path = f"{theirs}{own}"
            if path not in self._known:
                self._lacks(path, value)
            else:
                yield own, self._bounded(path, self._value(value, f"{ours}{name}.", f"{path}."))

    def _value(self, value: Any, ours: str, theirs: str) -> Any:
        if not any(name.startswith(theirs) for name in self._known):
            return value  # plain, or a mapping whose keys are data
        if isinstance(value, Mapping):
            return self.table(value, ours, theirs)
        if isinstance(value, (list, tuple)):
            return [self._value(item, ours, theirs) for item in value]
        return value

    def _lacks(self, path: str, value: Any) -> None:
        usual = self._bridge.usual.get(f"{self._type.type}.{path}")
        if value is None or (usual is not None and value == usual):
            return
        version, since = shown(self._version), self._since(path)
        later = f"; {self._bridge.provider} {since} does" if since else ""
        words = f"{self._bridge.provider} {version} isn't known to take {self._type.type}.{path}{later}: left out"
        self.gaps.append(Gap(path, words))

    def _since(self, path: str) -> str | None:
        """Return the oldest version that is known to have an argument."""
        having = [names.version for names in self._bridge.names if path in names.known[self._type.type]]
        return having[-1] if having else None

    def _bounded(self, path: str, value: Any) -> Any:
        bound = self._bounds.get(path)
        if bound is None or self._version >= version_of(bound.before) or not isinstance(value, int):
            return value
        if value <= bound.most:
            return value
        later = f"{self._bridge.provider} {bound.before} does"
        version = f"{self._bridge.provider} {shown(self._version)}"
        words = (
            f"{version} takes no {self._type.type}.{path} above {bound.most}; {later}: {bound.most} in place of {value}"
        )
        self.gaps.append(Gap(path, words))
        return bound.most
