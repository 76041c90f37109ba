"""Values of a plan in Terraform's two notations: JSON with templates in its strings, and expressions inside of those.

What the provider wants as JSON text becomes `jsonencode(...)` where there are references in it, so that whatever they
stand for is quoted as JSON wants it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from polybus.plan.values import Join, Json, Ref, refs

__all__ = ["Find", "expression", "template", "text"]

Find = Callable[[Ref], str]
"""Gives the expression for what a reference stands for."""

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text(value: str) -> str:
    """Write a text so that Terraform finds no template in it."""
    return value.replace("${", "$${").replace("%{", "%%{")


def template(value: Any, find: Find) -> Any:
    """Write a value as Terraform's JSON syntax has it: references are `${...}` in strings."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Ref):
        return f"${{{find(value)}}}"
    if isinstance(value, Join):
        return "".join(template(part, find) for part in value.parts)
    if isinstance(value, Json):
        if next(refs(value.value), None) is not None:
            return f"${{jsonencode({expression(value.value, find)})}}"
        return text(json.dumps(value.value, separators=(",", ":")))
    if isinstance(value, Mapping):
        return {str(key): template(item, find) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [template(item, find) for item in value]
    return _plain(value)


def expression(value: Any, find: Find) -> str:
    """Write a value as an expression."""
    if isinstance(value, str):
        return f'"{_quoted(value)}"'
    if isinstance(value, Ref):
        return find(value)
    if isinstance(value, Join):
        return '"' + "".join(_inside(part, find) for part in value.parts) + '"'
    if isinstance(value, Json):
        return f"jsonencode({expression(value.value, find)})"
    if isinstance(value, Mapping):
        pairs = (f"{expression(str(key), find)} = {expression(item, find)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(expression(item, find) for item in value) + "]"
    return json.dumps(_plain(value))


def _inside(part: str | Ref, find: Find) -> str:
    return _quoted(part) if isinstance(part, str) else f"${{{find(part)}}}"


def _quoted(value: str) -> str:
    written = "".join(_ESCAPES.get(one, one if one >= " " else f"\\u{ord(one):04x}") for one in value)
    return text(written)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} is no value of a plan")
