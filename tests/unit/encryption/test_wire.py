"""Sealed messages as docs/wire.md describes them, by a reader and a writer that share no code with polybus."""

from __future__ import annotations

import json
import os

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from polybus.encryption.middleware import Encryption
from polybus.message import Message

KEY = bytes(range(32))
ID = "0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77"
CLEAR = {"tier": 'a "b" \\ ü\t', "region": "eu"}


def encryption() -> Encryption:
    return Encryption({"2026-11": KEY}.__getitem__, "2026-11", context="shop", clear=list(CLEAR))


def associated(front: bytes, clear: dict[str, str]) -> bytes:
    listed = ["polybus", 1, "shop", ID, [[name, clear[name]] for name in sorted(clear)]]
    return front + json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode()


async def test_a_foreign_reader_opens_what_polybus_sealed() -> None:
    sealed = await encryption().seal(Message(b"12", {**CLEAR, "customer": "c7"}, None, ID, None, "application/json"))
    body = sealed.body
    assert body[0] == 1
    length = int.from_bytes(body[1:3], "big")
    assert body[3 : 3 + length] == b"2026-11"
    front = body[: 3 + length + 12]
    content = AESGCM(KEY).decrypt(front[-12:], body[len(front) :], associated(front, CLEAR))
    size = int.from_bytes(content[:4], "big")
    assert json.loads(content[4 : 4 + size]) == {"c": "application/json", "a": {"customer": "c7"}}
    assert content[4 + size :] == b"12"


async def test_polybus_opens_what_a_foreign_writer_sealed() -> None:
    header = b'{"c":"text/plain","a":{"customer":"c7"}}'
    front = b"\x01\x00\x072026-11" + os.urandom(12)
    content = len(header).to_bytes(4, "big") + header + b"12"
    body = front + AESGCM(KEY).encrypt(front[-12:], content, associated(front, CLEAR))
    opened = await encryption().open(Message(body, CLEAR, None, ID, None, "application/vnd.polybus.sealed"))
    assert opened == Message(b"12", {**CLEAR, "customer": "c7"}, None, ID, None, "text/plain")


async def test_what_was_sealed_by_this_version_stays_readable() -> None:
    """A message may wait for months: a later version opens what this one wrote."""
    kept = (
        "010007323032362d3131000102030405060708090a0b"
        "4702d635bec7a139b763f6fbc185110ee2a2ee5b9e54350f5709c7a93f082288"
        "7a32cd89dcb57df511d65dd7aae41f1a932451bfebcfce1330c79e27cae7b534"
        "69682a6a"
    )
    message = Message(bytes.fromhex(kept), {}, None, ID, None, "application/vnd.polybus.sealed")
    opened = await encryption().open(message)
    assert msgspec.structs.replace(opened, attributes=dict(opened.attributes)) == Message(
        b"12", {"customer": "c7"}, None, ID, None, "application/json"
    )
