"""Handlers of messages in other forms than JSON."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from polybus.app.handler import Handler
from polybus.body import Decoder, decoder, is_read
from polybus.bus.delivery import Delivery
from polybus.cloudevents import CloudEvent, reading_events
from polybus.codec import Codec, by_content_type
from polybus.contracts.load import load
from polybus.errors import ConfigError
from polybus.message import OCTETS

__all__ = ["coded", "of_contract"]


def of_contract(schema: str) -> tuple[Codec, ...]:
    """Return the codecs of what a source declares as its schema; raise ConfigError where it can't be read.

    Foreign producers may say no content type, or that it is bytes.
    """
    if not schema.endswith(".avsc"):
        return ()
    from polybus.avro import Avro
    from polybus.contracts.avro_publishing import CONTENT_TYPES

    codec = Avro.of(load(schema).schema)
    return tuple(codec.under(each) for each in (*CONTENT_TYPES, OCTETS, ""))


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
        decode = _decoder(signature.annotation, signature.decode, codecs)
    except TypeError as error:
        raise ConfigError(f"{where}: a codec can't read its type: {error}") from None
    return replace(handler, signature=replace(signature, decode=decode))


def _decoder(annotation: Any, decode: Decoder, codecs: Sequence[Codec]) -> Decoder:
    if (typing.get_origin(annotation) or annotation) is not CloudEvent:
        return by_content_type(annotation, decode, codecs)
    data = next(iter(typing.get_args(annotation)), Any)  # the form is that of its data
    return reading_events(by_content_type(data, decoder(data), codecs))
