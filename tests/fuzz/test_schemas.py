"""Whatever stands in a schema's definition or in a message, it is told what is wrong with it, or nothing is."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from polybus.localcloud.pubsub.validation import (
    AVRO,
    BINARY,
    JSON,
    PROTOCOL_BUFFER,
    definition_problem,
    message_problem,
)

from .scale import cases

quick = cases(1 / 4)
WORDS = [
    "syntax", "=", '"proto3"', '"proto2"', ";", "package", "message", "enum", "{", "}", "A", "B", "A.B", "string",
    "int32", "bytes", "repeated", "optional", "required", "oneof", "map", "<", ">", ",", "1", "2", "0", "-1", "0x10",
    "reserved", "option", "[", "]", "(", ")", "deprecated", "true", "import", "//x\n", "/* x */", "group", "19000",
]  # fmt: skip
SOUND = [
    "message A { string a = 1; message B { repeated int32 n = 1; map<string, B> m = 2; } B b = 2; }",
    'syntax = "proto3"; package a.b; enum E { X = 0; } message A { optional E e = 1; oneof o { bytes c = 2; } }',
]
names = st.sampled_from(["A", "B", "n.A", "string", "null", "int", "long", "bytes"]) | st.text(max_size=4)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    field = st.fixed_dictionaries({"name": names, "type": inner})
    return (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"type": st.just("map"), "values": inner})
        | st.fixed_dictionaries({"type": st.just("fixed"), "name": names, "size": st.integers(-1, 4)})
        | st.fixed_dictionaries({"type": st.just("enum"), "name": names, "symbols": st.lists(names, max_size=3)})
        | st.fixed_dictionaries({"type": st.just("record"), "name": names, "fields": st.lists(field, max_size=3)})
        | st.fixed_dictionaries({"type": inner}, optional={"namespace": names, "name": names})
    )


avro = st.recursive(names | st.none() | st.integers(), schemas, max_leaves=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def check(kind: int, definition: str, messages: list[tuple[int, bytes]]) -> None:
    if definition_problem(kind, definition) is None:
        for encoding, data in messages:
            assert isinstance(message_problem(kind, definition, encoding, data), str | None)


@quick
@given(avro, values, st.binary(max_size=40))
def test_avro(schema: Any, value: Any, data: bytes) -> None:
    text = json.dumps(value).encode()
    check(AVRO, json.dumps(schema), [(JSON, text), (JSON, data), (BINARY, data)])


@quick
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.binary(max_size=40), values)
def test_words_of_protocol_buffers(words: list[str], data: bytes, value: Any) -> None:
    check(PROTOCOL_BUFFER, " ".join(words), [(JSON, json.dumps(value).encode()), (BINARY, data)])


@quick
@given(st.sampled_from(SOUND), st.integers(0, 60), st.sampled_from(WORDS) | st.text(max_size=5), st.binary(max_size=40))
def test_protocol_buffers_with_one_place_spoiled(sound: str, at: int, put: str, data: bytes) -> None:
    check(PROTOCOL_BUFFER, sound[:at] + put + sound[at:], [(JSON, data), (BINARY, data)])


@quick
@given(st.text(max_size=60), st.sampled_from([AVRO, PROTOCOL_BUFFER]))
def test_any_text(text: str, kind: int) -> None:
    check(kind, text, [])


def test_what_recurs_and_what_is_without_end() -> None:
    endless = {"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}
    nulls = {"type": "array", "items": "null"}
    many = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    for schema, data in ((endless, b""), (endless, b"\0" * 40), (nulls, many), ("bytes", many), ("string", many)):
        assert message_problem(AVRO, json.dumps(schema), BINARY, data) is not None
    assert definition_problem(AVRO, "[" * 100_000) is not None
    assert definition_problem(PROTOCOL_BUFFER, "message A { " * 20_000) is not None
    assert message_problem(AVRO, json.dumps(endless), JSON, b'{"a":' * 50_000) is not None
