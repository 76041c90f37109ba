"""Requests and answers of the two protocols: SQS's JSON, and SNS's query protocol with XML in its answers.

What AWS refuses is read by botocore's own parsers: it is rare, and its errors are what everything else here knows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

import msgspec

from polybus.clouds.aws.driver.lean.http1 import Answer

__all__ = [
    "FORM",
    "JSON",
    "PROTOCOLS",
    "Damaged",
    "Unreadable",
    "check_digests",
    "encode_form",
    "encode_json",
]

JSON = "application/x-amz-json-1.0"
FORM = "application/x-www-form-urlencoded; charset=utf-8"

Arguments = Mapping[str, Any]

# The characters that a form has as they are, and a plus for a space, as urllib.parse.quote_plus has them.
_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_QUOTED = [chr(byte) if byte in _SAFE else "+" if byte == 0x20 else f"%{byte:02X}" for byte in range(256)]


def _plain(value: object) -> str:
    """Return the text of a receipt, or of any other class that is text and more."""
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


class Unreadable(Exception):
    """An answer that says it succeeded is none of its operation."""


class Damaged(Exception):
    """What came isn't what was sent, by its MD5."""


# Requests -------------------------------------------------------------------------------------------------------------


def encode_json(arguments: Arguments) -> bytes:
    """Return the body of a request of SQS."""
    try:
        return _encoder.encode(arguments)
    except TypeError:
        # Names of attributes that are text of a class of somebody's own.
        return json.dumps(arguments, ensure_ascii=False).encode()


def encode_form(operation: str, version: str, arguments: Arguments) -> bytes:
    """Return the body of a request of SNS."""
    pairs = [f"Action={operation}&Version={version}"]
    for name, value in arguments.items():
        if name == "PublishBatchRequestEntries":
            for number, entry in enumerate(value, 1):
                pairs.extend(_entry(f"{name}.member.{number}.", entry))
        else:
            pairs.append(f"{name}={_quoted(value)}")
    return "&".join(pairs).encode("ascii")


def _entry(prefix: str, entry: Arguments) -> Iterator[str]:
    for name, value in entry.items():
        if name == "MessageAttributes":
            for number, (key, attribute) in enumerate(value.items(), 1):
                at = f"{prefix}MessageAttributes.entry.{number}."
                yield f"{at}Name={_quoted(key)}"
                for part, text in attribute.items():
                    yield f"{at}Value.{part}={_quoted(text)}"
        else:
            yield f"{prefix}{name}={_quoted(value)}"


def _quoted(text: str) -> str:
    data = text.encode()
    if not data.rstrip(_SAFE):
        return data.decode()
    return "".join(map(_QUOTED.__getitem__, data))


# Answers --------------------------------------------------------------------------------------------------------------


def read_json(answer: Answer) -> dict[str, Any]:
    """Return what SQS answers, as botocore gives it: what is null is left out, and binary values are bytes."""
    try:
        found = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Unreadable(str(error)) from error
    except RecursionError as error:
        raise Unreadable("JSON that is nested too deep") from error
    found = {name: value for name, value in found.items() if value is not None}
    for message in found.get("Messages", ()):
        for attribute in (message.get("MessageAttributes") or {}).values():
            if "BinaryValue" in attribute:
                attribute["BinaryValue"] = base64.b64decode(attribute["BinaryValue"])
    return found


_ENTRIES = ("Successful", "Failed")


def read_xml(answer: Answer) -> dict[str, Any]:
    """Return what SNS answers to PublishBatch, as botocore gives it."""
    if b"<!DOCTYPE" in answer.body:
        raise Unreadable("XML with a document type, which SNS never sends")
    try:
        root = ElementTree.fromstring(answer.body)  # noqa: S314 - without a document type there are no entities
    except (ElementTree.ParseError, ValueError) as error:
        raise Unreadable(str(error)) from error
    name = root.tag.rpartition("}")[2]
    prefix = root.tag.removesuffix(name)  # the namespace
    if name != "PublishBatchResponse":
        raise Unreadable(f"XML that is a {name}")
    result = root.find(f"{prefix}PublishBatchResult")
    if result is None:
        raise Unreadable("XML without a result")
    return {
        each: [_member(one, prefix) for one in result.iterfind(f"{prefix}{each}/{prefix}member")] for each in _ENTRIES
    }


def _member(element: ElementTree.Element, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {child.tag.removeprefix(prefix): child.text or "" for child in element}
    if "SenderFault" in found:
        found["SenderFault"] = found["SenderFault"] == "true"
    return found


PROTOCOLS: Mapping[str, tuple[str, Callable[[Answer], dict[str, Any]]]] = {
    JSON: ("json", read_json),
    FORM: ("query", read_xml),
}
"""By content type: botocore's name of the protocol, and the reader of answers."""


# Digests --------------------------------------------------------------------------------------------------------------


def check_digests(operation: str, arguments: Arguments, answer: dict[str, Any]) -> None:
    """Compare the MD5s in an answer with what was sent, or with what came.

    An entry that was damaged on its way to SQS is one that failed. Raises Damaged for a message that was so on its way
    here.
    """
    if operation == "ReceiveMessage":
        for message in answer.get("Messages", ()):
            wrong = damage(message, "Body", "MD5OfBody")
            if wrong is not None:
                raise Damaged(f"message {message.get('MessageId')}: {wrong}")
    elif operation == "SendMessageBatch":
        _check_sent(arguments, answer)


def _check_sent(arguments: Arguments, answer: dict[str, Any]) -> None:
    entries = {entry["Id"]: entry for entry in arguments["Entries"]}
    failed = []
    for told in answer.get("Successful", ()):
        entry = entries.get(told["Id"])
        wrong = None if entry is None else damage({**entry, **told}, "MessageBody", "MD5OfMessageBody")
        if wrong is not None:
            failed.append({"Id": told["Id"], "Code": "BadDigest", "Message": wrong, "SenderFault": False})
    if failed:
        ids = {each["Id"] for each in failed}
        answer["Successful"] = [told for told in answer["Successful"] if told["Id"] not in ids]
        answer["Failed"] = [*answer.get("Failed", ()), *failed]


def damage(message: Mapping[str, Any], body: str, digest: str) -> str | None:
    """Return which part of a message isn't what its MD5 says; parts without one aren't looked at."""
    said = message.get(digest)
    if said is not None and said != _md5(message[body].encode()):
        return f"the body isn't the one that {digest} is of"
    said = message.get("MD5OfMessageAttributes")
    if said is not None and said != attributes_digest(message.get("MessageAttributes") or {}):
        return "the attributes aren't those that MD5OfMessageAttributes is of"
    return None


def attributes_digest(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the MD5 of message attributes (SQS developer guide, "Calculating the MD5 message digest")."""
    parts = bytearray()
    for name in sorted(attributes):
        attribute = attributes[name]
        kind = attribute["DataType"]
        text = attribute.get("StringValue")
        value = attribute["BinaryValue"] if text is None else text.encode()
        for part in (name.encode(), kind.encode()):
            parts += struct.pack("!I", len(part)) + part
        parts += (b"\x02" if text is None else b"\x01") + struct.pack("!I", len(value)) + value
    return _md5(parts)


def _md5(data: bytes | bytearray) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
