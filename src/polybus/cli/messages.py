"""Messages as JSON, the same way in and out: what `dead-letter list --json` prints, `publish --file` takes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from polybus.driver import Peeked
from polybus.message import JSON, OCTETS, TEXT, Message, encode_body

__all__ = ["Line", "as_json", "body_text", "guess_content_type", "peeked_as_json", "read_line"]

_KEYS = ("body", "body_base64", "content_type", "attributes", "ordering_key", "delay")
# What the other commands print beside them: told where a message was, which is over when it is published anew.
_PRINTED = ("id", "published_at", "position", "attempt", "reason", "description", "dead_since", "source", "redelivered")


@dataclass(frozen=True, slots=True)
class Line:
    """A message to publish; `delay` is in seconds."""

    message: Message
    delay: float = 0.0


def guess_content_type(body: bytes) -> str:
    """Say what a body from a command line is: JSON where it is an object or array, else text, else octets."""
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            msgspec.json.decode(body)
        except msgspec.DecodeError:
            pass  # it only looks like JSON: it is text
        else:
            return JSON
    try:
        body.decode()
    except UnicodeDecodeError:
        return OCTETS
    return TEXT


def body_text(body: bytes, limit: int | None = None) -> str:
    """Return a body for a table's cell: its text, cut after `limit` characters, or how many bytes it has."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"<{len(body)} bytes>"
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as plain values; a JSON body becomes JSON, bytes that are no text become `body_base64`."""
    found: dict[str, Any] = {"id": message.id, **_body_as_json(message)}
    if message.content_type is not None:
        found["content_type"] = message.content_type
    found["attributes"] = dict(message.attributes)
    if message.ordering_key is not None:
        found["ordering_key"] = message.ordering_key
    if message.published_at is not None:
        found["published_at"] = message.published_at
    return found


def _body_as_json(message: Message) -> dict[str, Any]:
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(message.body).decode()}
    if message.content_type == JSON:
        try:
            return {"body": msgspec.json.decode(message.body)}
        except msgspec.DecodeError:
            return {"body": text}  # a malformed body is shown as it is: that is what a dead letter is looked at for
    return {"body": text}


def peeked_as_json(peeked: Peeked) -> dict[str, Any]:
    """Return a message that was looked at, with where it is and why."""
    found = as_json(peeked.message)
    found |= {
        name: value
        for name, value in (
            ("attempt", peeked.attempt or None),
            ("reason", peeked.reason),
            ("description", peeked.description),
            ("dead_since", peeked.at),
            ("position", peeked.position),
        )
        if value is not None
    }
    return found


def read_line(text: str | bytes) -> Line:
    """Read one line of `publish --file`; raises ValueError that says what is wrong with it."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(
            f'found {type(found).__name__}, expected an object such as {{"body": ..., "attributes": {{}}}}'
        )
    unknown = sorted(found.keys() - {*_KEYS, *_PRINTED})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; allowed: {', '.join(_KEYS)}")
    body, content_type = _read_body(found)
    delay = found.get("delay", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or delay < 0:
        raise ValueError(f"delay: found {delay!r}, expected seconds from 0")
    key = found.get("ordering_key")
    if key is not None and not isinstance(key, str):
        raise ValueError(f"ordering_key: found {key!r}, expected a string")
    return Line(Message(body, _read_attributes(found), key, content_type=content_type), float(delay))


def _read_body(found: Mapping[str, Any]) -> tuple[bytes, str]:
    if ("body" in found) == ("body_base64" in found):
        raise ValueError('expected exactly one of "body" and "body_base64"')
    declared = found.get("content_type")
    if declared is not None and not isinstance(declared, str):
        raise ValueError(f"content_type: found {declared!r}, expected a string")
    if "body_base64" in found:
        try:
            return base64.b64decode(found["body_base64"], validate=True), declared or OCTETS
        except (binascii.Error, TypeError, ValueError):
            raise ValueError("body_base64: not base64") from None
    body, content_type = encode_body(found["body"])
    return body, declared or content_type


def _read_attributes(found: Mapping[str, Any]) -> dict[str, str]:
    given = found.get("attributes", {})
    if not isinstance(given, dict):
        raise ValueError(f"attributes: found {type(given).__name__}, expected an object of strings")
    for name, value in given.items():
        if not isinstance(value, str):
            raise ValueError(f"attributes: {name!r} is {type(value).__name__}, expected a string")
    return given
