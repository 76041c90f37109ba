"""Avro on the wire: fastavro reads what polybus writes, and other way round, by the specification's examples too."""

from __future__ import annotations

import dataclasses
import enum
import io
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import fastavro
import msgspec
import pydantic
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.unit.contracts.avro_random import messages, schemas

from polybus.avro import Avro
from polybus.codec import by_content_type, encoded
from polybus.contracts.avro_schema import Branch, IllFormed, read
from polybus.contracts.avro_wire import Refused, body_of
from polybus.errors import ConfigError, DecodeError
from polybus.message import Message

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "who", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    ],
}
SECRET = "4111111111111111"


@pytest.mark.parametrize(
    ("schema", "fingerprint"),
    # Published with the specification's reference implementation (share/test/data/schema-tests.txt).
    [("null", 7195948357588979594), ("int", 8247732601305521295), ({"type": "boolean"}, -6970731678124411036)],
)
def test_fingerprints_are_those_of_the_specification(schema: Any, fingerprint: int) -> None:
    assert read(schema, message=False).fingerprint == fingerprint.to_bytes(8, "little", signed=True)


def unwrapped(value: Any) -> Any:
    """Return a message as a reader has it, who is told no branch of a union."""
    if isinstance(value, Branch):
        return unwrapped(value.value)
    if isinstance(value, list):
        return [unwrapped(each) for each in value]
    if isinstance(value, dict):
        return {name: unwrapped(each) for name, each in value.items()}
    return value


def without_meaning(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_meaning(each) for each in schema]
    if isinstance(schema, dict):
        return {word: without_meaning(each) for word, each in schema.items() if word not in ("logicalType", "default")}
    return schema


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fastavro_reads_what_is_written(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    every = messages(schema)
    assume(not every.is_empty)
    message = data.draw(every)
    body = io.BytesIO(body_of(read(schema).node, message))
    assert fastavro.schemaless_reader(body, without_meaning(schema)) == unwrapped(message)
    assert body.read() == b""


def test_a_name_is_looked_for_in_the_namespace_around_it() -> None:
    inner = {"type": "fixed", "name": "F", "size": 1, "namespace": ""}
    outer = {"type": "record", "name": "ns.R", "fields": [field("a", inner), field("b", ["null", "R"])]}
    codec = Avro(outer)
    assert codec.decoder(dict)(codec.encode({"a": b"x", "b": None})) == {"a": b"x", "b": None}
    with pytest.raises(IllFormed, match="there is no type 'F'"):  # that would be ns.F
        read({**outer, "fields": [field("a", inner), field("b", "F")]})


def test_a_body_is_a_single_object_of_the_schema() -> None:
    codec = Avro(ORDER)
    body = codec.encode({"id": 7, "who": "ada"})
    assert codec.content_type == "avro/binary"
    assert body[:2] == b"\xc3\x01"
    assert body[2:10].hex() == codec.fingerprint
    assert body[10:] == b"\x0e\x02\x06ada\x00"
    assert codec.decoder(dict)(body) == {"id": 7, "who": "ada", "tags": []}


class State(enum.Enum):
    OPEN = "OPEN"


@dataclasses.dataclass
class Rich:
    at: datetime
    local: datetime
    day: date
    clock: time
    price: Decimal
    key: uuid.UUID
    raw: bytes
    state: State
    parts: dict[str, list[int]]
    note: str | None = None


def field(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": kind}


RICH = {
    "type": "record",
    "name": "Rich",
    "fields": [
        field("at", {"type": "long", "logicalType": "timestamp-micros"}),
        field("local", {"type": "long", "logicalType": "local-timestamp-millis"}),
        field("day", {"type": "int", "logicalType": "date"}),
        field("clock", {"type": "long", "logicalType": "time-micros"}),
        field("price", {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}),
        field("key", {"type": "string", "logicalType": "uuid"}),
        field("raw", "bytes"),
        field("state", {"type": "enum", "name": "State", "symbols": ["OPEN", "PAID"]}),
        field("parts", {"type": "map", "values": {"type": "array", "items": "int"}}),
        field("note", ["null", "string"]),
    ],
}
VALUE = Rich(
    datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_000),
    date(1969, 12, 31),
    time(23, 59, 59, 999_999),
    Decimal("-1234.5"),
    uuid.UUID("0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77"),
    b"\xff\x00",
    State.OPEN,
    {"a": [1, -1]},
)


def test_dates_decimals_and_bytes_come_back_as_they_were() -> None:
    codec = Avro(RICH)
    assert codec.decoder(Rich)(codec.encode(VALUE)) == VALUE
    east = dataclasses.replace(VALUE, at=VALUE.at.astimezone(timezone(timedelta(hours=5))))
    assert codec.encode(east) == codec.encode(VALUE)


class Model(pydantic.BaseModel):
    id: int
    who: str | None = None
    tags: list[str] = []


class Struct(msgspec.Struct):
    id: int
    who: str | None = None
    tags: list[str] = []


@pytest.mark.parametrize("kind", [Model, Struct])
def test_types_of_all_kinds_are_written_and_read(kind: Any) -> None:
    codec = Avro(ORDER)
    value = kind(id=1, who="ada", tags=["x"])
    assert codec.decoder(kind)(codec.encode(value)) == value


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"who": "x"}, "at $.id: required"),
        ({"id": SECRET}, "at $.id: long is declared"),
        ({"id": True}, "at $.id: long is declared"),
        ({"id": 1 << 63}, "at $.id: a number that is no long"),
        ({"id": 1, "who": 4111111111111111}, "at $.who: string is declared"),
        ({"id": 1, "who": "\ud800"}, "at $.who: a text with a lone surrogate"),
        ({"id": 1, "tags": ["a", None]}, "at $.tags[1]: string is declared"),
        ({"id": 1, "tags": "abc"}, "at $.tags: array is declared"),
        ({"id": 1, SECRET: "x"}, "at $[...]: a field that is not declared"),
        ([], "at $: record shop.Order is declared"),
    ],
)
def test_what_is_not_of_the_schema_is_refused_by_its_place(value: Any, told: str) -> None:
    with pytest.raises(Refused) as caught:
        Avro(ORDER).encode(value)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"at": datetime(2024, 1, 1)}, "a time with a time zone"),
        ({"local": datetime(2024, 1, 1, tzinfo=UTC)}, "a time without a time zone"),
        ({"day": datetime(2024, 1, 1)}, "date is declared"),
        ({"day": 1 << 30}, "date is declared"),
        ({"clock": time(1, tzinfo=UTC)}, "time-micros is declared"),
        ({"price": Decimal("0.001")}, "more than 2 digits after the point"),
        ({"price": Decimal("1000000.00")}, "more than 8 digits"),
        ({"price": Decimal("NaN")}, "is declared"),
        ({"price": Decimal("1e999999")}, "too many digits"),
        ({"key": "no uuid"}, "uuid is declared"),
        ({"state": "SENT"}, "one of OPEN, PAID is declared"),
    ],
)
def test_what_a_logical_type_has_no_value_for_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        Avro(RICH).encode({**dataclasses.asdict(VALUE), **change})


OLD = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "id", "type": "int"}, {"name": "gone", "type": "string"}],
}
NEW = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "raw", "type": "bytes", "default": "\u00ff"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    ],
}


def test_versions_side_by_side_are_read_as_the_own_one_says() -> None:
    reader = Avro(NEW, known=[OLD])
    read_as = reader.decoder(dict)
    old = Avro(OLD).encode({"id": 1, "gone": "x"})
    first = read_as(old)
    assert first == {"id": 1, "raw": b"\xff", "at": datetime(1970, 1, 1, tzinfo=UTC), "tags": []}
    first["tags"].append("mine")
    assert read_as(old)["tags"] == []
    assert read_as(reader.encode({"id": 2}))["id"] == 2


def test_what_can_not_be_read_says_why_and_nothing_of_the_content() -> None:
    read_as = Avro(OLD).decoder(dict)
    new = Avro(NEW)
    good = Avro(OLD).encode({"id": 1, "gone": SECRET})
    for body, told in (
        (b"", "no single object"),
        (b'{"id": 1}', "no single object"),
        (new.encode({"id": 1}), new.fingerprint),
        (good[:-1], "not what its Avro schema says"),
        (good + b"\x00", "longer"),
    ):
        with pytest.raises(DecodeError) as caught:
            read_as(body)
        assert told in str(caught.value)
        assert SECRET not in str(caught.value)


def test_a_handler_is_told_why_a_body_can_not_be_decoded() -> None:
    codec = Avro(ORDER)
    read_as = by_content_type(Struct, lambda message: message, [codec])
    message = encoded(Struct(1), codec)
    assert message.content_type == "avro/binary"
    assert read_as(message) == Struct(1)
    with pytest.raises(DecodeError, match="no single object"):
        read_as(Message(b"{}", content_type="avro/binary"))


def test_a_handler_s_own_type_holds_too() -> None:
    class Small(msgspec.Struct):
        id: int
        who: str

    codec = Avro(ORDER)
    read_as = by_content_type(Small, lambda message: message, [codec])
    with pytest.raises(DecodeError, match="not a valid"):
        read_as(Message(codec.encode({"id": 1}), content_type="avro/binary"))


@pytest.mark.parametrize("value", [math.nan, math.inf, 3.5])
def test_a_float_may_be_no_number(value: float) -> None:
    codec = Avro({"type": "record", "name": "F", "fields": [field("x", "float")]})
    [found] = codec.decoder(dict)(codec.encode({"x": value})).values()
    assert found == value or (math.isnan(found) and math.isnan(value))
    with pytest.raises(ValueError, match="no float"):
        codec.encode({"x": 1e39})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "array", "items": "int"}, "at $: array is no message"),
        ({"type": "record", "name": "1x", "fields": []}, "'1x' is no name"),
        ({"type": "record", "name": "R"}, "at $: it has no fields"),
        ({"type": "record", "name": "R", "fields": [field("a", "integer")]}, "at $.a: there is no type 'integer'"),
        ({"type": "record", "name": "R", "fields": [field("a", ["int", "int"])]}, "a union has int twice"),
        ({"type": "record", "name": "R", "fields": [field("a", [["int"]])]}, "a union holds another union"),
        ({"type": "record", "name": "R", "fields": [field("a", "int"), field("a", "int")]}, "at $.a: the field is"),
        ({"type": "record", "name": "R", "fields": [{**field("a", "int"), "default": "x"}]}, "the default is no int"),
        (
            {"type": "record", "name": "R", "fields": [{**field("a", {"type": "map", "values": "int"}), "default": 1}]},
            "at $.a: the default is no map",
        ),
        (
            {"type": "record", "name": "R", "fields": [field("a", {"type": "bytes", "logicalType": "decimal"})]},
            "a decimal has a precision",
        ),
    ],
)  # fmt: skip
def test_a_schema_that_is_not_well_formed_is_refused_by_its_place(schema: Any, told: str) -> None:
    with pytest.raises(IllFormed) as caught:
        read(schema)
    assert told in str(caught.value)
    with pytest.raises(ConfigError):
        Avro(schema)
