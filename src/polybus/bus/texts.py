"""Texts of errors, made fit to travel with a dead letter."""

from __future__ import annotations

import functools
import re

__all__ = ["reason_of", "said", "shorten"]

# What a dead letter's reason and description may take of the 2 KiB that are kept free for it (contract, P4), as
# envelopes are written: JSON in ASCII, where most characters beyond it take 6 bytes. The rest is for their names.
MAX_REASON = 128
MAX_REASON_BYTES = 768
MAX_DESCRIPTION_BYTES = 1024

# What no transport may be asked to carry: control characters but tab and line feed, lone surrogates, and the
# non-characters that XML (and so SQS) refuses.
_UNFIT = "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"


def said(error: BaseException) -> str:
    """Return the text of an exception; those within a group with it; never raises."""
    text = _text(error)
    if isinstance(error, BaseExceptionGroup):
        inner = "; ".join(f"{type(leaf).__qualname__}: {_text(leaf)}" for leaf in error.exceptions[:5])
        return f"{text}: {inner}"
    return text


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001 - a broken __str__ must not keep a message from its dead letters
        return f"its __str__ raised {type(failed).__qualname__}"


def reason_of(text: object) -> str:
    """Return a dead letter's reason: fit to travel, and cut at 128 characters."""
    return _cut(_fit(text, MAX_REASON)[:MAX_REASON], MAX_REASON_BYTES)


def shorten(text: object) -> str:
    """Return a dead letter's description: fit to travel, and cut at 1,024 bytes as an envelope spends them."""
    return _cut(_fit(text, MAX_DESCRIPTION_BYTES), MAX_DESCRIPTION_BYTES)


def _fit(text: object, most: int) -> str:
    if not isinstance(text, str):
        try:
            text = str(text)
        except Exception as failed:  # noqa: BLE001 - as above
            text = f"its __str__ raised {type(failed).__qualname__}"
    return _unfit().sub(_escape, text[:most])


@functools.cache
def _unfit() -> re.Pattern[str]:
    return re.compile(_UNFIT)  # takes some 0.5 ms, that no import should


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _cut(text: str, most: int) -> str:
    if len(text) * 12 <= most:
        return text
    spent = 0
    for place, character in enumerate(text):
        spent += _cost(character)
        if spent > most:
            return text[:place]
    return text


def _cost(character: str) -> int:
    """Return the bytes of a character in a JSON text in ASCII (RFC 8259, section 7)."""
    if character in '"\\\n\t':
        return 2
    if character < "\x7f":
        return 1
    return 6 if character < "\U00010000" else 12
