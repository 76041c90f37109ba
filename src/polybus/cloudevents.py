"""CloudEvents 1.0, and what is like them: events of AMQP, Pub/Sub and HTTP bindings, of EventBridge and Event Grid.

A handler that takes `CloudEvent[Order]` reads all of these, from any topic or queue:

- binary mode: attributes `ce-type`, `ce-source` and so on; also with the prefixes `ce_`, `cloudEvents:` and
  `cloudEvents_`, which the bindings of Kafka and AMQP write;
- structured mode: JSON with `specversion`, by the content type or by its fields;
- EventBridge's envelope, whose `detail` is the data and `detail-type` the type;
- Event Grid's own schema, whose `eventType` is the type.
"""

from __future__ import annotations

import base64
import binascii
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import msgspec

from polybus.body import Decoder, decoder
from polybus.errors import DecodeError
from polybus.message import JSON, OCTETS, TEXT, Message

__all__ = ["CloudEvent"]

T = TypeVar("T")

PREFIX: Final = "ce-"
"""Begins the names of attributes in binary mode, as the bindings of HTTP and Pub/Sub have it."""
STRUCTURED: Final = "application/cloudevents+json"

_PREFIXES: Final = (PREFIX, "ce_", "cloudEvents:", "cloudEvents_")
_MEDIA: Final = "application/cloudevents"
_OWN: Final = frozenset(("specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype"))


@dataclass(frozen=True, slots=True)
class CloudEvent(Generic[T]):
    """An event: what happened (`type`), where (`source`), and its data.

    As a handler's annotation, `CloudEvent[Order]`, it has the data decoded to Order. Published to a topic or queue with
    `format = "cloudevents"`, it says its attributes itself; an empty `id`, and a `time` of None, are filled in.
    `extensions` are further attributes of the event; their names are of a-z and 0-9.
    """

    type: str
    source: str
    data: T
    id: str = ""
    subject: str | None = None
    time: datetime | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    extensions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def __polybus_decoder__(cls, annotation: Any) -> Decoder:
        """Return what decodes a message to this; raise TypeError for data that can't be decoded."""
        arguments = typing.get_args(annotation)
        return _EventDecoder(decoder(arguments[0] if arguments else Any))


class _Found(msgspec.Struct):
    """An event as it was found in a message: its attributes as texts, and its data as a message of its own."""

    attributes: dict[str, str]
    data: Message


class _EventDecoder:
    def __init__(self, decode: Decoder) -> None:
        self._decode = decode

    def __call__(self, message: Message) -> CloudEvent[Any]:
        found = _found(message)
        if found is None:
            raise DecodeError("the message is no CloudEvent: it has neither `ce-specversion` nor the fields of one")
        told = found.attributes
        return CloudEvent(
            type=told["type"],
            source=told["source"],
            data=self._decode(found.data),
            id=told.get("id") or message.id,
            subject=told.get("subject"),
            time=_time(told["time"]) if "time" in told else None,
            dataschema=told.get("dataschema"),
            datacontenttype=told.get("datacontenttype") or found.data.content_type,
            extensions=MappingProxyType({name: value for name, value in told.items() if name not in _OWN}),
        )


def reading_events(decode: Decoder) -> Decoder:
    """Return what decodes an event, whose data is read by `decode`."""
    return _EventDecoder(decode)


def unwrapping(decode: Decoder) -> Decoder:
    """Return what decodes the data of an event, where a message is one, and its body else."""
    if isinstance(decode, _EventDecoder) or decode is decoder(Message):
        return decode

    def unwrap(message: Message) -> Any:
        found = _found(message)
        return decode(message if found is None else found.data)

    return unwrap


def data_of(message: Message) -> bytes:
    """Return the data of what says that it is an event, and the body of any other message."""
    said = f"{PREFIX}specversion" in message.attributes or (message.content_type or "").startswith(_MEDIA)
    found = _found(message) if said else None
    return message.body if found is None else found.data.body


def event_type(message: Message) -> str | None:
    """Return the type of an event, None for a message that is none, or can't be read."""
    for prefix in _PREFIXES:
        if (kind := message.attributes.get(f"{prefix}type")) is not None:
            return kind
    try:
        found = _found(message)
    except DecodeError:
        return None
    return None if found is None else found.attributes["type"]


def _found(message: Message) -> _Found | None:
    content_type = (message.content_type or "").partition(";")[0].strip().lower()
    if content_type.startswith(_MEDIA):
        if content_type != STRUCTURED:
            raise DecodeError(f"an event as {content_type} can't be read, only as {STRUCTURED}")
        found = _in_json(message)
        if found is None:
            raise DecodeError("the body is not a CloudEvent: its specversion, id, source or type is missing")
        return found
    for prefix in _PREFIXES:
        if f"{prefix}specversion" in message.attributes:
            return _binary(message, prefix)
    # What other programs put there themselves mostly has no content type: the clouds' queues have no place for one.
    if content_type in ("", JSON) and message.body[:1] == b"{":
        return _in_json(message)
    return None


def _binary(message: Message, prefix: str) -> _Found:
    attributes = {
        name.removeprefix(prefix): value for name, value in message.attributes.items() if name.startswith(prefix)
    }
    _refuse_incomplete(attributes)
    declared = next((value for name, value in message.attributes.items() if name.lower() == "content-type"), None)
    content_type = message.content_type or declared
    return _Found(attributes, Message(message.body, message.attributes, content_type=content_type, id=message.id))


def _refuse_incomplete(attributes: Mapping[str, str]) -> None:
    if attributes.get("specversion") != "1.0":
        raise DecodeError("the message is no CloudEvent 1.0: its specversion is another")
    missing = [name for name in ("id", "source", "type") if not attributes.get(name)]
    if missing:
        raise DecodeError(f"the message is no CloudEvent: it has no {' and no '.join(missing)}")


def _in_json(message: Message) -> _Found | None:
    try:
        fields = msgspec.json.decode(message.body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None
    if {"specversion", "id", "source", "type"} <= fields.keys():
        return _structured(message, fields)
    if {"detail-type", "source", "detail", "id"} <= fields.keys():
        return _enveloped(message, fields, {"type": "detail-type"}, "detail")
    if {"eventType", "eventTime", "id", "data"} <= fields.keys():
        names = {"type": "eventType", "time": "eventTime", "source": "topic"}
        return _enveloped(message, fields, names, "data")
    return None


def _structured(message: Message, fields: Mapping[str, msgspec.Raw]) -> _Found:
    attributes = {name: _text(raw) for name, raw in fields.items() if name not in ("data", "data_base64")}
    attributes = {name: value for name, value in attributes.items() if value}
    _refuse_incomplete(attributes)
    content_type = attributes.get("datacontenttype", JSON)
    if "data_base64" in fields:
        try:
            body = base64.b64decode(_text(fields["data_base64"]), validate=True)
        except binascii.Error:
            raise DecodeError("the body is not a CloudEvent: its data_base64 is no base64") from None
    else:
        body = bytes(fields.get("data", msgspec.Raw(b"")))
        if not _is_json(content_type) and body[:1] == b'"':
            body = _text(msgspec.Raw(body)).encode()
    return _Found(attributes, Message(body, message.attributes, content_type=content_type, id=message.id))


def _enveloped(message: Message, fields: Mapping[str, msgspec.Raw], names: Mapping[str, str], data: str) -> _Found:
    """Read an envelope that is like an event, by the names that it has for some attributes."""
    own = {name: _text(fields[names.get(name, name)]) for name in _OWN if names.get(name, name) in fields}
    taken = {*names.values(), *_OWN, data}
    more = {name.lower().replace("-", ""): _text(raw) for name, raw in fields.items() if name not in taken}
    attributes = {**{name: value for name, value in more.items() if value and name not in _OWN}, **own}
    attributes.setdefault("source", attributes.get("subject", "/"))
    body = Message(bytes(fields[data]), message.attributes, content_type=JSON, id=message.id)
    return _Found(attributes, body)


def _text(raw: msgspec.Raw) -> str:
    """Return a JSON value as an attribute is written: a text as it is, null as nothing, others as JSON."""
    value = msgspec.json.decode(raw)
    if isinstance(value, str):
        return value
    return "" if value is None else bytes(raw).decode()


def _time(text: str) -> datetime:
    """Read a time: RFC 3339, or what AMQP's timestamps are read as, milliseconds since 1970."""
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        return datetime.fromisoformat(text.upper())
    except (ValueError, OverflowError, OSError):
        raise DecodeError("the message is no CloudEvent: its time is no timestamp") from None


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == JSON or media.endswith("+json")


# Writing --------------------------------------------------------------------------------------------------------------

_MOVED: Final = ("type", "source", "subject", "dataschema")


def attributes_of(event: CloudEvent[Any]) -> dict[str, str]:
    """Return the attributes that an event says; raise ValueError for one that CloudEvents doesn't allow."""
    for name in event.extensions:
        if not (name.isascii() and name.isalnum() and name == name.lower()) or name in (*_OWN, "data"):
            own = ", ".join(sorted((*_OWN, "data")))
            raise ValueError(f"{name!r} is no name of an extension: a-z and 0-9, and none of {own}")
    said = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": None if event.time is None else event.time.isoformat().replace("+00:00", "Z"),
        "dataschema": event.dataschema,
        "datacontenttype": event.datacontenttype,
    }
    return {**event.extensions, **{name: value for name, value in said.items() if value}}


def as_event(
    message: Message,
    said: Mapping[str, str],
    defaults: Mapping[str, str],
    *,
    structured: bool,
    copied: Collection[str] = (),
) -> Message:
    """Return a message as an event.

    `said` are the attributes that the publisher gave as those of an event, before what the message has under the same
    names; `defaults` are for what nobody gave. Those in `copied` are attributes of the message under their own names,
    too, where filters see them. A message that is an event already stays as it is.
    """
    if f"{PREFIX}specversion" in message.attributes or (message.content_type or "").startswith(_MEDIA):
        return message
    moved = {name: message.attributes[name] for name in _MOVED if name in message.attributes}
    others = {name: value for name, value in message.attributes.items() if name not in moved}
    event = {"specversion": "1.0", **defaults, "id": message.id, **moved, **said}
    content_type = event.pop("datacontenttype", None) or message.content_type or OCTETS
    told = {name: event[name] for name in copied if name in event}
    if structured:
        # Nothing with the prefix beside it: readers take a message with it for one in binary mode.
        body, content_type = _envelope(message.body, event, content_type), STRUCTURED
    else:
        told |= {f"{PREFIX}{name}": value for name, value in event.items()}
        body = message.body
    return Message(body, {**others, **told}, message.ordering_key, event["id"], message.published_at, content_type)


def _envelope(body: bytes, event: Mapping[str, str], content_type: str) -> bytes:
    data: dict[str, Any]
    if _is_json(content_type):
        data = {"data": msgspec.Raw(body)}
    elif content_type.startswith(TEXT):
        data = {"data": body.decode()}
    else:
        data = {"data_base64": base64.b64encode(body).decode()}
    return msgspec.json.encode({**event, "datacontenttype": content_type, **data})
