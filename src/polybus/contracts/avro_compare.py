"""Whether a reader by one Avro schema takes all that a writer by another may send: the rules of resolution.

Sound for the specification and for fastavro, which reads: where the two differ, what either refuses is refused. Where
something is found its example is tried by fastavro itself; a gap whose example is read all the same is undecided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

from polybus.contracts.avro_example import smallest, with_item, with_value
from polybus.contracts.avro_file import Versions
from polybus.contracts.avro_schema import ABSENT, Branch, Field, Node, Schema, parsed
from polybus.contracts.avro_wire import Refused, body_of, value_of
from polybus.contracts.breaks import NONE, Gap

__all__ = ["gaps", "gaps_of_schemas"]

_PROMOTED = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    # Of bytes the specification makes a string too, and not all bytes are one: that breaks, with an example.
}


def gaps(writer: Versions, reader: Versions) -> list[Gap]:
    """Return where a reader doesn't take what a writer may send, by their schemas and by what the reader knows."""
    found = gaps_of_schemas(writer.own, reader.own)
    if not reader.knows(writer.own):
        found.insert(0, _unknown(writer.own))
    return found


def _unknown(schema: Schema) -> Gap:
    detail = (
        f"the schema of the fingerprint {schema.fingerprint.hex()} is sent, and readers have no copy of it: put one "
        "beside theirs (order.NAME.avsc beside order.avsc), and deploy them first"
    )
    example = smallest(schema.node)
    return Gap("schema-not-known", "$", detail, example, decided=example is not NONE)


def gaps_of_schemas(writer: Schema, reader: Schema) -> list[Gap]:
    """Return where a reader that knows both schemas doesn't take what the writer's says."""
    found = _Comparison().within(writer.node, reader.node, "$")
    return [_tried(gap, writer.node, reader.node) for gap in found]


def _tried(gap: Gap, writer: Node, reader: Node) -> Gap:
    """Keep an example only where it is one: fastavro doesn't read it, by both schemas."""
    if gap.example is NONE:
        return replace(gap, decided=False)
    if gap.rule == "meaning-changed":
        return gap  # it is read, and means something else
    from fastavro import schemaless_reader

    try:
        body = body_of(writer, gap.example)
    except (Refused, RecursionError):
        return replace(gap, example=NONE, decided=False)
    try:
        schemaless_reader(BytesIO(body), parsed(writer), parsed(reader))
    except Exception:  # noqa: BLE001 - whatever it is, the message isn't read
        return gap
    return replace(gap, example=NONE, decided=False)


class _Comparison:
    def __init__(self) -> None:
        # Pairs that are being compared: a schema within itself is as good as the rest of it is.
        self._assumed: set[tuple[int, int]] = set()

    def within(self, writer: Node, reader: Node, place: str) -> list[Gap]:
        pair = (id(writer), id(reader))
        if pair in self._assumed:
            return []
        before = set(self._assumed)
        self._assumed.add(pair)
        found = list(self._compared(writer, reader, place))
        if found:
            self._assumed = before  # nor does what was found with its help stand
        return found

    def _compared(self, writer: Node, reader: Node, place: str) -> Iterable[Gap]:
        if writer.kind == "union":
            for index, item in enumerate(writer.items):
                for gap in self.within(item, reader, place):
                    yield _inside(gap, lambda inner, index=index: Branch(index, inner))
        elif reader.kind == "union":
            yield from self._in_union(writer, reader, place)
        elif not _alike(writer, reader):
            yield _unlike(writer, reader, place)
        else:
            yield from self._of_same_kind(writer, reader, place)

    def _in_union(self, writer: Node, reader: Node, place: str) -> Iterable[Gap]:
        # The first type that matches is read, says the specification, also where a later one would match better.
        near = next((item for item in reader.items if _alike(writer, item)), None)
        if near is None:
            yield _unlike(writer, reader, place)
        else:
            yield from self.within(writer, near, place)

    def _of_same_kind(self, writer: Node, reader: Node, place: str) -> Iterable[Gap]:
        if writer.logical != reader.logical:
            yield _meaning(writer, reader, place)
        match writer.kind:
            case "bytes" if reader.kind == "string":
                yield Gap("type-narrowed", place, "bytes that are no text may be sent, and string is read", b"\xff")
            case "enum":
                yield from _symbols(writer, reader, place)
            case "fixed" if writer.size != reader.size:
                detail = f"{writer.size} bytes are sent, and {reader.size} are read"
                yield Gap("size-changed", place, detail, smallest(writer))
            case "array" | "map":
                for gap in self.within(writer.items[0], reader.items[0], f"{place}[]"):
                    yield _inside(gap, lambda inner: with_item(writer, inner))
            case "record":
                yield from self._fields(writer, reader, place)

    def _fields(self, writer: Node, reader: Node, place: str) -> Iterator[Gap]:
        matched = _matched(writer, reader)
        for name, (theirs, ours) in matched.items():
            for gap in self.within(theirs.node, ours.node, f"{place}.{name}"):
                yield _inside(gap, lambda inner, theirs=theirs: with_value(writer, theirs.name, inner))
        for each in reader.fields:
            inner = f"{place}.{each.name}"
            if each.name not in matched and each.default is ABSENT:
                detail = "it has to be there or to have a default, and isn't sent"
                yield Gap("required-field-added", inner, detail, smallest(writer))
        for name, more in _ambiguous(writer, reader):
            detail = f"{' and '.join(more)} are sent, and could each be it by its name and aliases"
            yield Gap("alias-ambiguous", f"{place}.{name}", detail, smallest(writer))


def _matched(writer: Node, reader: Node) -> dict[str, tuple[Field, Field]]:
    """Pair fields by their names, then by the reader's aliases; by the reader's name of each."""
    sent = {each.name: each for each in writer.fields}
    found: dict[str, tuple[Field, Field]] = {}
    for each in reader.fields:
        names = (each.name, *sorted(each.aliases))
        theirs = next((sent[name] for name in names if name in sent), None)
        if theirs is not None:
            found[each.name] = (theirs, each)
    return found


def _ambiguous(writer: Node, reader: Node) -> Iterator[tuple[str, list[str]]]:
    """Give the reader's fields that may be one or another of the writer's, and such as share one, with these names."""
    sent = {each.name for each in writer.fields}
    claimed: dict[str, str] = {}
    own = {each.name for each in reader.fields}
    for each in reader.fields:
        names = sorted(({each.name} | each.aliases) & sent)
        shared = [name for name in names if name in claimed or (name != each.name and name in own)]
        if len(names) > 1 or shared:
            yield each.name, names
        claimed |= dict.fromkeys(names, each.name)


def _alike(writer: Node, reader: Node) -> bool:
    """Say whether the two are types that may be read as each other, whatever is within them."""
    if writer.kind != reader.kind:
        return reader.kind in _PROMOTED.get(writer.kind, ()) or (writer.kind, reader.kind) == ("bytes", "string")
    return not writer.name or writer.short == reader.short or writer.name in reader.aliases


def _unlike(writer: Node, reader: Node, place: str) -> Gap:
    ours = ", ".join(item.shown for item in reader.items) if reader.kind == "union" else reader.shown
    renamed = bool(writer.name) and any(item.kind == writer.kind for item in (reader, *reader.items))
    rule = "name-changed" if renamed else "type-narrowed"
    return Gap(rule, place, f"{writer.shown} may be sent, and {ours} is read", smallest(writer))


def _symbols(writer: Node, reader: Node, place: str) -> Iterable[Gap]:
    gone = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
    if gone and reader.default is None:
        detail = f"{', '.join(gone)} may be sent, is none that is read, and there is no default for it"
        yield Gap("value-removed", place, detail, gone[0])


def _meaning(writer: Node, reader: Node, place: str) -> Gap:
    detail = f"{_meant(writer)} may be sent, and {_meant(reader)} is read"
    example = _ONES.get(writer.kind, smallest(writer))
    try:
        same = value_of(writer, example) == value_of(reader, example)
    except ValueError:  # the reader's type has no such value
        same = False
    return Gap("meaning-changed", place, detail, NONE if same else example)


# Values that each meaning makes another of, as far as one does: a zero is the same in any unit.
_ONES = {"int": 1, "long": 1, "bytes": b"\x01"}


def _meant(node: Node) -> str:
    if node.logical is None:
        return f"a plain {node.kind}"
    name, precision, scale = node.logical
    return f"{name}({precision}, {scale})" if name == "decimal" else name


def _inside(gap: Gap, make: Any) -> Gap:
    return gap if gap.example is NONE else replace(gap, example=make(gap.example))
