"""What Pub/Sub posts, as messages.

Wrapped, a JSON document; unwrapped, the data alone, with the rest in headers where the subscription writes metadata.
Sources: https://cloud.google.com/pubsub/docs/push, https://cloud.google.com/pubsub/docs/payload-unwrapping
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from polybus.binding import Entity
from polybus.driver import Received

__all__ = ["Malformed", "Push", "read_push"]

_META = "x-goog-pubsub-"
_NANO = 1_000_000_000
# Digits that a count of attempts doesn't have: Pub/Sub's is an int32 (ReceivedMessage in its API reference).
_LONGEST_COUNT = 11
# Headers that HTTP, Google's front end and Cloud Run set themselves: with metadata written, attributes come among them
# under names of their own, and there is nothing else to tell them apart.
_TRANSPORT = frozenset(
    [
        "accept",
        "accept-encoding",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "from",
        "function-execution-id",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    ]
)
_TRANSPORT_PREFIXES = ("x-forwarded-", "x-cloud-trace-", "x-goog-", "x-appengine-", "x-serverless-")


class Malformed(Exception):
    """A request is not what Pub/Sub posts."""


class _Stamp(msgspec.Struct, frozen=True):
    seconds: int
    nanos: int


class _Wire(msgspec.Struct, frozen=True):
    """A PubsubMessage, with the fields that the backend's decoding reads."""

    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str
    message_id: str
    publish_time: _Stamp


class _Wrapped(msgspec.Struct, frozen=True, rename="camel"):
    message_id: str
    publish_time: str
    data: str = ""
    attributes: Mapping[str, str] | None = None
    ordering_key: str = ""


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    message: _Wrapped
    subscription: str
    delivery_attempt: int = 1


class Push(msgspec.Struct, frozen=True):
    """One push request: its message, as it is on the wire, the subscription's path ("" where it isn't said)."""

    wire: Any
    subscription: str
    attempt: int

    def received(self, source: Entity, lease_until: float) -> Received[None]:
        """Return the delivery that it is."""
        from polybus.clouds.gcp.driver.wire import decode

        message, envelope = decode(self.wire, source)
        group = message.ordering_key if source.ordered else None
        redelivered = self.attempt > 1 or envelope.moves > 0
        return Received(message, self.attempt, lease_until, None, group, redelivered, envelope.moves)


def read_push(headers: Mapping[str, str], body: bytes) -> Push:
    """Read a push request, wrapped or not; raise Malformed where it is neither.

    `headers` have names in lower case. An unwrapped one without metadata has neither id nor attributes.
    """
    if f"{_META}message-id" in headers:
        return _unwrapped(headers, body)
    try:
        request = msgspec.json.decode(body, type=_Request)
    except msgspec.ValidationError as error:
        # JSON of another shape is data, unless it is a wrapper that lacks something.
        if b'"subscription"' in body and b'"message"' in body:
            raise Malformed(f"not what Pub/Sub pushes: {error}") from None
        return _unwrapped(headers, body)
    except (msgspec.DecodeError, RecursionError):
        return _unwrapped(headers, body)
    return _wrapped(request)


def _wrapped(request: _Request) -> Push:
    message = request.message
    try:
        data = base64.b64decode(message.data, validate=True)
    except ValueError as error:
        raise Malformed(f"not what Pub/Sub pushes: at $.message.data: {error}") from None
    stamp = _stamp(message.publish_time)
    wire = _Wire(data, message.attributes or {}, message.ordering_key, message.message_id, stamp)
    return Push(wire, request.subscription, max(request.delivery_attempt, 1))


def _unwrapped(headers: Mapping[str, str], body: bytes) -> Push:
    meta = {name.removeprefix(_META): value for name, value in headers.items() if name.startswith(_META)}
    attributes: dict[str, str] = {}
    if meta:
        attributes = {
            name: value
            for name, value in headers.items()
            if name not in _TRANSPORT and not name.startswith(_TRANSPORT_PREFIXES)
        }
    stamp = _stamp(meta["publish-time"]) if "publish-time" in meta else _Stamp(0, 0)
    wire = _Wire(body, attributes, meta.get("ordering-key", ""), meta.get("message-id", ""), stamp)
    attempt = meta.get("delivery-attempt", "1")
    counted = attempt.isdecimal() and len(attempt) < _LONGEST_COUNT
    return Push(wire, meta.get("subscription-name", ""), max(int(attempt), 1) if counted else 1)


def _stamp(text: str) -> _Stamp:
    try:
        # Up to nine digits of a second: more than datetime reads, and more than anyone needs.
        seconds = datetime.fromisoformat(text).astimezone(UTC).timestamp()
        if seconds < 0:
            raise ValueError(text)
    except (ValueError, OverflowError):
        raise Malformed(f"not what Pub/Sub pushes: a publish time {text[:40]!r}") from None
    return _Stamp(int(seconds), round(seconds % 1 * _NANO))
