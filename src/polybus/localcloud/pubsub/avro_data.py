"""Whether bytes are a value of an Avro schema, in Avro's binary or JSON encoding (Avro 1.11.1, its specification)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["AvroType"]

_RANGES = {"int": 1 << 31, "long": 1 << 63}
# Items of no bytes, such as nulls, could be announced without end.
_MOST_ITEMS = 1_000_000


class _Wrong(Exception):
    pass


class AvroType:
    """A schema that was found to be one (see `avro`); `binary` and `json` return what is wrong with data, or None."""

    def __init__(self, definition: str) -> None:
        self._names: dict[str, Any] = {}
        self._root = json.loads(definition)
        self._collect(self._root, "")

    def _collect(self, schema: Any, namespace: str) -> None:
        """Find what is named, and name what is in the namespace around it in full."""
        if isinstance(schema, list):
            for branch in schema:
                self._collect(branch, namespace)
        elif isinstance(schema, dict):
            if schema.get("type") in ("record", "error", "enum", "fixed"):
                own = schema.get("namespace", namespace)
                full = schema["name"] if "." in schema["name"] or not own else f"{own}.{schema['name']}"
                self._names[full] = schema
                schema["name"] = full
                namespace = full.rpartition(".")[0]
            schema["~"] = namespace
            for inner in ("items", "values", "type"):
                if isinstance(schema.get(inner), dict | list):
                    self._collect(schema[inner], namespace)
            for field in schema.get("fields", ()) if schema.get("type") in ("record", "error") else ():
                field["~"] = namespace
                self._collect(field["type"], namespace)

    def _resolve(self, schema: Any, namespace: str) -> tuple[Any, str]:
        """Return a type's own schema, or the name of a primitive, and the namespace in it."""
        while True:
            if isinstance(schema, str):
                found = self._names.get(schema) or self._names.get(f"{namespace}.{schema}")
                return (schema, namespace) if found is None else (found, found["~"])
            if isinstance(schema, list):
                return schema, namespace
            namespace = schema.get("~", namespace)
            kind = schema["type"]
            if kind in ("record", "error", "enum", "fixed", "array", "map"):
                return schema, namespace
            schema = kind

    def binary(self, data: bytes) -> str | None:
        reader = _Reader(data)
        return _problem(lambda: self._read_all(reader))

    def _read_all(self, reader: _Reader) -> None:
        self._read(self._root, "", reader)
        if reader.at != len(reader.data):
            raise _Wrong(f"{len(reader.data) - reader.at} bytes are left over")

    def json(self, data: bytes) -> str | None:
        def check() -> None:
            self._check(self._root, "", json.loads(data), "$")

        return _problem(check)

    # -- binary

    def _read(self, schema: Any, namespace: str, reader: _Reader) -> None:
        found, inner = self._resolve(schema, namespace)
        if isinstance(found, list):
            self._read(found[reader.index(len(found), "union")], inner, reader)
        elif isinstance(found, str):
            reader.primitive(found)
        elif found["type"] in ("record", "error"):
            for field in found["fields"]:
                self._read(field["type"], inner, reader)
        elif found["type"] == "enum":
            reader.index(len(found["symbols"]), "enum")
        elif found["type"] == "fixed":
            reader.take(found["size"])
        else:
            self._read_blocks(found, inner, reader)

    def _read_blocks(self, found: Mapping[str, Any], namespace: str, reader: _Reader) -> None:
        keyed = found["type"] == "map"
        while count := reader.long():
            if count < 0:
                count = -count
                reader.long()  # the block's size
            reader.items += count
            if reader.items > _MOST_ITEMS:
                raise _Wrong(f"there are more than {_MOST_ITEMS} items")
            for _ in range(count):
                if keyed:
                    reader.primitive("string")
                self._read(found["values" if keyed else "items"], namespace, reader)

    # -- JSON

    def _check(self, schema: Any, namespace: str, value: Any, at: str) -> None:
        found, inner = self._resolve(schema, namespace)
        if isinstance(found, list):
            self._check_union(found, inner, value, at)
        elif isinstance(found, str):
            _check_primitive(found, value, at)
        elif found["type"] in ("record", "error"):
            self._check_record(found, inner, value, at)
        elif found["type"] in ("enum", "fixed"):
            _check_named(found, value, at)
        else:
            self._check_items(found, inner, value, at)

    def _check_record(self, found: Mapping[str, Any], namespace: str, value: Any, at: str) -> None:
        names = [field["name"] for field in found["fields"]]
        if not isinstance(value, dict) or value.keys() != set(names):
            raise _Wrong(f"{at} must be an object of {', '.join(names) or 'no fields'}")
        for field in found["fields"]:
            self._check(field["type"], namespace, value[field["name"]], f"{at}.{field['name']}")

    def _check_items(self, found: Mapping[str, Any], namespace: str, value: Any, at: str) -> None:
        keyed = found["type"] == "map"
        if not isinstance(value, dict if keyed else list):
            raise _Wrong(f"{at} must be {'an object' if keyed else 'an array'}")
        pairs: Any = value.items() if keyed else enumerate(value)  # type: ignore[union-attr] # checked above
        for key, item in pairs:
            self._check(found["values" if keyed else "items"], namespace, item, f"{at}.{key}")

    def _check_union(self, branches: list[Any], namespace: str, value: Any, at: str) -> None:
        """Check a value of a union: null as it is, any other in an object that names its type."""
        named = {self._label(branch, namespace): branch for branch in branches}
        if value is None and "null" in named:
            return
        if not isinstance(value, dict) or len(value) != 1 or (label := next(iter(value))) not in named:
            raise _Wrong(f"{at} must name its type, one of {', '.join(map(str, named))}")
        self._check(named[label], namespace, value[label], f"{at}.{label}")

    def _label(self, branch: Any, namespace: str) -> str:
        found, _ = self._resolve(branch, namespace)
        if isinstance(found, str):
            return found
        name: str = found.get("name") or found["type"]
        return name


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.items = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise _Wrong("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def long(self) -> int:
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= 70:
                raise _Wrong("a number has too many bytes")
        return (number >> 1) ^ -(number & 1)

    def index(self, count: int, what: str) -> int:
        found = self.long()
        if not 0 <= found < count:
            raise _Wrong(f"{what} has no branch or symbol {found}")
        return found

    def primitive(self, kind: str) -> None:
        if kind in _RANGES:
            bound = _RANGES[kind]
            if not -bound <= self.long() < bound:
                raise _Wrong(f"a number is no {kind}")
        elif kind in ("bytes", "string"):
            text = self.take(self.long())
            if kind == "string":
                text.decode()
        elif kind == "boolean":
            if self.take(1)[0] > 1:
                raise _Wrong("a boolean is neither 0 nor 1")
        elif kind != "null":
            struct.unpack("<f" if kind == "float" else "<d", self.take(4 if kind == "float" else 8))


def _check_named(found: Mapping[str, Any], value: Any, at: str) -> None:
    if found["type"] == "enum":
        if value not in found["symbols"]:
            raise _Wrong(f"{at} must be one of {', '.join(found['symbols'])}")
        return
    _check_primitive("bytes", value, at)
    if len(value) != found["size"]:
        raise _Wrong(f"{at} must have {found['size']} bytes")


def _check_primitive(kind: str, value: Any, at: str) -> None:
    number = isinstance(value, int) and not isinstance(value, bool)
    good = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "int": number and -(1 << 31) <= value < 1 << 31,
        "long": number and -(1 << 63) <= value < 1 << 63,
        "float": number or isinstance(value, float),
        "double": number or isinstance(value, float),
        "string": isinstance(value, str),
        "bytes": isinstance(value, str) and all(ord(character) < 256 for character in value),
    }[kind]
    if not good:
        raise _Wrong(f"{at} must be {kind}")


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except _Wrong as wrong:
        return str(wrong)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None
