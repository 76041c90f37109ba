"""A plan's values as Pulumi's: every reference becomes the output of the child that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from polybus.plan.values import Join, Json, Ref

__all__ = ["folded", "whole"]


def folded(value: Any, find: Callable[[Ref], pulumi.Output[Any]]) -> Any:
    """Replace references by outputs, at any depth.

    Mappings and lists stay plain, with outputs as leaves: what is known stays known in a preview.
    """
    if isinstance(value, Ref):
        return find(value)
    if isinstance(value, Join):
        return pulumi.Output.concat(*(folded(part, find) for part in value.parts))
    if isinstance(value, Json):
        # As compact as clouds give it back: some providers compare it as text.
        return pulumi.Output.json_dumps(folded(value.value, find), separators=(",", ":"))
    if isinstance(value, Mapping):
        return {key: folded(item, find) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [folded(item, find) for item in value]
    return value


def whole(value: Any) -> Any:
    """Write whole numbers as such again, at any depth: across a wire of Pulumi's every number is a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value
