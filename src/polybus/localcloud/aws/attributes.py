"""Message attributes, in the shape of the JSON protocol: what both services check, count and digest alike."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Any

__all__ = ["Attributes", "attributes_md5", "attributes_size", "check_attributes", "legal_text"]

Attributes = dict[str, dict[str, str]]

MAX_NAME = 256  # bytes of an attribute's name (SQS Developer Guide, message metadata)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_ANY_NAME = re.compile(r"[\w.-]{1,256}")  # SQS takes letters of any script (recorded)
_TYPE = re.compile(r"(String|Number|Binary)(\.[^\x00-\x1f]{1,249})?")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
# XML 1.0's characters, the only ones that SQS carries: #x9 #xA #xD #x20-#xD7FF #xE000-#xFFFD #x10000-#x10FFFF.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal_text(text: str) -> bool:
    """Return whether SQS carries `text`."""
    return _ILLEGAL.search(text) is None


def check_attributes(raw: Any, *, any_letters: bool = False) -> tuple[Attributes, str | None]:
    """Return the attributes and None, or nothing and why they are refused; `any_letters` lets names have all."""
    if raw is None:
        return {}, None
    if not isinstance(raw, Mapping):
        return {}, "Message attributes must be a map."
    attributes: Attributes = {}
    for name, value in raw.items():
        why = _name_problem(name, _ANY_NAME if any_letters else _NAME) or _value_problem(name, value)
        if why:
            return {}, why
        attributes[name] = {key: value[key] for key in ("StringValue", "BinaryValue", "DataType") if key in value}
    return attributes, None


def _name_problem(name: Any, allowed: re.Pattern[str]) -> str | None:
    if not isinstance(name, str) or len(name.encode(errors="replace")) > MAX_NAME:
        return f"Length of message attribute name must be less than {MAX_NAME} bytes."
    if not name:
        return "A message attribute name must not be empty."
    if not allowed.fullmatch(name):
        wrong = next(ord(character) for character in name if not allowed.fullmatch(character))
        found = f"Invalid non-alphanumeric character '#x{wrong:X}' was found in the message attribute name."
        return f"{found} Can only include alphanumeric characters, hyphens, underscores, or dots."
    if name.lower().startswith(("aws.", "amazon.")):
        return f"The message attribute name {name} has a reserved prefix: AWS. or Amazon."
    if name.startswith("."):
        return "Invalid message attribute name starting with character '.' was found."
    if name.endswith("."):
        return "Invalid message attribute name ending with character '.' was found."
    if ".." in name:
        return "Message attribute name can not have successive '.' character."
    return None


def _value_problem(name: str, value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return f"The message attribute '{name}' must be a structure."
    kind = value.get("DataType")
    if not isinstance(kind, str) or not kind:
        return f"The message attribute '{name}' must contain a non-empty message attribute type."
    if not _TYPE.fullmatch(kind):
        prefixes = "the set of supported type prefixes is Binary, Number, and String"
        return f"The message attribute '{name}' has an invalid message attribute type, {prefixes}."
    field = "BinaryValue" if kind.startswith("Binary") else "StringValue"
    content = value.get(field)
    if not isinstance(content, str) or not content:
        other = "StringValue" if field == "BinaryValue" else "BinaryValue"
        if value.get(other):
            base, _, _ = kind.partition(".")
            used = field.removesuffix("Value")
            return f"The message attribute '{name}' with type '{base}' must use field '{used}'."
        must = "must contain non-empty message attribute value for message attribute type"
        return f"The message attribute '{name}' {must} '{kind}'."
    if ("StringValue" if field == "BinaryValue" else "BinaryValue") in value:
        return f"The message attribute '{name}' has more than one value."
    if field == "BinaryValue":
        return None if _base64(content) else f"The message attribute '{name}' is not base64."
    if not legal_text(content):
        return f"The message attribute '{name}' has characters that are not allowed."
    if kind.startswith("Number") and not _NUMBER.fullmatch(content):
        return f"Can't cast the value of message attribute '{name}' to a number."
    return None


def _base64(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return b""


def attributes_size(attributes: Attributes) -> int:
    """Return what attributes count towards a message's size: names, types and values, in bytes."""
    size = 0
    for name, value in attributes.items():
        content = value.get("StringValue")
        length = len(_base64(value["BinaryValue"])) if content is None else len(content.encode())
        size += len(name.encode()) + len(value["DataType"].encode()) + length
    return size


def attributes_md5(attributes: Attributes) -> str | None:
    """Return the digest that SDKs check: by name, each name, type and value with its length before it.

    Algorithm: SQS Developer Guide, "Calculating the MD5 message digest for message attributes".
    """
    if not attributes:
        return None
    parts: list[bytes] = []
    for name in sorted(attributes):
        value = attributes[name]
        kind = value["DataType"].encode()
        encoded = name.encode()
        text = value.get("StringValue")
        content = _base64(value["BinaryValue"]) if text is None else text.encode()
        mark = b"\x02" if text is None else b"\x01"
        parts += (_LENGTH(len(encoded)), encoded, _LENGTH(len(kind)), kind, mark, _LENGTH(len(content)), content)
    return hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()


_LENGTH = struct.Struct(">I").pack
