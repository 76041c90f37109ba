"""What a cloud says of Terraform: which provider has its resources, and how each of them is written there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from polybus.errors import ConfigError
from polybus.plan.values import Ref, Resource

__all__ = ["EXPRESSION", "Block", "Gap", "Terraform", "Version", "as_written", "shown", "version_of"]

Version: TypeAlias = tuple[int, ...]

EXPRESSION = "="
"""Where a reference names this in place of a resource, its output is an expression of Terraform's, as it stands."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def as_written(text: str) -> Ref:
    """Return what stands for an expression of Terraform's, wherever a reference may stand."""
    return Ref(EXPRESSION, text)


@dataclass(frozen=True, slots=True)
class Gap:
    """What is planned and can't be told to the provider: the argument there, and in words what becomes of it."""

    argument: str
    words: str


@dataclass(frozen=True, slots=True)
class Block:
    """A resource as Terraform has it, or with `data` what is only read.

    `arguments` are values as a plan has them, references to the plan's other resources included. `provider` is one of
    `Terraform.others` that has the resource, "" where the cloud's own does.
    """

    type: str
    arguments: Mapping[str, Any]
    data: bool = False
    gaps: tuple[Gap, ...] = ()
    provider: str = ""


def _nothing(settings: Any) -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Terraform:
    """How a cloud's plan becomes Terraform: the part `terraform` of a `polybus.cloud.Cloud`.

    `provider` is the provider's local name, `source` where it comes from. `newest` is the version whose names are
    known, and the one that is written for where none is asked; none older than `oldest` is written for. `others` are
    the sources of providers that single types need, by local name; their versions go with the first one's.

    `translate(resource, version)` gives the block for one resource of a plan; raises UnsupportedFeature for a type that
    it doesn't know, and drops nothing without a `Gap`. `outputs` says for each type of resource what a reference's
    output is, by the output's name, with {} where the block's address goes. `last` are the types that the cloud refuses
    to delete as long as another resource of the plan names them, as a rule names alarms. `configured(settings)` gives
    the arguments of the provider's own block, `beside(settings)` what the document has beside the plan, by kind of
    block, type and name.
    """

    provider: str
    source: str
    newest: str
    oldest: str
    translate: Callable[[Resource, Version], Block]
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _NOTHING)
    others: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    last: frozenset[str] = frozenset()
    configured: Callable[[Any], Mapping[str, Any]] = _nothing
    beside: Callable[[Any], Mapping[str, Any]] = _nothing


def version_of(text: str) -> Version:
    """Read a version, such as 5.100.0 or 6.8; raises ConfigError for what is none."""
    if not re.fullmatch(r"\d+(\.\d+){1,2}", text, re.ASCII):
        raise ConfigError(f"a provider's version: found {text!r}; allowed: two or three numbers, such as 5.100.0")
    major, minor, *patch = (int(part) for part in text.split("."))
    return (major, minor, *(patch or [0]))


def shown(version: Version) -> str:
    """Write a version as people do."""
    return ".".join(str(number) for number in version)
