"""Whether a text is an Avro schema, by the rules of https://avro.apache.org/docs/1.11.1/specification/."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

__all__ = ["avro_problem"]

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FULL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class _Wrong(Exception):
    pass


def avro_problem(text: str) -> str | None:
    """Return what is wrong with an Avro schema, or None."""
    try:
        _check(json.loads(text), set(), "")
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    except _Wrong as wrong:
        return str(wrong)
    return None


def _check(schema: object, names: set[str], namespace: str) -> None:
    if isinstance(schema, str):
        if schema not in _PRIMITIVES and schema not in names and f"{namespace}.{schema}" not in names:
            raise _Wrong(f"there is no type {schema!r}")
    elif isinstance(schema, list):
        _check_union(schema, names, namespace)
    elif isinstance(schema, dict):
        _check_complex(schema, names, namespace)
    else:
        raise _Wrong(f"{schema!r} is no type")


def _check_union(branches: list[object], names: set[str], namespace: str) -> None:
    if not branches:
        raise _Wrong("a union has no branches")
    for branch in branches:
        if isinstance(branch, list):
            raise _Wrong("a union holds another union")
        _check(branch, names, namespace)


def _check_complex(schema: Mapping[str, object], names: set[str], namespace: str) -> None:
    kind = schema.get("type")
    if kind in ("record", "error", "enum", "fixed"):
        namespace = _define(schema, names, namespace)
    if kind in ("record", "error"):
        _check_fields(schema.get("fields"), names, namespace)
    elif kind == "enum":
        _check_symbols(schema.get("symbols"))
    elif kind == "fixed":
        size = schema.get("size")
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise _Wrong(f"fixed {schema.get('name')!r} has no size")
    elif kind == "array":
        _check(schema.get("items"), names, namespace)
    elif kind == "map":
        _check(schema.get("values"), names, namespace)
    else:
        _check(kind, names, namespace)


def _define(schema: Mapping[str, object], names: set[str], namespace: str) -> str:
    name, own = schema.get("name"), schema.get("namespace", namespace)
    if not isinstance(name, str) or not _FULL_NAME.fullmatch(name):
        raise _Wrong(f"{name!r} is no name for a {schema.get('type')}")
    if not isinstance(own, str) or (own and not _FULL_NAME.fullmatch(own)):
        raise _Wrong(f"{own!r} is no namespace")
    full = name if "." in name or not own else f"{own}.{name}"
    if full in names:
        raise _Wrong(f"{full} is defined twice")
    names.add(full)
    return full.rpartition(".")[0]


def _check_fields(fields: object, names: set[str], namespace: str) -> None:
    if not isinstance(fields, list):
        raise _Wrong("a record has no list of fields")
    seen: set[str] = set()
    for field in fields:
        name = field.get("name") if isinstance(field, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _Wrong(f"{name!r} is no name for a field")
        if name in seen:
            raise _Wrong(f"field {name} is there twice")
        seen.add(name)
        _check(field.get("type"), names, namespace)


def _check_symbols(symbols: object) -> None:
    if not isinstance(symbols, list) or not symbols:
        raise _Wrong("an enum has no symbols")
    for symbol in symbols:
        if not isinstance(symbol, str) or not _NAME.fullmatch(symbol):
            raise _Wrong(f"{symbol!r} is no symbol for an enum")
    if len(set(symbols)) < len(symbols):
        raise _Wrong("an enum has a symbol twice")
