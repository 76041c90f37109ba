"""What a sealed body looks like, and how it is made and opened (docs/wire.md).

    version   1 byte      1
    length    2 bytes     of the key id, big-endian
    key id    that many   ASCII
    nonce     12 bytes    random for each message
    the rest              AES-256-GCM of the content, and its tag of 16 bytes

The content is 4 bytes of length, big-endian, of a header in JSON, the header, and the body. The header has `c`, the
content type, and `a`, the attributes that aren't in clear. What is authenticated besides is `associated`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from polybus.errors import DeadLetter, MissingExtra
from polybus.message import Message

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["SEALED", "DecryptionFailed", "associated", "key_id_of", "opened", "sealed"]

SEALED = "application/vnd.polybus.sealed"
"""The content type of a message that is encrypted."""

KEY_BYTES = 32
_VERSION = 1
_NONCE = 12
_TAG = 16
# A key id may be a data key that a cloud's key service has wrapped, in base64: some 250 characters.
_KEY_ID = re.compile(r"[\x21-\x7e]{1,2048}")


class DecryptionFailed(DeadLetter):
    """A message can't be opened, and no other attempt changes that.

    A handler isn't called with it: it is dead-lettered with this as the reason, as it came.
    """

    def __init__(self, why: str) -> None:
        super().__init__("DecryptionFailed", why)


class _Header(msgspec.Struct, omit_defaults=True):
    content_type: str | None = msgspec.field(name="c", default=None)
    attributes: Mapping[str, str] = msgspec.field(name="a", default_factory=dict)


def associated(context: str, message: Message, clear: Mapping[str, str]) -> bytes:
    """Return what is authenticated with a message: where it belongs, which it is, and what of it is in clear.

    Not the target's name: what is forwarded, copied or redriven keeps its id, and arrives elsewhere.
    """
    return msgspec.json.encode(["polybus", _VERSION, context, message.id, sorted(clear.items())])


def sealed(message: Message, hidden: Mapping[str, str], *, key_id: str, key: bytes, aad: bytes) -> bytes:
    """Return the body that carries a message's body, content type and hidden attributes.

    Raises ValueError for a key that isn't 32 bytes, or an id that isn't printable ASCII.
    """
    if _KEY_ID.fullmatch(key_id) is None:
        raise ValueError("a key id is 1 to 2048 printable ASCII characters without spaces")
    header = msgspec.json.encode(_Header(message.content_type, dict(hidden)))
    nonce = os.urandom(_NONCE)
    front = struct.pack(">BH", _VERSION, len(key_id)) + key_id.encode() + nonce
    content = b"".join((struct.pack(">I", len(header)), header, message.body))
    return front + _cipher(key).encrypt(nonce, content, front + aad)


def key_id_of(body: bytes) -> str:
    """Return the id of the key that a body was sealed with; raises DecryptionFailed for what isn't sealed."""
    if len(body) < 3 or body[0] != _VERSION:
        raise DecryptionFailed("the body isn't sealed, or in a version that this polybus doesn't know")
    (length,) = struct.unpack_from(">H", body, 1)
    try:
        key_id = body[3 : 3 + length].decode("ascii")
    except UnicodeDecodeError:
        key_id = ""
    if len(body) < 3 + length + _NONCE + _TAG or _KEY_ID.fullmatch(key_id) is None:
        raise DecryptionFailed("the body isn't sealed: it is too short, or has no key id")
    return key_id


def opened(message: Message, *, key: bytes, aad: bytes) -> tuple[bytes, str | None, Mapping[str, str]]:
    """Return the body, content type and hidden attributes of a sealed message; raises DecryptionFailed."""
    from cryptography.exceptions import InvalidTag

    body = message.body
    start = 3 + len(key_id_of(body)) + _NONCE
    nonce = body[start - _NONCE : start]
    try:
        content = _cipher(key).decrypt(nonce, body[start:], body[:start] + aad)
    except InvalidTag:
        raise DecryptionFailed(
            "it was changed, belongs to another bus or message, or its key isn't the one of that id"
        ) from None
    try:
        (length,) = struct.unpack_from(">I", content)
        header = msgspec.json.decode(content[4 : 4 + length], type=_Header)
    except (struct.error, msgspec.DecodeError, ValueError):
        raise DecryptionFailed("what was sealed has no header that can be read") from None
    return content[4 + length :], header.content_type, header.attributes


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise MissingExtra("cryptography", "encryption") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key for AES-256 has {KEY_BYTES} bytes, and this one {len(key)}")
    return AESGCM(key)
