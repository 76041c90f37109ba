"""Which properties of a resource AWS doesn't change: another value means another resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.clouds.aws.plan.provider_facts import FACTS

__all__ = ["IMMUTABLE", "replaces"]

IMMUTABLE: Mapping[str, frozenset[str]] = {type_: facts.immutable for type_, facts in FACTS.items()}


def replaces(property_: str, old: Any, new: Any) -> bool | None:
    """Say whether a parameter is replaced: its tier is never lowered (CustomizeDiff in ssm/parameter.go)."""
    return (old, new) == ("Advanced", "Standard") if property_ == "tier" else None
