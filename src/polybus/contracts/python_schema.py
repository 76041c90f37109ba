"""The JSON Schema of a Python type: what its encoder writes, and its decoder takes.

It is made from what msgspec says of a type. msgspec's own schemas have no word for some of what it checks: a date
without a time zone is a text there, like any other, and its change to one would be seen by nobody.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import inspect as types

__all__ = ["schema_of"]


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a type; raises TypeError for one that has none."""
    if (model := _model_schema(annotation)) is not None:
        return model
    made = _Made()
    root = made.of(types.type_info(annotation))
    return {**root, **({"$defs": made.definitions} if made.definitions else {})}


def _model_schema(annotation: Any) -> dict[str, Any] | None:
    """Return what a pydantic model or dataclass says of itself."""
    if callable(getattr(annotation, "model_json_schema", None)):
        found: dict[str, Any] = annotation.model_json_schema()
        return found
    if hasattr(annotation, "__pydantic_validator__"):
        from pydantic import TypeAdapter

        return TypeAdapter(annotation).json_schema()
    return None


_PLAIN: dict[type, dict[str, Any]] = {
    types.AnyType: {},
    types.NoneType: {"type": "null"},
    types.BoolType: {"type": "boolean"},
    types.DateType: {"type": "string", "format": "date"},
    types.UUIDType: {"type": "string", "format": "uuid"},
    types.DecimalType: {"type": "string", "format": "decimal"},
    types.TimeDeltaType: {"type": "string", "format": "duration"},
}
_BOUNDS = (
    ("ge", "minimum"),
    ("gt", "exclusiveMinimum"),
    ("le", "maximum"),
    ("lt", "exclusiveMaximum"),
    ("multiple_of", "multipleOf"),
)


class _Made:
    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[type, str] = {}

    def of(self, info: types.Type) -> dict[str, Any]:
        """Return the schema of a part of the type."""
        for kind, made in self._makers():
            if isinstance(info, kind):
                return made(info)
        raise TypeError(f"{getattr(info, 'cls', type(info)).__name__} has no JSON Schema")

    def _makers(self) -> Iterable[tuple[Any, Callable[[Any], dict[str, Any]]]]:
        yield types.Metadata, lambda info: self.of(info.type)
        yield tuple(_PLAIN), lambda info: dict(_PLAIN[type(info)])
        yield types.IntType, lambda info: {"type": "integer", **_said(info, _BOUNDS)}
        yield types.FloatType, lambda info: {"type": "number", **_said(info, _BOUNDS)}
        yield types.StrType, _text
        yield types.DateTimeType, lambda info: {"type": "string", "format": _zoned("date-time", info.tz)}
        yield types.TimeType, lambda info: {"type": "string", "format": _zoned("time", info.tz)}
        yield (types.BytesType, types.ByteArrayType, types.MemoryViewType), _octets
        yield (types.EnumType, types.LiteralType), _values
        yield types.UnionType, lambda info: {"anyOf": [self.of(each) for each in info.types]}
        yield types.TupleType, self._tuple
        yield types.DictType, self._mapping
        yield types.CollectionType, self._list
        yield (types.StructType, types.DataclassType, types.TypedDictType, types.NamedTupleType), self._named
        yield types.CustomType, self._custom

    def _tuple(self, info: types.TupleType) -> dict[str, Any]:
        parts = [self.of(each) for each in info.item_types]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts), "maxItems": len(parts)}

    def _list(self, info: types.CollectionType) -> dict[str, Any]:
        return {"type": "array", "items": self.of(info.item_type), **_said(info, _lengths("Items"))}

    def _mapping(self, info: types.DictType) -> dict[str, Any]:
        if not isinstance(info.key_type, types.AnyType) and info.key_type != types.StrType():
            raise TypeError("a dict whose keys are not str has no JSON Schema that could be compared")
        others = self.of(info.value_type)
        return {"type": "object", "additionalProperties": others or True, **_said(info, _lengths("Properties"))}

    def _custom(self, info: types.CustomType) -> dict[str, Any]:
        found = _model_schema(info.cls)
        if found is None:
            raise TypeError(f"{info.cls.__name__} has no JSON Schema")
        self.definitions.update(found.pop("$defs", {}))
        return found

    def _named(self, info: Any) -> dict[str, Any]:
        """Return a reference to the schema of a class, which may refer to itself."""
        name = self._names.get(info.cls)
        if name is None:
            name = self._names[info.cls] = self._free(info.cls.__name__)
            self.definitions[name] = {}
            self.definitions[name] = self._of_class(info)
        return {"$ref": f"#/$defs/{name}"}

    def _free(self, name: str) -> str:
        while name in self.definitions:
            name += "_"
        return name

    def _of_class(self, info: Any) -> dict[str, Any]:
        fields = info.fields
        if isinstance(info, types.NamedTupleType) or getattr(info, "array_like", False):
            parts = [self.of(field.type) for field in fields]
            tag = [{"const": info.tag}] if getattr(info, "tag", None) is not None else []
            least = len(tag) + sum(field.required for field in fields)
            return {"type": "array", "prefixItems": [*tag, *parts], "minItems": least}
        properties = {field.encode_name: self.of(field.type) for field in fields}
        required = [field.encode_name for field in fields if field.required]
        if getattr(info, "tag_field", None) is not None:
            properties = {info.tag_field: {"const": info.tag}, **properties}
            required = [info.tag_field, *required]
        closed = {"additionalProperties": False} if getattr(info, "forbid_unknown_fields", False) else {}
        title = {"title": info.cls.__name__}
        return {**title, "type": "object", "properties": properties, "required": required, **closed}


def _said(info: Any, words: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {word: value for name, word in words if (value := getattr(info, name)) is not None}


def _lengths(of: str) -> tuple[tuple[str, str], ...]:
    return (("min_length", f"min{of}"), ("max_length", f"max{of}"))


def _text(info: types.StrType) -> dict[str, Any]:
    return {"type": "string", **_said(info, (*_lengths("Length"), ("pattern", "pattern")))}


def _octets(info: Any) -> dict[str, Any]:
    return {"type": "string", "contentEncoding": "base64"}


def _zoned(name: str, zone: bool | None) -> str:
    return name if zone is None else f"{name} {'with' if zone else 'without'} a time zone"


def _values(info: types.EnumType | types.LiteralType) -> dict[str, Any]:
    if isinstance(info, types.LiteralType):
        return {"enum": list(info.values)}
    members: Iterable[enum.Enum] = info.cls
    return {"enum": [msgspec.to_builtins(member) for member in members]}
