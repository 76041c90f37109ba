"""Bodies in other forms than JSON: MessagePack, and codecs of your own.

A codec is for one content type. An app that is given some reads messages of these types by them, whatever the source
(`App(codecs=[MessagePack()])`); `encoded` makes the message to publish. Without codecs nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from polybus.body import Decoder, named
from polybus.errors import DecodeError
from polybus.message import Message

__all__ = ["Codec", "MessagePack", "encoded"]


class Codec(Protocol):
    """What turns values into bytes, and bytes into values, for one content type.

    Both are called for each message, `decoder` once for each handler.
    """

    @property
    def content_type(self) -> str:
        """The content type that messages say, such as "application/msgpack"."""

    def encode(self, value: Any) -> bytes:
        """Return the bytes of a value; raise TypeError or ValueError for one that has none."""

    def decoder(self, annotation: Any) -> Callable[[bytes], Any]:
        """Return what reads bytes as that type, and raises any exception for what isn't it.

        Raises TypeError for a type that can't be read. What the exceptions say is not told, since it may be content:
        but for polybus.DecodeError, whose text never is.
        """


class MessagePack:
    """MessagePack, by msgspec: whatever JSON can carry, in fewer bytes, and bytes as they are."""

    content_type = "application/msgpack"

    def encode(self, value: Any) -> bytes:
        """Return the bytes of a value; raise TypeError or ValueError for one that has none."""
        return msgspec.msgpack.encode(value)

    def decoder(self, annotation: Any) -> Callable[[bytes], Any]:
        """Return what reads bytes as that type; raise TypeError for one that can't be read."""
        return msgspec.msgpack.Decoder(annotation).decode


def encoded(value: Any, codec: Codec) -> Message:
    """Return the message that carries a value by a codec, to be published like any."""
    return Message(codec.encode(value), content_type=codec.content_type)


def by_content_type(annotation: Any, decode: Decoder, codecs: Iterable[Codec]) -> Decoder:
    """Return what decodes a message by the codec of its content type, and by `decode` where there is none."""
    others = {codec.content_type: codec.decoder(annotation) for codec in codecs}

    def read(message: Message) -> Any:
        other = others.get(message.content_type or "")
        if other is None:
            return decode(message)
        try:
            return other(message.body)
        except DecodeError:
            raise  # it says nothing of the content
        except Exception:  # noqa: BLE001 - each codec has errors of its own
            raise DecodeError(f"the body is not a valid {named(annotation)} as {message.content_type}") from None

    return read
