"""Avro schemas: read by the rules of the specification, which the library leaves open in places."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from polybus.errors import MissingExtra

__all__ = ["ABSENT", "Branch", "Field", "IllFormed", "Node", "Schema", "datum_of", "loads", "parsed", "plain", "read"]

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED: Final = frozenset({"record", "error", "enum", "fixed"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FULL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
# Of what an Avro schema may say of a value's meaning; others than these are not known to the specification.
_LOGICAL: Final[Mapping[str, frozenset[str]]] = {
    "int": frozenset({"date", "time-millis"}),
    "long": frozenset(
        {
            "time-micros",
            "timestamp-millis",
            "timestamp-micros",
            "timestamp-nanos",
            "local-timestamp-millis",
            "local-timestamp-micros",
            "local-timestamp-nanos",
        }
    ),
    "bytes": frozenset({"decimal", "big-decimal"}),
    "fixed": frozenset({"decimal", "duration", "uuid"}),
    "string": frozenset({"uuid"}),
}
ABSENT: Final[Any] = object()
"""Stands for a default that isn't there, since None is one."""


class IllFormed(ValueError):
    """What is wrong with a schema, and where."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A value of a union, with the number of its branch."""

    index: int
    value: Any


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record; `default` is as JSON has it, ABSENT where there is none."""

    name: str
    node: Node
    aliases: frozenset[str] = frozenset()
    default: Any = ABSENT


@dataclass(slots=True, eq=False)
class Node:
    """One type of a schema; names are full ones.

    `items` are the branches of a union, or the one type within an array or map. `logical` is what the specification
    knows of its meaning, with precision and scale, None where it says nothing.
    """

    kind: str
    name: str = ""
    aliases: frozenset[str] = frozenset()
    fields: tuple[Field, ...] = ()
    symbols: tuple[str, ...] = ()
    default: str | None = None
    size: int = 0
    items: tuple[Node, ...] = ()
    logical: tuple[str, int, int] | None = None

    @property
    def short(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]

    @property
    def shown(self) -> str:
        """What to call it in a text."""
        named = f"{self.kind} {self.name}" if self.name else self.kind
        return named if self.logical is None else f"{named} ({self.logical[0]})"


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema: as it was written, and as it is read. `fingerprint` is the CRC-64 of the specification, in 8 bytes."""

    source: Any = field(repr=False)
    node: Node = field(repr=False)
    fingerprint: bytes


def read(source: Any, *, message: bool = True) -> Schema:
    """Return a schema from what its JSON says: that of a message is a record. Raises IllFormed, MissingExtra."""
    try:
        from fastavro.schema import fingerprint, to_parsing_canonical_form
    except ImportError:
        raise MissingExtra("fastavro", "avro") from None
    node = _Reader().node(source, "", "$")
    if message and node.kind != "record":
        raise IllFormed(f"at $: {node.kind} is no message: a record is")
    _check_defaults(node, "$", set())
    form = to_parsing_canonical_form(_Writer().of(node))
    return Schema(source, node, bytes.fromhex(fingerprint(form, "CRC-64-AVRO")))


def parsed(node: Node) -> Any:
    """Return a type as fastavro takes it."""
    from fastavro.schema import parse_schema

    return parse_schema(_Writer().of(node))


class _Reader:
    def __init__(self) -> None:
        self._named: dict[str, Node] = {}

    def node(self, source: Any, namespace: str, place: str) -> Node:
        if isinstance(source, str):
            return self._by_name(source, namespace, place)
        if isinstance(source, list):
            return self._union(source, namespace, place)
        if not isinstance(source, dict):
            raise IllFormed(f"at {place}: a type is a name, a list of types or an object")
        kind = source.get("type")
        if isinstance(kind, dict | list):
            return self.node(kind, namespace, place)
        if kind in _NAMED:
            return self._defined(str(kind), source, namespace, place)
        if kind == "array":
            return Node("array", items=(self.node(_part(source, "items", place), namespace, f"{place}[]"),))
        if kind == "map":
            return Node("map", items=(self.node(_part(source, "values", place), namespace, f"{place}[]"),))
        if not isinstance(kind, str):
            raise IllFormed(f"at {place}: it has no type")
        found = self._by_name(kind, namespace, place)
        return found if found.name else Node(kind, logical=_logical(kind, source, place))

    def _by_name(self, name: str, namespace: str, place: str) -> Node:
        if name in PRIMITIVES:
            return Node(name)
        full = _full(name, namespace)
        if full in self._named:
            return self._named[full]
        raise IllFormed(f"at {place}: there is no type {name!r}")

    def _union(self, branches: Sequence[Any], namespace: str, place: str) -> Node:
        items = tuple(self.node(branch, namespace, place) for branch in branches)
        if not items:
            raise IllFormed(f"at {place}: a union has no types")
        seen: set[str] = set()
        for item in items:
            known = item.name or item.kind
            if item.kind == "union":
                raise IllFormed(f"at {place}: a union holds another union")
            if known in seen:
                raise IllFormed(f"at {place}: a union has {known} twice")
            seen.add(known)
        return Node("union", items=items)

    def _defined(self, kind: str, source: Mapping[str, Any], namespace: str, place: str) -> Node:
        name, own = source.get("name"), source.get("namespace", namespace)
        if not isinstance(name, str) or not _FULL.fullmatch(name):
            raise IllFormed(f"at {place}: {name!r} is no name for a type")
        if not isinstance(own, str) or (own and not _FULL.fullmatch(own)):
            raise IllFormed(f"at {place}: {own!r} is no namespace")
        full = _full(name, own)
        if full in self._named or full in PRIMITIVES:
            raise IllFormed(f"at {place}: {full} is defined twice")
        inner = full.rpartition(".")[0]
        aliases = frozenset(_full(alias, inner) for alias in _aliases(source, place))
        node = self._named[full] = Node("record" if kind == "error" else kind, full, aliases)
        if node.kind == "record":
            node.fields = self._fields(_part(source, "fields", place), inner, place)
        elif node.kind == "enum":
            node.symbols, node.default = _symbols(source, place)
        else:
            node.size = _size(source, place)
            node.logical = _logical("fixed", source, place)
        return node

    def _fields(self, source: Any, namespace: str, place: str) -> tuple[Field, ...]:
        if not isinstance(source, list):
            raise IllFormed(f"at {place}: a record has no list of fields")
        found: dict[str, Field] = {}
        for each in source:
            name = each.get("name") if isinstance(each, dict) else None
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise IllFormed(f"at {place}: {name!r} is no name for a field")
            if name in found:
                raise IllFormed(f"at {place}.{name}: the field is there twice")
            inner = f"{place}.{name}"
            node = self.node(_part(each, "type", inner), namespace, inner)
            found[name] = Field(name, node, frozenset(_aliases(each, inner)), each.get("default", ABSENT))
        return tuple(found.values())


def _part(source: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in source:
        raise IllFormed(f"at {place}: it has no {name}")
    return source[name]


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _aliases(source: Mapping[str, Any], place: str) -> list[str]:
    found = source.get("aliases", [])
    if not isinstance(found, list) or not all(isinstance(each, str) and _FULL.fullmatch(each) for each in found):
        raise IllFormed(f"at {place}: aliases are a list of names")
    return found


def _symbols(source: Mapping[str, Any], place: str) -> tuple[tuple[str, ...], str | None]:
    symbols, default = source.get("symbols"), source.get("default")
    if not isinstance(symbols, list) or not symbols:
        raise IllFormed(f"at {place}: an enum has no symbols")
    for symbol in symbols:
        if not isinstance(symbol, str) or not _NAME.fullmatch(symbol):
            raise IllFormed(f"at {place}: {symbol!r} is no symbol for an enum")
    if len(set(symbols)) < len(symbols):
        raise IllFormed(f"at {place}: an enum has a symbol twice")
    if default is not None and default not in symbols:
        raise IllFormed(f"at {place}: the default of an enum is none of its symbols")
    return tuple(symbols), default


def _size(source: Mapping[str, Any], place: str) -> int:
    size = source.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise IllFormed(f"at {place}: a fixed has no size")
    return size


def _logical(kind: str, source: Mapping[str, Any], place: str) -> tuple[str, int, int] | None:
    name = source.get("logicalType")
    if name not in _LOGICAL.get(kind, ()):
        return None  # an unknown one is ignored, says the specification
    if name != "decimal":
        return str(name), 0, 0
    precision, scale = source.get("precision"), source.get("scale", 0)
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision or precision < 1:
        raise IllFormed(f"at {place}: a decimal has a precision of 1 or more, and a scale of 0 up to it")
    return "decimal", precision, scale


class _Writer:
    """Writes a type as JSON, with full names; each named one at its first place."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def of(self, node: Node) -> Any:
        if node.kind == "union":
            return [self.of(item) for item in node.items]
        if node.kind in ("array", "map"):
            return {"type": node.kind, "items" if node.kind == "array" else "values": self.of(node.items[0])}
        if node.name in self._seen and node.name:
            return node.name
        found: dict[str, Any] = {"type": node.kind}
        if node.logical is not None:
            name, precision, scale = node.logical
            found["logicalType"] = name
            if name == "decimal":
                found |= {"precision": precision, "scale": scale}
        if not node.name:
            return found if len(found) > 1 else node.kind
        self._seen.add(node.name)
        found |= {"name": node.name, "aliases": sorted(node.aliases)}
        if "." not in node.name:
            found["namespace"] = ""  # not that of the type around it
        if node.kind == "record":
            found["fields"] = [self._field(each) for each in node.fields]
        elif node.kind == "enum":
            found["symbols"] = list(node.symbols)
            found |= {} if node.default is None else {"default": node.default}
        else:
            found["size"] = node.size
        return found

    def _field(self, each: Field) -> dict[str, Any]:
        default = {} if each.default is ABSENT else {"default": each.default}
        return {"name": each.name, "type": self.of(each.node), "aliases": sorted(each.aliases), **default}


def _check_defaults(node: Node, place: str, seen: set[str]) -> None:
    if node.name in seen and node.name:
        return
    seen.add(node.name)
    for item in node.items:
        _check_defaults(item, place, seen)
    for each in node.fields:
        inner = f"{place}.{each.name}"
        if each.default is not ABSENT:
            try:
                datum_of(each.node, each.default)
            except (ValueError, RecursionError):
                raise IllFormed(f"at {inner}: the default is no {each.node.shown}") from None
        _check_defaults(each.node, inner, seen)


def datum_of(node: Node, value: Any) -> Any:
    """Return what a default in JSON stands for; raise ValueError where it is none of that type."""
    if node.kind == "union":
        for index, item in enumerate(node.items):
            try:
                return Branch(index, datum_of(item, value))
            except ValueError:
                continue
    elif node.kind == "array" and isinstance(value, list):
        return [datum_of(node.items[0], each) for each in value]
    elif node.kind == "map" and isinstance(value, dict):
        return {name: datum_of(node.items[0], each) for name, each in value.items()}
    elif node.kind == "record" and isinstance(value, dict):
        return _record(node, value)
    elif _is_plain(node, value):
        if node.kind in ("float", "double"):
            return float(value)
        return value.encode("latin-1") if node.kind in ("bytes", "fixed") else value
    raise ValueError(node.kind)


def _is_plain(node: Node, value: Any) -> bool:
    """Say whether JSON has a value of a type that holds no other."""
    match node.kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            bits = 31 if node.kind == "int" else 63
            return type(value) is int and -1 << bits <= value < 1 << bits
        case "float" | "double":
            return type(value) in (int, float)
        case "enum":
            return value in node.symbols
    return isinstance(value, str) and (node.kind != "fixed" or len(value) == node.size)


def _record(node: Node, value: Mapping[str, Any]) -> dict[str, Any]:
    if value.keys() - {each.name for each in node.fields}:
        raise ValueError(node.kind)
    found = {}
    for each in node.fields:
        given = value.get(each.name, each.default)
        if given is ABSENT:
            raise ValueError(node.kind)
        found[each.name] = datum_of(each.node, given)
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON shows it, for people: bytes by their Latin-1 characters, as Avro's defaults have them."""
    if isinstance(value, Branch):
        return plain(value.value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


def loads(text: str) -> Schema:
    """Return a schema from its text; raise IllFormed, MissingExtra."""
    try:
        source = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IllFormed(f"not JSON: {error}") from None
    return read(source)
