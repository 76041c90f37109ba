"""A message as a table's row holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.driver import Outgoing
from polybus.message import Message

__all__ = ["Row", "outgoing_of", "values_of"]


class Row(msgspec.Struct, frozen=True, gc=False):
    """One message that waits for the relay.

    `token` names the call that published it, and is empty where the message's id does (`polybus.driver.Outgoing`).
    `ordering_key` is the caller's, None where it gave none. `attributes` is JSON. Times are seconds since the epoch;
    `delay` is in seconds, from `created_at` on. `reason` says why the last of `attempts` failed; with `failed_at` it
    did so for good.
    """

    seq: int
    id: str
    token: str
    target: str
    ordering_key: str | None
    body: bytes
    content_type: str | None
    attributes: str
    delay: float
    created_at: float
    attempts: int = 0
    failed_at: float | None = None
    reason: str | None = None


def values_of(outgoing: Outgoing, target: str, *, keyed: bool, now: float) -> dict[str, Any]:
    """Return the values of a message's row; `keyed` says that its caller gave the ordering key.

    Raises ValueError for what a database's text can't hold.
    """
    message = outgoing.message
    key = message.ordering_key if keyed else None
    for what, text in (("id", message.id), ("ordering key", key or ""), ("content type", message.content_type or "")):
        if "\0" in text:
            raise ValueError(f"the {what} of a message to {target!r} has a NUL character, which no text column takes")
    try:
        attributes = msgspec.json.encode(dict(message.attributes)).decode()
    except (UnicodeEncodeError, TypeError) as error:
        raise ValueError(f"the attributes of a message to {target!r} can't be stored: {error}") from None
    return {
        "id": message.id,
        "token": outgoing.token,
        "target": target,
        "ordering_key": key,
        "body": message.body,
        "content_type": message.content_type,
        "attributes": attributes,
        "delay": outgoing.delay,
        "created_at": now,
    }


def outgoing_of(row: Row, *, ordered: bool, now: float) -> Outgoing:
    """Return what is sent for a row: the same, whoever sends it and however often, but for what is over of its delay.

    Where order is kept and the caller gave no key, the key is the message's own, as in `Bus.publish`.
    """
    attributes: Mapping[str, str] = msgspec.json.decode(row.attributes, type=dict[str, str])
    key = row.ordering_key
    if key is None and ordered:
        key = row.token or row.id
    message = Message(bytes(row.body), attributes, key, row.id, None, row.content_type)
    waited = max(now - row.created_at, 0.0)
    return Outgoing(message, max(row.delay - waited, 0.0), 0, row.token)
