"""Whatever stands in the rows of a SQLite store is read, or is a fault of the receive."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from polybus.embedded.sqlite.wire import Stored, encode_head, encode_letter, unpack
from polybus.errors import BackendError
from polybus.message import Message

from .foreign import TEXTS
from .scale import cases

messages = st.builds(
    Message,
    st.binary(max_size=9),
    st.dictionaries(TEXTS, TEXTS, max_size=3),
    st.none() | TEXTS,
    TEXTS,
    st.none(),
    TEXTS,
)
parts = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.floats(),
    TEXTS,
    st.binary(max_size=3),
    st.lists(TEXTS, max_size=2),
    st.dictionaries(TEXTS, TEXTS | st.none(), max_size=2),
)
heads = st.one_of(
    messages.map(encode_head),
    st.binary(max_size=20),
    st.lists(parts, max_size=5).map(msgspec.msgpack.encode),
    st.tuples(messages.map(encode_head), st.integers(0, 60), st.binary(max_size=2)).map(
        lambda given: given[0][: given[1]] + given[2] + given[0][given[1] + 1 :]
    ),
)
letters = st.one_of(st.none(), st.builds(encode_letter, TEXTS, TEXTS), st.binary(max_size=12))
rows = st.lists(
    st.tuples(heads, st.binary(max_size=9), letters, st.sampled_from([None, 0, 1763830000.123, -1, 1e18])),
    min_size=1,
    max_size=3,
)


def row_of(given: list[tuple[bytes, bytes, bytes | None, Any]]) -> tuple[str, bytes, bytes, bytes]:
    """Return what one step of SQLite gives for these messages (wire.FETCH)."""
    places = [
        [seq, len(head), len(body), None if letter is None else len(letter), published, 0.0, 0]
        for seq, (head, body, letter, published) in enumerate(given, 1)
    ]
    parts = [b"".join(each[place] or b"" for each in given) for place in range(3)]
    return json.dumps(places), parts[0], parts[1], parts[2]


@cases()
@given(rows)
@example([(b"\x94\xa1\x80", b"", None, None)])
@example([(b"", b"x", None, None)])
@example([(encode_head(Message(b"", id="a")), b"x", b"\xc1", None)])
def test_rows_are_read_or_are_a_fault(given: list[tuple[bytes, bytes, bytes | None, Any]]) -> None:
    try:
        found = unpack(row_of(given))
    except BackendError:
        return
    assert len(found) == len(given)
    for one, (_, body, letter, _) in zip(found, given, strict=True):
        assert isinstance(one, Stored)
        assert one.message.body == body
        assert (one.reason is None) == (letter is None)
        assert all(isinstance(part, str) for pair in one.message.attributes.items() for part in pair)
