"""The reserved attribute: any content comes back, legal wherever an attribute value is."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.envelope import Envelope, decode_text, encode_text, join, split
from polybus.portable import safe_id

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
# What SQS takes (SendMessage in the SQS API reference).
LEGAL = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
ENVELOPES = st.builds(
    Envelope,
    id=TEXT,
    type=TEXT,
    encoding=st.sampled_from(["", "b", "s"]),
    folded=st.dictionaries(TEXT, TEXT, max_size=5),
    key=st.none() | TEXT,
    published=st.integers(0, 253_402_300_799_999),  # the end of the year 9999
    moves=st.integers(0, 100),
    reason=TEXT,
    description=TEXT,
)


@given(ENVELOPES)
def test_it_comes_back_and_is_printable_ascii(envelope: Envelope) -> None:
    text = envelope.to_text()
    assert text.isascii()
    assert all(" " <= character <= "~" for character in text if character != "\x7f")
    assert Envelope.from_text(text) == envelope


@given(ENVELOPES)
def test_it_comes_back_in_its_own_script(envelope: Envelope) -> None:
    text = envelope.to_text(ascii=False)
    assert LEGAL.fullmatch(text)
    assert len(text.encode()) <= len(envelope.to_text())
    assert Envelope.from_text(text) == envelope


@given(ENVELOPES, st.integers(0, 800), st.booleans())
def test_reason_and_description_give_way_to_what_room_there_is(envelope: Envelope, room: int, ascii: bool) -> None:
    bare = msgspec.structs.replace(envelope, reason="", description="")
    fitted = envelope.fitted(room, ascii=ascii)
    if fitted is None:
        assert len(bare.to_text(ascii=ascii).encode()) > room
        return
    assert len(fitted.to_text(ascii=ascii).encode()) <= room
    assert msgspec.structs.replace(fitted, reason="", description="") == bare
    assert envelope.reason.startswith(fitted.reason)
    assert envelope.description.startswith(fitted.description)
    if fitted.description:
        assert fitted.reason == envelope.reason


def test_room_is_used_in_any_script() -> None:
    envelope = Envelope(id="1", reason="ValueError", description="ж" * 1000)
    fitted = envelope.fitted(1000, ascii=False)
    assert fitted is not None
    assert 998 <= len(fitted.to_text(ascii=False).encode()) <= 1000


def test_a_lone_surrogate_does_not_hinder_it() -> None:
    envelope = Envelope(id="1", reason="a\ud800", description="\udfff", folded={"\ud800": "x"})
    for ascii in (True, False):
        found = Envelope.from_text(envelope.to_text(ascii=ascii))
        assert found == Envelope(id="1", reason="a\ufffd", description="\ufffd", folded={"\ufffd": "x"})


@given(st.text(max_size=200), st.text(max_size=200))
def test_ids_are_safe_and_stay_apart(one: str, other: str) -> None:
    for text in (one, other):
        assert re.fullmatch("[!-~]{1,120}", safe_id(text))
    assert (safe_id(one) == safe_id(other)) == (one == other)


def test_an_id_that_is_safe_stays_as_it_is() -> None:
    assert safe_id("a" * 120) == "a" * 120
    assert safe_id("order-17") == "order-17"
    for text in ("", "order 17", "é", "a" * 121, "a\n", "\ud800"):
        assert len(safe_id(text)) == 64
    assert len(safe_id("x" * 60, 50)) == 50


@given(ENVELOPES, st.integers(1, 50))
def test_it_comes_back_from_pieces(envelope: Envelope, longest: int) -> None:
    pieces = split(envelope.to_text(), longest)
    assert all(len(piece) <= longest for piece in pieces.values())
    assert Envelope.from_text(join(pieces) or "") == envelope


@given(st.binary(max_size=100))
def test_any_body_comes_back_as_text(body: bytes) -> None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = None
    for legal in (True, False):
        carried, encoding = encode_text(body, legal, text)
        assert carried
        assert decode_text(carried, encoding) == body


def test_text_stays_readable() -> None:
    assert encode_text(b"hello", True, "hello") == ("hello", "")


def test_what_is_not_ours_is_foreign() -> None:
    assert Envelope.from_text("not json") is None
    assert Envelope.from_text('{"i": 3}') is None
    assert join({"other": "x"}) is None
    assert Envelope.from_text('{"x":' + "[" * 100_000 + "]" * 100_000 + "}") is None
    assert Envelope.from_text('{"i": "\ud800"}') is None


@pytest.mark.parametrize("digits", ["-1", "-1" + "0" * 30, "1" + "0" * 15, "1" + "0" * 30, "1" + "0" * 400])
def test_times_that_are_none_and_moves_beyond_counting_are_not_believed(digits: str) -> None:
    found = Envelope.from_text(f'{{"i":"a","t":{digits},"m":{digits}}}')
    assert found is not None
    assert (found.id, found.published_at) == ("a", None)
    assert found.moves == (0 if digits.startswith("-") else 1_000_000)
