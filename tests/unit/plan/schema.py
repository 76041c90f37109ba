"""Holds a document to a JSON schema, of the kinds that run_schemas.py writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Schemas", "schemas"]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
    "any": (object,),
}


class Schemas:
    """The definitions of one file."""

    def __init__(self, text: str) -> None:
        found = json.loads(text)
        self.roots: Mapping[str, str] = found["roots"]
        self._definitions: Mapping[str, Any] = found["$defs"]

    def problems(self, kind: str, document: Any) -> list[str]:
        """List what is wrong with a document of a kind, each with where."""
        return list(self._look(self._definitions[self.roots[kind]], document, kind))

    def of(self, definition: str, document: Any) -> list[str]:
        """List what is wrong with a part, by the name of its definition."""
        return list(self._look(self._definitions[definition], document, definition))

    def _look(self, schema: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
        if "$ref" in schema:
            yield from self._look(self._definitions[schema["$ref"]], value, place)
            return
        if "oneOf" in schema:
            ways = [list(self._look(one, value, place)) for one in schema["oneOf"]]
            if sum(not way for way in ways) != 1:
                yield f"{place}: {value!r} is not one of {schema['oneOf']}"
        if "enum" in schema and value not in schema["enum"]:
            yield f"{place}: {value!r} is none of {schema['enum']}"
        if not self._is_of(schema.get("type"), value):
            yield f"{place}: {value!r} is no {schema['type']}"
        elif isinstance(value, dict):
            yield from self._table(schema, value, place)
        elif isinstance(value, (list, tuple)):
            for at, item in enumerate(value):
                yield from self._look(schema.get("items", {}), item, f"{place}[{at}]")

    def _table(self, schema: Mapping[str, Any], value: Mapping[str, Any], place: str) -> Iterator[str]:
        known = schema.get("properties", {})
        yield from (f"{place}: lacks {name}" for name in schema.get("required", ()) if name not in value)
        others = schema.get("additionalProperties", {})
        for name, item in value.items():
            if name in known:
                yield from self._look(known[name], item, f"{place}.{name}")
            elif others is False:
                yield f"{place}: has no {name}"
            elif isinstance(others, dict):
                yield from self._look(others, item, f"{place}.{name}")

    def _is_of(self, types: str | list[str] | None, value: Any) -> bool:
        if types is None:
            return True
        several = [types] if isinstance(types, str) else types
        if isinstance(value, bool):
            return "boolean" in several
        return any(isinstance(value, _TYPES[one]) for one in several)


def schemas(name: str) -> Schemas:
    return Schemas((Path(__file__).parent / "run_schemas" / f"{name}.json").read_text())
