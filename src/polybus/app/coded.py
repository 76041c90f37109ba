"""Handlers of messages in other forms than JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polybus.app.handler import Handler
from polybus.body import is_read
from polybus.bus.delivery import Delivery
from polybus.codec import Codec, by_content_type
from polybus.errors import ConfigError

__all__ = ["coded"]


def coded(handler: Handler, codecs: Sequence[Codec]) -> Handler:
    """Return a handler that reads messages by the codec of their content type.

    Raises ConfigError where a codec can't read its type, or it runs in a process of its own, which has no codecs.
    """
    if handler.kinds is not None:
        return replace(handler, kinds={kind: coded(each, codecs) for kind, each in handler.kinds.items()})
    signature = handler.signature
    if signature.annotation is Delivery or not is_read(signature.annotation):
        return handler
    where = f"handler {handler.name} ({signature.place})"
    if handler.where == "process":
        raise ConfigError(f"{where}: an app with codecs can't run it by executor='process', where they are not known")
    try:
        decode = by_content_type(signature.annotation, signature.decode, codecs)
    except TypeError as error:
        raise ConfigError(f"{where}: a codec can't read its type: {error}") from None
    return replace(handler, signature=replace(signature, decode=decode))
