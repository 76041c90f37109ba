"""JSON Schema in a form that can be compared: of each schema, the alternatives that it allows.

A schema is read for one of two sides. Who writes keeps to the properties that are declared, where there are any and
nothing is said of others (`additionalProperties`): that is what is checked at publish. Who reads takes others too, as
JSON Schema has it. So a property can be added without a word about those that nobody declared.

What is written in words that this form has no place for (`not`, `if`, `patternProperties`, references to other files)
is kept as it is, and compared by its text alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

__all__ = [
    "Alternative",
    "Anything",
    "List",
    "Node",
    "Number",
    "Object",
    "Opaque",
    "Text",
    "Values",
    "canonical",
    "ill_formed",
    "read",
]

# Words that say nothing of what is allowed. `format` isn't among them: types read dates and the like by it.
_ANNOTATIONS = frozenset(
    (
        *("$schema", "$id", "$anchor", "$comment", "$defs", "definitions"),
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
        *("discriminator", "contentMediaType"),
    )
)
_NUMBER = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
_TEXT = frozenset(("minLength", "maxLength", "pattern", "format", "contentEncoding"))
_LIST = frozenset(("items", "prefixItems", "minItems", "maxItems", "uniqueItems"))
_OBJECT = frozenset(("properties", "required", "additionalProperties", "minProperties", "maxProperties"))
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
_KNOWN = _NUMBER | _TEXT | _LIST | _OBJECT | {"type"}


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever JSON can say."""


@dataclass(frozen=True, slots=True)
class Values:
    """Some values, by their canonical text."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Number:
    """Numbers within bounds; `open_low` and `open_high` leave the bound itself out."""

    integer: bool = False
    low: Fraction | None = None
    high: Fraction | None = None
    open_low: bool = False
    open_high: bool = False
    multiple: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Texts by their length, pattern, and format (`encoding` is how bytes are in it)."""

    least: int = 0
    most: int | None = None
    pattern: str | None = None
    format: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class List:
    """Lists: those in `prefix` first, then `items`."""

    prefix: tuple[Node, ...]
    items: Node
    least: int = 0
    most: int | None = None
    unique: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """Objects: `others` is what properties may hold that aren't declared."""

    properties: Mapping[str, Node]
    required: frozenset[str]
    others: Node
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """What can't be compared but by its text; `schema` is what a validator reads, `root` has its references."""

    text: str
    schema: Any = field(compare=False)
    root: Any = field(compare=False, repr=False)
    why: str = field(default="", compare=False)


Alternative = Anything | Values | Number | Text | List | Object | Opaque


class Node:
    """A place in a schema; complete once the schema is read, since schemas refer to themselves.

    `groups` are the nodes of a `oneOf`, of which exactly one has to hold.
    """

    __slots__ = ("_flat", "exclusive", "parts")

    def __init__(self) -> None:
        self.parts: list[Node | Alternative] = []
        self.exclusive: tuple[Node, ...] = ()
        self._flat: tuple[Alternative, ...] | None = None

    @property
    def alternatives(self) -> tuple[Alternative, ...]:
        """All that is allowed here, one of which has to hold."""
        if self._flat is None:
            self._flat = tuple(_flat(self, set()))
        return self._flat

    @property
    def itself(self) -> Node:
        """The node that this one is but a reference to, or this one."""
        node, seen = self, {id(self)}
        while len(node.parts) == 1 and not node.exclusive and isinstance(only := node.parts[0], Node):
            if id(only) in seen:
                break
            seen.add(id(only))
            node = only
        return node

    @property
    def nested(self) -> Iterator[Node]:
        """This node, and those that it passes on to."""
        seen: set[int] = set()
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                waiting.extend(part for part in node.parts if isinstance(part, Node))


def _flat(node: Node, seen: set[int]) -> Iterator[Alternative]:
    if id(node) in seen:
        return
    seen.add(id(node))
    for part in node.parts:
        if isinstance(part, Node):
            yield from _flat(part, seen)
        else:
            yield part


def canonical(value: Any) -> str:
    """Return a text that is the same for values that JSON Schema takes for the same: 1 and 1.0, but not true and 1."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def ill_formed(schema: Any) -> Iterator[tuple[str, str]]:
    """Give the places of a schema that no message can be checked by, each with why."""
    seen: set[int] = set()
    waiting = [("$", read(schema, writes=False))]
    while waiting:
        place, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for part in node.parts:
            if isinstance(part, Node):
                waiting.append((place, part))
            elif isinstance(part, Opaque) and part.why.startswith(_WRONG):
                yield place, part.why
            elif isinstance(part, List):
                waiting += [(f"{place}[]", each) for each in (*part.prefix, part.items)]
            elif isinstance(part, Object):
                waiting += [(f"{place}.{name}", each) for name, each in part.properties.items()]
                waiting.append((f"{place}[...]", part.others))


_WRONG = ("a schema that", "a reference", "the type", "a bound", "`multipleOf`")


def read(schema: Any, *, writes: bool) -> Node:
    """Read a whole schema, for who writes by it or for who reads by it."""
    return _Reader(schema, writes).node(schema)


class _Unread(Exception):
    """A word that this form has no place for; says which."""


class _Reader:
    def __init__(self, root: Any, writes: bool) -> None:
        self._root = root
        self._writes = writes
        self._by_pointer: dict[str, Node] = {}

    def node(self, schema: Any) -> Node:
        node = Node()
        self._fill(node, schema)
        return node

    def _fill(self, node: Node, schema: Any) -> None:
        try:
            node.parts.extend(self._parts(node, schema))
        except (_Unread, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            del node.parts[:]
            node.exclusive = ()
            text = canonical([schema, _definitions(self._root) if "$ref" in canonical(schema) else None])
            why = str(error) if isinstance(error, _Unread) else "a schema that isn't well formed"
            node.parts.append(Opaque(text, schema, self._root, why))

    def _parts(self, node: Node, schema: Any) -> list[Node | Alternative]:
        if schema is True:
            return [Anything()]
        if schema is False:
            return []
        if not isinstance(schema, Mapping):
            raise _Unread("a schema that is no object")
        words = {word for word in schema if word not in _ANNOTATIONS}
        if not words:
            return [Anything()]
        for word in ("$ref", "const", "enum", "anyOf", "oneOf", "allOf"):
            if word in words:
                return self._combined(node, word, words - {word}, schema)
        if unknown := words - _KNOWN:
            raise _Unread(f"`{min(unknown)}`")
        return [part for kind in _kinds(schema) for part in self._of_kind(kind, schema)]

    def _combined(self, node: Node, word: str, others: set[str], schema: Mapping[str, Any]) -> list[Node | Alternative]:
        value = schema[word]
        if word in ("const", "enum"):
            if others - {"type"}:
                raise _Unread(f"`{word}` beside `{min(others - {'type'})}`")
            kinds = _kinds(schema)
            values = [each for each in ([value] if word == "const" else value) if _is_of(each, kinds)]
            return [Values({canonical(each): each for each in values})]
        if others:
            raise _Unread(f"`{word}` beside `{min(others)}`")
        if word == "$ref":
            return [self._referred(value)]
        nodes = [self.node(each) for each in value]
        if word == "allOf" and len(nodes) != 1:
            raise _Unread("`allOf`")
        if word == "oneOf":
            node.exclusive = tuple(nodes)
        return list(nodes)

    def _referred(self, pointer: Any) -> Node:
        found = self._by_pointer.get(pointer)
        if found is None:
            target = _at(self._root, pointer)
            found = self._by_pointer[pointer] = Node()
            self._fill(found, target)
        return found

    def _of_kind(self, kind: str, schema: Mapping[str, Any]) -> list[Alternative]:
        match kind:
            case "null":
                return [Values({"null": None})]
            case "boolean":
                return [Values({"false": False, "true": True})]
            case "integer" | "number":
                return [_number(schema, integer=kind == "integer")]
            case "string":
                return [_text(schema)]
            case "array":
                return [self._list(schema)]
            case _:
                return [self._object(schema)]

    def _list(self, schema: Mapping[str, Any]) -> List:
        items = schema.get("items", True)
        if isinstance(items, list):
            raise _Unread("`items` as a list, which `prefixItems` is today")
        prefix = tuple(self.node(each) for each in schema.get("prefixItems", ()))
        return List(
            prefix,
            self.node(items),
            _count(schema, "minItems") or 0,
            _count(schema, "maxItems"),
            schema.get("uniqueItems") is True,
        )

    def _object(self, schema: Mapping[str, Any]) -> Object:
        declared = schema.get("properties", {})
        others = schema.get("additionalProperties", not (self._writes and declared))
        return Object(
            {name: self.node(each) for name, each in declared.items()},
            frozenset(schema.get("required", ())),
            self.node(others),
            _count(schema, "minProperties") or 0,
            _count(schema, "maxProperties"),
        )


def _kinds(schema: Mapping[str, Any]) -> tuple[str, ...]:
    said = schema.get("type", [kind for kind in _TYPES if kind != "integer"])
    kinds = (said,) if isinstance(said, str) else tuple(said)
    if unknown := [kind for kind in kinds if kind not in _TYPES]:
        raise _Unread(f"the type {unknown[0]!r}")
    return tuple(kind for kind in kinds if not (kind == "integer" and "number" in kinds))


def _is_of(value: Any, kinds: Sequence[str]) -> bool:
    match value:
        case None:
            return "null" in kinds
        case bool():
            return "boolean" in kinds
        case int() | float():
            return "number" in kinds or ("integer" in kinds and float(value).is_integer())
        case str():
            return "string" in kinds
        case list():
            return "array" in kinds
        case _:
            return "object" in kinds


def _number(schema: Mapping[str, Any], *, integer: bool) -> Number:
    low, open_low = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, open_high = _bound(schema, "maximum", "exclusiveMaximum", min)
    multiple = _fraction(schema["multipleOf"]) if "multipleOf" in schema else None
    if multiple is not None and multiple <= 0:
        raise _Unread("`multipleOf` that isn't over 0")
    return Number(integer, low, high, open_low, open_high, multiple)


def _bound(schema: Mapping[str, Any], closed: str, opened: str, tighter: Any) -> tuple[Fraction | None, bool]:
    at = _fraction(schema[closed]) if closed in schema else None
    beyond = _fraction(schema[opened]) if opened in schema else None
    if at is None or beyond is None:
        return (at, False) if beyond is None else (beyond, True)
    return (at, False) if at != beyond and tighter(at, beyond) == at else (beyond, True)


def _fraction(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unread("a bound that is no number")
    return Fraction(str(value))  # as it is written: 0.1 is a tenth, whatever its nearest float is


def _text(schema: Mapping[str, Any]) -> Text:
    return Text(
        _count(schema, "minLength") or 0,
        _count(schema, "maxLength"),
        schema.get("pattern"),
        schema.get("format"),
        schema.get("contentEncoding"),
    )


def _count(schema: Mapping[str, Any], word: str) -> int | None:
    value = schema.get(word)
    if value is None:
        return None
    if isinstance(value, bool) or value != int(value) or value < 0:
        raise _Unread(f"`{word}` that is no count")
    return int(value)


def _definitions(root: Any) -> Any:
    return {word: root[word] for word in ("$defs", "definitions") if isinstance(root, Mapping) and word in root}


def _at(root: Any, pointer: Any) -> Any:
    if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
        raise _Unread(f"a reference that leaves the file, {pointer!r}")
    found = root
    for part in pointer[2:].split("/") if pointer != "#" else ():
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise _Unread(f"a reference to what isn't there, {pointer!r}")
        found = found[name]
    return found
