"""A filter in Pub/Sub's own language.

    (attributes.region="eu" AND NOT attributes:test AND NOT attributes:polybus_to) OR attributes.polybus_to="1a2b3c4d"

Its NOT is the plain complement, so a negated test holds without the attribute as ours does. AND and OR may not stand
side by side without parentheses. A key with anything but letters, digits, `_` and `-` stands in quotes.
Source: "Filter messages from a subscription", Google Cloud documentation.
"""

from __future__ import annotations

import json
import re

from polybus.clouds.gcp.limits import GCP
from polybus.topology.filters import All, Any, Filter, Literal, Normal, OneOf, Present, StartsWith, normal_form

__all__ = ["compile_filter", "filter_problem"]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_REDRIVE = "polybus_to"


def compile_filter(filter_: Filter | None, tag: str) -> str:
    """Compile a filter, wrapped so that what is redriven to `tag` reaches this subscription alone."""
    mine = f"attributes.{_REDRIVE}={_quoted(tag)}"
    if filter_ is None:
        return f"NOT attributes:{_REDRIVE} OR {mine}"
    form = normal_form(filter_)
    declared = _expression(form) if isinstance(form, All) else _operand(form)
    return f"({declared} AND NOT attributes:{_REDRIVE}) OR {mine}"


def filter_problem(filter_: Filter | None, tag: str) -> str | None:
    """Say why Pub/Sub can't have a filter, or None."""
    size = len(compile_filter(filter_, tag).encode())
    if size <= GCP.filter_bytes.most:
        return None
    return f"{size} bytes once compiled and wrapped for redrive, of {GCP.filter_bytes.most}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else _quoted(name)


def _operand(form: Normal) -> str:
    """Write a form so that it can stand beside an AND, OR or NOT."""
    several = isinstance(form, (All, Any)) or (isinstance(form.test, OneOf) and len(form.test.values) > 1)
    bare = isinstance(form, Literal) and form.negated  # a NOT carries its own parentheses
    return f"({_expression(form)})" if several and not bare else _expression(form)


def _expression(form: Normal) -> str:
    match form:
        case All(items):
            return " AND ".join(_operand(item) for item in items)
        case Any(items):
            return " OR ".join(_operand(item) for item in items)
        case Literal(name, test, True):
            return f"NOT {_operand(Literal(name, test))}"
        case Literal(name, OneOf(values)):
            return " OR ".join(f"attributes.{_key(name)}={_quoted(value)}" for value in values)
        case Literal(name, StartsWith(prefix)):
            return f"hasPrefix(attributes.{_key(name)}, {_quoted(prefix)})"
        case Literal(name, Present()):
            return f"attributes:{_key(name)}"
    raise AssertionError(form)
