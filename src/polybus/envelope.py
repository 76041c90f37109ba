"""The reserved attribute: what a message carries that has no native place on a cloud (docs/wire.md).

It is JSON with short keys, of characters that are legal wherever an attribute value is: `i` id, `c` content type,
`e` body encoding, `a` folded attributes, `k` ordering key, `t` published at (milliseconds since the epoch), `m` moves
to and from dead letters, `r` reason, `d` description, `x` whether an earlier try of the same publish may have been
accepted. What has its default is left out. docs/wire.md has examples.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping

import msgspec

from polybus.message import JSON, OCTETS, TEXT

__all__ = ["RESERVED", "RESERVED_RULE", "RESERVED_TO", "Envelope", "decode_text", "encode_text", "join", "split"]

RESERVED = "polybus"
# The subscription that alone gets a redriven message, by its tag.
RESERVED_TO = "polybus_to"
# The subscription whose rule let a message pass, by its tag: on Azure, where the rule comes after the subscription.
RESERVED_RULE = "polybus_rule"

_SHORT = {JSON: "j", TEXT: "t", OCTETS: "o"}
_LONG = {short: long for long, short in _SHORT.items()}
# Not in any attribute value of SQS (SendMessage in the SQS API reference), and not escaped by JSON itself.
_NO_CHARACTERS = re.compile("[\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
# What a foreign producer wrote into `t` and `m` is anything: nothing is moved as often, and after the year 9999, which
# ends with this millisecond, there is no date (datetime.MAXYEAR).
_LAST_TIME = 253_402_300_799_999
_MOST_MOVES = 1_000_000


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The content of the reserved attribute.

    `encoding` is `b` where the body travels as base64, `s` where one space stands for an empty body.
    """

    id: str = msgspec.field(name="i", default="")
    type: str = msgspec.field(name="c", default="")
    encoding: str = msgspec.field(name="e", default="")
    folded: Mapping[str, str] = msgspec.field(name="a", default_factory=dict)
    key: str | None = msgspec.field(name="k", default=None)
    published: int = msgspec.field(name="t", default=0)
    moves: int = msgspec.field(name="m", default=0)
    reason: str = msgspec.field(name="r", default="")
    description: str = msgspec.field(name="d", default="")
    again: bool = msgspec.field(name="x", default=False)

    @property
    def content_type(self) -> str | None:
        """The message's content type; None where it has none."""
        return _LONG.get(self.type, self.type) or None

    @property
    def published_at(self) -> float | None:
        """When it was published, in seconds since the epoch; None where nobody said."""
        return self.published / 1000 if self.published else None

    def to_text(self, *, ascii: bool = True) -> str:
        """Return the attribute's value: in ASCII, or with other characters as they are, which is half to a third.

        What isn't a character (a lone surrogate) becomes U+FFFD.
        """
        try:
            text = msgspec.json.encode(self).decode()
        except UnicodeEncodeError:
            return self._mended().to_text(ascii=ascii)
        if text.isascii():
            return text
        if ascii:
            return json.dumps(json.loads(text), separators=(",", ":"))
        return _NO_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

    def fitted(self, room: int, *, ascii: bool = True) -> Envelope | None:
        """Return this with as much of its reason and description as `room` bytes of text hold; None where none fit.

        The description gives way first. What is kept free for dead letters is bytes as they are sent, and how many
        a text takes there depends on its script and its quotation marks: cutting it is the only way that always fits.
        """
        size = _size(self.to_text(ascii=ascii))
        if size <= room:
            return self
        cut = self
        for name in ("description", "reason"):
            text: str = getattr(cut, name)
            short = _cut(text, _json_size(text, ascii) - (size - room), ascii)
            cut = msgspec.structs.replace(cut, **{name: short})
            size = _size(cut.to_text(ascii=ascii))
            if size <= room:
                return cut
        return None

    def _mended(self) -> Envelope:
        folded = {_mend(name): _mend(value) for name, value in self.folded.items()}
        texts = {name: _mend(getattr(self, name)) for name in ("id", "type", "encoding", "reason", "description")}
        key = None if self.key is None else _mend(self.key)
        return msgspec.structs.replace(self, folded=folded, key=key, **texts)

    @classmethod
    def from_text(cls, text: str) -> Envelope | None:
        """Read the attribute's value; None where it isn't one of ours, so that the message counts as foreign.

        A time that is none is left out, and moves are at most a million.
        """
        try:
            found = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: text that is no UTF-8
            return None
        if 0 <= found.published <= _LAST_TIME and 0 <= found.moves <= _MOST_MOVES:
            return found
        published = found.published if 0 <= found.published <= _LAST_TIME else 0
        return msgspec.structs.replace(found, published=published, moves=min(max(found.moves, 0), _MOST_MOVES))


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _mend(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def _json_size(text: str, ascii: bool) -> int:
    """Return the bytes that a text takes in the envelope's JSON, without its quotation marks."""
    return _size(Envelope(reason=text).to_text(ascii=ascii)) - len('{"r":""}') if text else 0


def _cut(text: str, room: int, ascii: bool) -> str:
    """Return the longest beginning of a text that takes at most `room` bytes in the envelope's JSON."""
    fits, fails = 0, len(text) + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if _json_size(text[:middle], ascii) <= room:
            fits = middle
        else:
            fails = middle
    return text[:fits]


def short_type(content_type: str | None) -> str:
    """Return a content type as the envelope carries it."""
    return _SHORT.get(content_type, content_type) if content_type else ""


def encode_text(body: bytes, legal: bool, text: str | None) -> tuple[str, str]:
    """Return a body as text, and its encoding, for a cloud that carries only text.

    `text` is the body decoded, or None where it isn't UTF-8; `legal` says whether the cloud takes it.
    """
    if not body:
        return " ", "s"
    if text is not None and legal:
        return text, ""
    return base64.b64encode(body).decode(), "b"


def decode_text(text: str, encoding: str) -> bytes:
    """Return the body that `encode_text` made text of; raises ValueError for what it didn't make."""
    if encoding == "s":
        return b""
    if encoding == "b":
        return base64.b64decode(text, validate=True)
    return text.encode()


def split(text: str, longest: int) -> dict[str, str]:
    """Return the attributes that carry an envelope where values are at most `longest` characters."""
    parts = [text[start : start + longest] for start in range(0, len(text), longest)]
    return {RESERVED if index == 0 else f"{RESERVED}.{index}": part for index, part in enumerate(parts)}


def join(attributes: Mapping[str, str]) -> str | None:
    """Return the envelope's text from what `split` made, or None where there is none."""
    text = attributes.get(RESERVED)
    if text is None:
        return None
    index = 1
    while (part := attributes.get(f"{RESERVED}.{index}")) is not None:
        text += part
        index += 1
    return text
