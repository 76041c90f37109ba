"""Which changes of an Avro schema are allowed: what fastavro reads of random messages of random schemas decides."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.unit.contracts.avro_random import changed, messages, schemas

from polybus.contracts.avro_compare import gaps, gaps_of_schemas
from polybus.contracts.avro_file import Versions
from polybus.contracts.avro_schema import IllFormed, read
from polybus.contracts.avro_wire import Reader, body_of, encoded
from polybus.contracts.breaks import NONE
from polybus.errors import DecodeError


def reads(writer: Any, reader: Any, message: Any) -> bool:
    """Say whether fastavro reads a message, to the end of it."""
    body = io.BytesIO(body_of(read(writer).node, message))
    fastavro.schemaless_reader(io.BytesIO(body.getvalue()), writer)  # it is one of the writer's
    try:
        fastavro.schemaless_reader(body, writer, reader)
    except Exception:  # noqa: BLE001 - whatever it is, the message isn't read
        return False
    return body.read() == b""


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_an_allowed_change_breaks_no_message_and_a_refused_one_has_one_that_breaks(data: st.DataObject) -> None:
    old = data.draw(schemas())
    new = data.draw(st.one_of(changed(old), schemas()))
    for writer, reader in ((old, new), (new, old)):
        found = gaps_of_schemas(read(writer), read(reader))
        every = messages(writer)
        assume(not every.is_empty)
        if not found:
            for message in data.draw(st.lists(every, min_size=1, max_size=4)):
                assert reads(writer, reader, message), (writer, reader, message)
        for gap in found:
            assert gap.decided == (gap.example is not NONE)
            if gap.decided and gap.rule != "meaning-changed":
                assert not reads(writer, reader, gap.example), (writer, reader, gap)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_allowed_is_read_by_those_who_know_the_schema(data: st.DataObject) -> None:
    old = data.draw(schemas())
    new = data.draw(changed(old))
    writer, reader = read(old), Versions(read(new), (read(old),))
    every = messages(old)
    assume(not every.is_empty)
    if not gaps(Versions(writer), reader):
        Reader(reader.own, reader.known)(encoded(writer, data.draw(every)))


def record(*fields: Any, name: str = "Order", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


STATE = {"type": "enum", "name": "State", "symbols": ["OPEN", "PAID"]}
FEWER = {"type": "enum", "name": "State", "symbols": ["OPEN"]}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
ID = field("id", "long")


@pytest.mark.parametrize(
    ("old", "new", "rule", "place"),
    [
        (record(ID), record(ID, field("who", "string")), "required-field-added", "$.who"),
        (record(ID), record(ID, field("who", "string", default="")), None, ""),
        (record(ID, field("who", "string")), record(ID), None, ""),
        (record(field("id", "int")), record(field("id", "double")), None, ""),
        (record(ID), record(field("id", "int")), "type-narrowed", "$.id"),
        (record(ID), record(field("id", ["null", "long"])), None, ""),
        (record(field("id", ["null", "long"])), record(ID), "type-narrowed", "$.id"),
        (record(field("id", ["null", "int"])), record(field("id", ["long", "null"])), None, ""),
        (record(field("s", STATE)), record(field("s", FEWER)), "value-removed", "$.s"),
        (record(field("s", FEWER)), record(field("s", STATE)), None, ""),
        (record(field("s", STATE)), record(field("s", {**FEWER, "default": "OPEN"})), None, ""),
        (record(field("raw", "bytes")), record(field("raw", "string")), "type-narrowed", "$.raw"),
        (record(field("raw", "string")), record(field("raw", "bytes")), None, ""),
        (record(field("old", "long")), record(field("new", "long", aliases=["old"])), None, ""),
        (record(field("old", "long")), record(field("new", "long")), "required-field-added", "$.new"),
        (record(ID), record(ID, name="Purchase"), "name-changed", "$"),
        (record(ID), record(ID, name="Purchase", aliases=["Order"]), None, ""),
        (record(ID, namespace="a"), record(ID, namespace="b"), None, ""),
        (
            record(field("f", {"type": "fixed", "name": "F", "size": 1})),
            record(field("f", {"type": "fixed", "name": "F", "size": 2})),
            "size-changed",
            "$.f",
        ),
        (record(field("at", MILLIS)), record(field("at", MICROS)), "meaning-changed", "$.at"),
        (record(field("at", "long")), record(field("at", MILLIS)), "meaning-changed", "$.at"),
        (record(field("at", {"type": "long", "logicalType": "own"})), record(field("at", "long")), None, ""),
        (
            record(field("lines", {"type": "array", "items": record(ID, name="Line")})),
            record(field("lines", {"type": "array", "items": record(ID, field("n", "int"), name="Line")})),
            "required-field-added",
            "$.lines[].n",
        ),
        (
            record(field("a", "long"), field("b", "long")),
            record(field("b", "long", aliases=["a"])),
            "alias-ambiguous",
            "$.b",
        ),
    ],
)
def test_a_refusal_names_its_rule_and_place(old: Any, new: Any, rule: str | None, place: str) -> None:
    found = gaps_of_schemas(read(old), read(new))
    assert [(gap.rule, gap.place) for gap in found] == ([] if rule is None else [(rule, place)])
    for gap in found:
        assert gap.decided or rule == "alias-ambiguous"
        if gap.decided and rule != "meaning-changed":
            assert not reads(old, new, gap.example)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MILLIS, MICROS),
        (MILLIS, "long"),
        ({"type": "int", "logicalType": "date"}, "long"),
        ("string", {"type": "string", "logicalType": "uuid"}),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
            {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1},
        ),
    ],
)
def test_a_changed_meaning_has_an_example_that_reads_as_something_else(one: Any, other: Any) -> None:
    for old, new in ((one, other), (other, one)):
        for gap in gaps_of_schemas(read(record(field("x", old))), read(record(field("x", new)))):
            if gap.rule == "type-narrowed":
                continue  # of a long no date is read at all
            assert (gap.rule, gap.decided) == ("meaning-changed", True)
            body = body_of(read(old, message=False).node, gap.example["x"])
            meant = fastavro.schemaless_reader(io.BytesIO(body), old)
            try:
                found = fastavro.schemaless_reader(io.BytesIO(body), new)
            except ValueError:
                continue
            assert found != meant


TREE = record(ID, field("next", ["null", "Tree"]), name="Tree")


def test_schemas_that_refer_to_themselves_are_compared() -> None:
    new = record(field("id", "string"), field("next", ["null", "Tree"]), name="Tree")
    assert gaps_of_schemas(read(TREE), read(TREE)) == []
    [gap] = gaps_of_schemas(read(TREE), read(new))
    assert gap.place == "$.id"
    assert not reads(TREE, new, gap.example)


def test_a_reader_that_has_no_copy_of_the_writer_s_schema_reads_nothing() -> None:
    old, new = read(record(ID)), read(record(ID, field("who", "string", default="")))
    [gap] = gaps(Versions(new), Versions(old))
    assert (gap.rule, gap.place) == ("schema-not-known", "$")
    with pytest.raises(DecodeError):
        Reader(old)(encoded(new, gap.example))
    assert gaps(Versions(new), Versions(old, (new,))) == []
    assert Reader(old, (new,))(encoded(new, gap.example)) == {"id": 0}
    with pytest.raises(IllFormed):
        read(record(ID, ID))
