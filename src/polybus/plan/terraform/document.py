"""The whole document: the plan's blocks, their names and order, the provider, variables and outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan.entities import service_bindings
from polybus.plan.names import short_hash
from polybus.plan.planning import CloudPlan, Planning
from polybus.plan.terraform.expression import template
from polybus.plan.terraform.model import EXPRESSION, Block, Gap, Terraform, Version, as_written, shown, version_of
from polybus.plan.values import Join, Json, Ref, Resource, marked, refs, unmarked

__all__ = ["Exported", "Variable", "address", "document", "outputs_of", "variable"]

COMMENT = "//"
"""What Terraform ignores in a JSON file, and people read."""

_TERRAFORM = ">= 1.0.0"
_STAYS = Gap(
    "",
    "others may live by it, so it should stay on the cloud when the stack goes; Terraform would destroy it: "
    "`terraform state rm` takes it out before",
)

_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Variable:
    """What the stack's configuration leaves to whoever runs Terraform."""

    name: str
    description: str
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """The document, and what the provider can't be told of each resource, by the resource's address."""

    document: Mapping[str, Any]
    gaps: Mapping[str, Sequence[Gap]]


def variable(name: str) -> str:
    """Return the text that stands for a variable where a setting wants a text."""
    return marked(as_written(f"var.{name}"))


def address(name: str) -> str:
    """Return what a resource is called in Terraform, by its logical name: where that one has a dot this has `__`.

    What would be no name there, or another's, has a hash of the whole.
    """
    label = name.replace(".", "__")
    if "__" not in name and _LABEL.fullmatch(label):
        return label
    fit = re.sub(r"[^A-Za-z0-9_-]", "_", label)
    return f"{'' if fit[0].isalpha() else '_'}{fit}-{short_hash(name)}"


def document(
    plan: CloudPlan,
    terraform: Terraform,
    *,
    outputs: Mapping[str, Any],
    settings: object,
    title: str,
    version: str | None = None,
    protect: bool = False,
    alias: str | None = None,
    variables: Sequence[Variable] = (),
) -> Exported:
    """Write a plan for Terraform; `title` says in a comment where it is from.

    `protect` refuses to destroy what holds messages, `alias` names the provider's configuration. Raises ConfigError for
    a version that is too old, UnsupportedFeature for a resource that can't be written.
    """
    wanted = version_of(version or terraform.newest)
    if wanted < version_of(terraform.oldest):
        raise ConfigError(
            f"{terraform.source} {shown(wanted)}: found a version whose arguments aren't known; allowed: "
            f"{terraform.oldest} and newer"
        )
    blocks = {resource.name: terraform.translate(resource, wanted) for resource in plan.resources}
    writer = _Writer(plan.resources, terraform, blocks)
    written = writer.blocks(protect=protect, alias=alias)
    beside = {kind: dict(found) for kind, found in terraform.beside(settings).items()}
    declared = {**beside.get("variable", {}), **{one.name: _declared(one) for one in variables}}
    data = {**beside.get("data", {}), **written["data"]}
    secrets = frozenset(f"var.{one.name}" for one in variables if one.sensitive)
    configured = {**({"alias": alias} if alias else {}), **terraform.configured(settings)}
    whole = {
        COMMENT: title,
        "terraform": {"required_version": _TERRAFORM, "required_providers": writer.required(wanted)},
        "provider": {name: template(_free(configured), writer.find) for name in writer.required(wanted)},
        **({"variable": declared} if declared else {}),
        **({"data": data} if data else {}),
        **({"resource": written["resource"]} if written["resource"] else {}),  # it refuses an empty one
        "output": {name: _output(_free(value), writer, secrets) for name, value in outputs.items()},
    }
    return Exported(whole, writer.gaps())


def outputs_of(plan: CloudPlan, planning: Planning, said: Callable[[str], str] = str) -> dict[str, Any]:
    """Give what a stack exports, with references in it; `said` rewrites the texts of the binding."""
    binding = _said(planning.binding_values(plan), said)
    services = {name: Json(own) for name, own in service_bindings(plan.topology, binding).items()}
    return {"polybus": binding, "bindings": services, **planning.exports(plan)}


def _said(value: Any, said: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _said(item, said) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_said(item, said) for item in value]
    return said(value) if isinstance(value, str) else value


def _output(value: Any, writer: _Writer, secrets: frozenset[str]) -> dict[str, Any]:
    """Write an output; what a secret is part of has to be one itself."""
    hidden = any(ref.resource == EXPRESSION and ref.output in secrets for ref in refs(value))
    return {"value": template(value, writer.find), **({"sensitive": True} if hidden else {})}


def _declared(one: Variable) -> Mapping[str, Any]:
    return {"type": "string", "description": one.description, **({"sensitive": True} if one.sensitive else {})}


def _free(value: Any) -> Any:
    """Replace marked texts by references, at any depth, inside of JSON and joined texts too."""
    if isinstance(value, Json):
        return Json(_free(value.value))
    if isinstance(value, Join):
        freed = [_free(part) for part in value.parts]
        return Join(tuple(one for part in freed for one in (part.parts if isinstance(part, Join) else (part,))))
    if isinstance(value, Mapping):
        return {_free_key(key): _free(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_free(item) for item in value]
    return unmarked(value)


def _free_key(key: str) -> str:
    if "\0" in key:
        raise ConfigError("a variable can't be the name of a tag or of anything else in a table, only its value")
    return key


class _Writer:
    """Writes the blocks of one plan."""

    def __init__(self, resources: Sequence[Resource], terraform: Terraform, blocks: Mapping[str, Block]) -> None:
        self._resources = {resource.name: resource for resource in resources}
        self._terraform = terraform
        self._blocks = blocks
        named = {name for one in resources for name in (*one.after, *(ref.resource for ref in refs(one.properties)))}
        self._last = {one.name for one in resources if one.name in named and one.type in terraform.last}

    def find(self, ref: Ref) -> str:
        """Give the expression for a reference."""
        if ref.resource == EXPRESSION:
            return ref.output
        type_ = self._resources[ref.resource].type
        known = self._terraform.outputs.get(type_, {})
        if ref.output not in known:
            raise UnsupportedFeature(f"{ref.resource}: {type_} has no output {ref.output!r} in Terraform that is known")
        return known[ref.output].format(self._address(ref.resource))

    def blocks(self, *, protect: bool, alias: str | None) -> dict[str, dict[str, Any]]:
        """Give what is made and what is read, each by type and label."""
        found: dict[str, dict[str, Any]] = {"resource": {}, "data": {}}
        for name, resource in self._resources.items():
            block = self._blocks[name]
            written = dict(self._written(resource, block, protect=protect, alias=alias))
            found["data" if block.data else "resource"].setdefault(block.type, {})[address(name)] = written
        return found

    def required(self, version: Version) -> dict[str, dict[str, str]]:
        """Give the providers that blocks need, with a version and newer, below the next major one."""
        others = sorted({block.provider for block in self._blocks.values() if block.provider})
        sources = {self._terraform.provider: self._terraform.source}
        sources |= {name: self._terraform.others[name] for name in others}
        bounds = f">= {shown(version)}, < {version[0] + 1}.0.0"
        return {name: {"source": source, "version": bounds} for name, source in sources.items()}

    def gaps(self) -> dict[str, Sequence[Gap]]:
        """Give what the provider can't be told, by address."""
        return {self._address(name): gaps for name in self._blocks if (gaps := self.gaps_of(name))}

    def gaps_of(self, name: str) -> Sequence[Gap]:
        """Give what the provider can't be told of one resource."""
        return (*self._blocks[name].gaps, *((_STAYS,) if self._resources[name].stays else ()))

    def _address(self, name: str) -> str:
        block = self._blocks[name]
        return f"{'data.' if block.data else ''}{block.type}.{address(name)}"

    def _written(
        self, resource: Resource, block: Block, *, protect: bool, alias: str | None
    ) -> Iterator[tuple[str, Any]]:
        if self.gaps_of(resource.name):
            yield COMMENT, "; ".join(gap.words for gap in self.gaps_of(resource.name))
        if alias is not None or block.provider:
            provider = block.provider or self._terraform.provider
            yield "provider", f"{provider}.{alias}" if alias else provider
        yield from template(_free(block.arguments), self.find).items()
        if resource.after:
            yield "depends_on", [self._address(name) for name in resource.after]
        lifecycle = {"prevent_destroy": True} if protect and resource.keeps_messages else {}
        if resource.name in self._last:
            # Otherwise Terraform deletes what is planned no more before it changes what named it.
            lifecycle["create_before_destroy"] = True
        if lifecycle:
            yield "lifecycle", lifecycle
