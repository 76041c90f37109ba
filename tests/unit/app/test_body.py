"""Decoding of bodies by annotation (contract, D11)."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import traceback
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NewType, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from google.protobuf import struct_pb2

from polybus.body import decoder
from polybus.errors import DecodeError
from polybus.message import Message, encode_body

SECRET = "4111111111111111"
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Order(msgspec.Struct):
    id: int
    colour: Colour = Colour.RED
    at: datetime.datetime | None = None
    lines: dict[str, int] = {}


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    id: int


class Checked(msgspec.Struct):
    text: str

    def __post_init__(self) -> None:
        if self.text != "fine":
            raise ValueError(f"{self.text} is wrong")


class Row(TypedDict):
    name: str


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    name: str
    size: int = 1
    lines: dict[str, int] = {}


@pydantic.dataclasses.dataclass
class PydanticPoint:
    x: Annotated[int, pydantic.Field(gt=0)]


class Basket(msgspec.Struct):
    models: list[Model]


class Node(msgspec.Struct):
    next: Node | None = None


Name = NewType("Name", str)


@pytest.mark.parametrize(
    ("annotation", "body", "expected"),
    [
        (bytes, b"\x00\xff", b"\x00\xff"),
        (bytes, b"", b""),
        (bytearray, b"ab", bytearray(b"ab")),
        (str, "grüße".encode(), "grüße"),
        (str, b'"quoted"', '"quoted"'),
        (Name, b"ann", "ann"),
        (Annotated[bytes, "raw"], b"{", b"{"),
        (dict, b'{"a": [1]}', {"a": [1]}),
        (list, b"[1, 2]", [1, 2]),
        (dict[str, int], b'{"a": 1}', {"a": 1}),
        (Any, b'"text"', "text"),
        (object, b"null", None),
        (int, b"7", 7),
        (Literal["a"], b'"a"', "a"),
        (Point, b'{"x": 1}', Point(1)),
        (Point | None, b"null", None),
        (Row, b'{"name": "n"}', {"name": "n"}),
        (Order, b'{"id": 3, "colour": "red"}', Order(3)),
        (Node, b'{"next": {"next": null}}', Node(Node())),
        (Model, b'{"name": "m"}', Model(name="m")),
        (PydanticPoint, b'{"x": 2}', PydanticPoint(x=2)),
        (Basket, b'{"models": [{"name": "m"}]}', Basket([Model(name="m")])),
        (list[Model], b'[{"name": "m"}]', [Model(name="m")]),
    ],
)
def test_a_body_becomes_what_the_annotation_says(annotation: Any, body: bytes, expected: object) -> None:
    decoded = decoder(annotation)(Message(body))
    assert decoded == expected
    assert type(decoded) is type(expected)


def test_a_memoryview_is_over_the_body() -> None:
    assert decoder(memoryview)(Message(b"abc")).tobytes() == b"abc"


def test_a_message_is_given_whole() -> None:
    message = Message(b"{", {"a": "b"})
    assert decoder(Message)(message) is message


@pytest.mark.parametrize("value", [Point(1, 2), Order(3), Model(name="m"), {"a": 1}, [1], "text", b"bytes"])
def test_what_was_encoded_is_decoded_to_the_same(value: Any) -> None:
    body, _ = encode_body(value)
    assert decoder(type(value))(Message(body)) == value


@pytest.mark.parametrize(
    ("annotation", "body", "said"),
    [
        (str, b"ab\xff", "not UTF-8 text: invalid byte at 2"),
        (dict, b"", "not JSON"),
        (dict, b"{'a'}", "not JSON: JSON is malformed: .*byte 1"),
        (dict, b'{"a": "\xff"}', "not JSON: invalid UTF-8"),
        (Any, b"[" * 100_000, "nested too deeply"),
        (Point, b'{"x": "1"}', r"not a valid Point: Expected `int`, got `str` at \$\.x"),
        (Point, b"{}", "missing required field `x`"),
        (Annotated[int, msgspec.Meta(ge=5)], b"3", r"Expected `int` >= 5"),
        (Point, b"[]", "Expected `object`, got `array`"),
        (Order, f'{{"id": 1, "colour": "{SECRET}"}}'.encode(), r"a value that is not allowed at \$\.colour"),
        (Order, f'{{"id": 1, "at": "{SECRET}"}}'.encode(), r"not allowed at \$\.at"),
        (Order, f'{{"id": 1, "lines": {{"{SECRET}": "x"}}}}'.encode(), r"got `str` at \$\.lines\[\.\.\.\]"),
        (Strict, f'{{"id": 1, "{SECRET}": 1}}'.encode(), "a value that is not allowed"),
        (Checked, f'{{"text": "{SECRET} - at `$.x"}}'.encode(), "a value that is not allowed"),
        (Model, f'{{"name": {SECRET}}}'.encode(), r"not a valid Model: string_type at \$\.name"),
        (Model, f'{{"name": "n", "{SECRET}": 1}}'.encode(), r"extra_forbidden at \$$"),
        (Model, f'{{"name": "n", "lines": {{"{SECRET}": "x"}}}}'.encode(), r"int_parsing at \$\.lines\[\.\.\.\]"),
        (Model, f"{{{SECRET}".encode(), "json_invalid"),
        (PydanticPoint, b'{"x": 0}', r"greater_than at \$\.x"),
        (Basket, f'{{"models": [{{"name": {SECRET}}}]}}'.encode(), r"not allowed at \$\.models\[0\]"),
    ],
)
def test_a_wrong_body_is_refused_by_place_without_its_content(annotation: Any, body: bytes, said: str) -> None:
    decode = decoder(annotation)
    with pytest.raises(DecodeError, match=said) as caught:
        decode(Message(body))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_many_faults_are_cut_to_three() -> None:
    class Wide(pydantic.BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int

    with pytest.raises(DecodeError, match=r"missing at \$\.a; .*; and 2 more$"):
        decoder(Wide)(Message(b"{}"))


def test_a_duck_typed_model_that_raises_a_plain_value_error() -> None:
    class Own:
        @classmethod
        def model_validate_json(cls, body: bytes) -> Own:
            raise ValueError(body.decode())

    with pytest.raises(DecodeError, match=r"not a valid .*Own$"):
        decoder(Own)(Message(SECRET.encode()))


class Connection:
    pass


@dataclasses.dataclass
class Holder:
    connections: list[Connection]


@pytest.mark.parametrize(
    ("annotation", "named"),
    [(Connection, "Connection"), (Holder, "Connection"), (Callable[[int], int], "Callable"), (Point | Order, "union")],
)
def test_a_type_without_a_json_form_is_refused_at_once(annotation: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        decoder(annotation)


@attrs.define
class Attrs:
    id: int
    note: str = ""


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    name: str


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Attrs, Attrs(7, "x")),
        (Cat | Dog, Dog("rex")),
        (list[Cat | Dog], [Cat(9), Dog("rex")]),
        (Page[Order], Page([Order(1)])),
        (Order | None, None),
        (struct_pb2.Value, struct_pb2.Value(string_value="x")),
    ],
)
def test_what_is_published_is_what_its_type_reads(annotation: Any, value: Any) -> None:
    body, content_type = encode_body(value)
    assert decoder(annotation)(Message(body, content_type=content_type)) == value


def test_protobuf_messages_travel_as_their_bytes_and_say_so() -> None:
    value = struct_pb2.Value(string_value=SECRET)
    body, content_type = encode_body(value)
    assert (body, content_type) == (value.SerializeToString(), "application/protobuf")
    assert decoder(struct_pb2.Value)(Message(body)) == value  # of a program that says nothing
    for wrong in (Message(b"\xff" + SECRET.encode()), Message(b'{"a":1}', content_type="application/json")):
        with pytest.raises(DecodeError, match="Value") as caught:
            decoder(struct_pb2.Value)(wrong)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
