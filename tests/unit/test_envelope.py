"""The reserved attribute: any content comes back, legal wherever an attribute value is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polybus.envelope import Envelope, decode_text, encode_text, join, split

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ENVELOPES = st.builds(
    Envelope,
    id=TEXT,
    type=TEXT,
    encoding=st.sampled_from(["", "b", "s"]),
    folded=st.dictionaries(TEXT, TEXT, max_size=5),
    key=st.none() | TEXT,
    published=st.integers(0, 2**53),
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
