"""Random Avro schemas, changes of them, and messages: none of polybus's own code but the type of a union's value."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from polybus.contracts.avro_schema import Branch

NAMES = st.sampled_from(["a", "b", "c", "d"])
PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
LOGICAL: list[Any] = [
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1},
    {"type": "long", "logicalType": "nobody-knows"},
]
PROMOTED = {"int": ["long", "float", "double"], "long": ["float", "double"], "float": ["double"], "string": ["bytes"]}
SYMBOLS = ["X", "Y", "Z"]


class Names:
    """Gives each type of a schema a name of its own, often one that the other schema has too."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.taken: dict[str, str] = {}

    def new(self, kind: str) -> str:
        free = [name for name in ("R", "S", "T", "E", "F", "ns.R", "ns.G") if name not in self.taken]
        free += [f"N{len(self.taken)}"]
        name = self._draw(st.sampled_from(free))
        self.taken[name] = kind
        return name


def _type(draw: st.DrawFn, names: Names, deep: int) -> Any:
    kinds = ["primitive"] * 4 + ["logical", "enum", "fixed"]
    if deep < 2:
        kinds += ["record", "array", "map", "union", "union"]
    if names.taken:
        kinds += ["again"]
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        return draw(st.sampled_from(PRIMITIVES))
    if kind == "logical":
        return copy.deepcopy(draw(st.sampled_from(LOGICAL)))
    if kind == "again":
        return draw(st.sampled_from(sorted(names.taken)))
    if kind == "enum":
        symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
        found = {"type": "enum", "name": names.new("enum"), "symbols": symbols}
        return {**found, "default": symbols[0]} if draw(st.booleans()) else found
    if kind == "fixed":
        return {"type": "fixed", "name": names.new("fixed"), "size": draw(st.integers(0, 2))}
    if kind == "array":
        return {"type": "array", "items": _type(draw, names, deep + 1)}
    if kind == "map":
        return {"type": "map", "values": _type(draw, names, deep + 1)}
    if kind == "union":
        return _union(draw, [_type(draw, names, deep + 1) for _ in range(draw(st.integers(1, 3)))])
    return _record(draw, names, deep + 1)


def _kind(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    return str(schema.get("name", schema["type"]))


def _union(draw: st.DrawFn, branches: list[Any]) -> Any:
    found: dict[str, Any] = {}
    for branch in branches:
        for each in branch if isinstance(branch, list) else [branch]:
            found.setdefault(_kind(each), each)
    return list(found.values())


def _record(draw: st.DrawFn, names: Names, deep: int) -> Any:
    name = names.new("record")
    fields = [
        _field(draw, field, _type(draw, names, deep))
        for field in draw(st.lists(NAMES, min_size=0 if deep else 1, max_size=3, unique=True))
    ]
    return {"type": "record", "name": name, "fields": fields}


DEFAULTS = {
    "null": [None],
    "boolean": [True],
    "int": [0, -5],
    "long": [0, 1 << 40],
    "float": [0, 1.5],
    "double": [0, 1.5],
    "bytes": ["", "\u00ff"],
    "string": ["", "x"],
    "array": [[]],
    "map": [{}],
}


def _field(draw: st.DrawFn, name: str, kind: Any) -> dict[str, Any]:
    found = {"name": name, "type": kind}
    first = kind[0] if isinstance(kind, list) else kind
    plain = first if isinstance(first, str) else first["type"]
    if isinstance(first, dict) and "logicalType" in first and plain in ("bytes", "string"):
        return found
    if plain in DEFAULTS and draw(st.booleans()):
        found["default"] = draw(st.sampled_from(DEFAULTS[plain]))
        if isinstance(first, dict) and plain in ("int", "long"):
            found["default"] = 0
    elif plain == "enum" and draw(st.booleans()):
        found["default"] = first["symbols"][0]
    if draw(st.integers(0, 5)) == 0:
        found["aliases"] = [draw(NAMES)]
    return found


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    """Give a schema of a message."""
    names = Names(draw)
    found = _record(draw, names, 0)
    if draw(st.booleans()):
        found["namespace"] = "shop"
    return found if well_formed(found) else {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}


def well_formed(schema: Any) -> bool:
    from polybus.contracts.avro_schema import IllFormed, read

    try:
        read(schema)
    except (IllFormed, RecursionError):
        return False
    return True


def places(schema: Any) -> list[dict[str, Any]]:
    """Return all objects within a schema, fields included."""
    found: list[dict[str, Any]] = []
    if isinstance(schema, list):
        for each in schema:
            found += places(each)
    elif isinstance(schema, dict):
        found.append(schema)
        for word in ("type", "items", "values"):
            found += places(schema.get(word))
        for each in schema.get("fields", ()):
            found += places(each)
    return found


@st.composite
def changed(draw: st.DrawFn, schema: Any) -> Any:
    """Give a schema with a few places changed."""
    found = copy.deepcopy(schema)
    for _ in range(draw(st.integers(0, 2))):
        candidate = copy.deepcopy(found)
        _change(draw, draw(st.sampled_from(places(candidate))))
        if well_formed(candidate):
            found = candidate
    return found


def _change(draw: st.DrawFn, at: dict[str, Any]) -> None:
    if "fields" in at:
        kind = draw(st.sampled_from(["add", "remove", "name", "alias", "turn"]))
        fields = at["fields"]
        if kind == "add":
            fields.insert(0, _field(draw, draw(NAMES), _type(draw, Names(draw), 2)))
        elif kind == "remove" and fields:
            fields.pop(draw(st.integers(0, len(fields) - 1)))
        elif kind == "turn":
            fields.reverse()
        else:
            _rename(draw, at, kind)
    elif "symbols" in at:
        kind = draw(st.sampled_from(["symbols", "default", "name", "alias"]))
        if kind == "symbols":
            at["symbols"] = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
        elif kind == "default":
            at.pop("default", None) if draw(st.booleans()) else at.update(default=at["symbols"][0])
        else:
            _rename(draw, at, kind)
    elif "size" in at:
        at["size"] = draw(st.integers(0, 2)) if draw(st.booleans()) else at["size"]
        _rename(draw, at, "name")
    elif "name" in at:
        _change_field(draw, at)
    elif "logicalType" in at:
        new = copy.deepcopy(draw(st.sampled_from(LOGICAL)))
        at.clear()
        at.update(new)
    else:
        word = "items" if "items" in at else "values"
        at[word] = draw(st.sampled_from(PRIMITIVES))


def _change_field(draw: st.DrawFn, at: dict[str, Any]) -> None:
    kind = draw(st.sampled_from(["type", "promote", "nullable", "default", "rename", "alias"]))
    if kind == "type":
        at["type"] = _type(draw, Names(draw), 2)
    elif kind == "promote" and isinstance(at["type"], str) and at["type"] in PROMOTED:
        at["type"] = draw(st.sampled_from(PROMOTED[at["type"]]))
    elif kind == "nullable":
        inner = at["type"] if isinstance(at["type"], list) else [at["type"]]
        at["type"] = _union(draw, ["null", *inner] if draw(st.booleans()) else [*inner, "null"])
    elif kind == "default":
        at.pop("default", None)
    elif kind == "rename":
        at["aliases"] = [at["name"]]
        at["name"] = draw(NAMES)
    else:
        at["aliases"] = [draw(NAMES)]
    if "default" in at and kind in ("type", "nullable", "promote"):
        at.pop("default")


def _rename(draw: st.DrawFn, at: dict[str, Any], kind: str) -> None:
    if kind == "alias":  # within its namespace: fastavro takes an alias without one for a name in any
        at["aliases"] = [at["name"]]
        at["name"] = at["name"].rpartition(".")[0] + "." * ("." in at["name"]) + draw(st.sampled_from(["R", "S", "Q"]))
    else:
        at.pop("aliases", None)
        at["name"] = draw(st.sampled_from(["R", "S", "other.R", "other.E"]))


def messages(schema: Any) -> st.SearchStrategy[Any]:
    """Give messages of a schema, as the values that Avro has: numbers for dates, Branch for what is of a union.

    The strategy is empty where there are none, since a record holds itself.
    """
    named: dict[str, tuple[Any, str]] = {}
    _collect(schema, "", named)
    return _values(schema, "", named, 0)


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _collect(schema: Any, namespace: str, named: dict[str, tuple[Any, str]]) -> None:
    if isinstance(schema, list):
        for each in schema:
            _collect(each, namespace, named)
    elif isinstance(schema, dict):
        if "name" in schema and schema["type"] in ("record", "enum", "fixed"):
            full = _full(schema["name"], schema.get("namespace", namespace))
            namespace = full.rpartition(".")[0]
            named[full] = (schema, namespace)
        for each in schema.get("fields", ()):
            _collect(each["type"], namespace, named)
        for word in ("items", "values"):
            _collect(schema.get(word), namespace, named)


def _ints(bits: int) -> st.SearchStrategy[int]:
    edge = 1 << bits
    return st.sampled_from([0, 1, -1, 63, 64, -65, edge - 1, -edge])


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": _ints(31),
    "long": _ints(63),
    "float": st.sampled_from([0.0, -1.5, 2.0**100]),
    "double": st.sampled_from([0.0, -1.5, 1e300]),
    "bytes": st.sampled_from([b"", b"a", b"\xff\x00"]),
    "string": st.sampled_from(["", "a", "\u00e4\u4e16", "a" * 70]),
}
MEANT: dict[str, st.SearchStrategy[Any]] = {
    "date": st.sampled_from([0, -1, 20_000]),
    "time-millis": st.sampled_from([0, 86_399_999]),
    "uuid": st.just("0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77"),
    "decimal": st.sampled_from([b"\x00", b"\x01", b"\xd8\xf1"]),
}
KEYS = st.sampled_from(["", "k"])
TIMES = st.sampled_from([0, 1, -1, 1_700_000_000_000])


def _values(schema: Any, namespace: str, named: dict[str, tuple[Any, str]], deep: int) -> st.SearchStrategy[Any]:
    def within(inner: Any) -> st.SearchStrategy[Any]:
        return _values(inner, namespace, named, deep + 1)

    if isinstance(schema, list):
        branches = list(enumerate(schema))
        if deep > 6:  # a schema that holds itself ends somewhere
            simple = [each for each in branches if isinstance(each[1], str) and each[1] in SCALARS]
            branches = simple or branches
        return st.one_of(
            [within(each).map(lambda value, index=index: Branch(index, value)) for index, each in branches]
        )
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind in SCALARS:
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        if logical is None or logical == "nobody-knows":
            return SCALARS[kind]
        return MEANT.get(logical, TIMES)
    if isinstance(schema, str):
        full = _full(schema, namespace)
        found, inner_namespace = named.get(full) or named[schema]
        if deep > 12:
            return st.nothing()
        return _values(found, inner_namespace, named, deep + 1)
    if kind == "enum":
        return st.sampled_from(schema["symbols"])
    if kind == "fixed":
        return st.sampled_from([b"\xff" * schema["size"], b"a" * schema["size"]])
    if kind in ("array", "map"):
        inner = within(schema["items" if kind == "array" else "values"])
        if deep > 6 or inner.is_empty:
            return st.just([] if kind == "array" else {})
        return st.lists(inner, max_size=2) if kind == "array" else st.dictionaries(KEYS, inner, max_size=2)
    space = _full(schema["name"], schema.get("namespace", namespace)).rpartition(".")[0]
    return st.fixed_dictionaries(
        {each["name"]: _values(each["type"], space, named, deep + 1) for each in schema["fields"]}
    )
