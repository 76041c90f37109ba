"""The control face without its protocol: the servers that it steers, and what is asked of them as plain data."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from polybus.clock import SteppedClock
from polybus.localcloud.control.steering import Entity, Refused, Shown, Steerable, Steering
from polybus.localcloud.events import KINDS, Event, Wanted
from polybus.localcloud.store import Row

__all__ = ["Asked", "Desk", "Station"]

Asked = Mapping[str, Any]
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_MESSAGES = 1_000
LONGEST = 600.0
"""Seconds that a wait may take, a delay may hold up a call."""
FURTHEST = 366 * 86_400.0


class Station:
    """One server, and what a test asks of it. Methods take a request's fields and raise Refused for what is wrong."""

    def __init__(self, steering: Steering, clock: SteppedClock) -> None:
        self.steering = steering
        self._clock = clock
        self._snapshots: dict[str, Sequence[Row]] = {}

    # -- looking

    def entities(self, _: Asked) -> dict[str, Any]:
        """List what there is, and how many messages each has."""
        return {"entities": [_entity(one) for one in self.steering.entities()]}

    def messages(self, asked: Asked) -> dict[str, Any]:
        """Show what lies in `entity`, up to `limit`."""
        limit = _number(asked, "limit", 100, MOST_MESSAGES, whole=True)
        found = self.steering.messages(_text(asked, "entity"), int(limit))
        return {"messages": [_message(one) for one in found]}

    async def events(self, asked: Asked) -> dict[str, Any]:
        """Wait until `count` events have come, of those that are asked for, and return them.

        `complete` is false where `timeout` seconds were over first.
        """
        kind = _text(asked, "kind", None)
        if kind is not None and kind not in KINDS:
            raise Refused(f"kind is one of {', '.join(KINDS)}, not {kind[:40]!r}")
        after = _number(asked, "after", 0, 1 << 53, whole=True)
        wanted = Wanted(int(after), kind, _text(asked, "entity", None), _text(asked, "message", None))
        count = int(_number(asked, "count", 0, 10_000, whole=True))
        timeout = _number(asked, "timeout", 10, LONGEST)
        events = self.steering.events
        found = await events.wait(wanted, count, timeout)
        return {"events": [_event(one) for one in found], "complete": len(found) >= count, "last": events.last}

    # -- doing

    async def publish(self, asked: Asked) -> dict[str, Any]:
        """Publish `body`, text or base64 in `body_base64`, with `attributes` and `key`, to `entity`."""
        attributes = asked.get("attributes") or {}
        if not isinstance(attributes, dict) or not all(
            isinstance(one, str) for pair in attributes.items() for one in pair
        ):
            raise Refused("attributes is an object of texts")
        encoded = _text(asked, "body_base64", None)
        try:
            body = _text(asked, "body").encode() if encoded is None else base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise Refused("the body is no UTF-8, or body_base64 no base64") from None
        return {"id": await self.steering.publish(_text(asked, "entity"), body, attributes, _text(asked, "key", None))}

    async def redrive(self, asked: Asked) -> dict[str, Any]:
        """Give back to `entity` what it has among its dead letters."""
        return {"redriven": await self.steering.redrive(_text(asked, "entity"))}

    def plan(self, asked: Asked) -> dict[str, Any]:
        """Have the next `count` calls of `operation` fail with `error`, `after` they are done, or wait for `delay`."""
        operation = _text(asked, "operation")
        count = int(_number(asked, "count", 1, 100_000, whole=True))
        error, delay = _text(asked, "error", None), _number(asked, "delay", 0, LONGEST)
        if (error is None) == (delay == 0) or count < 1:
            raise Refused("say either error or delay, and count of 1 and more")
        if error is not None:
            self.steering.fail(operation, error, count, after=asked.get("after") is True)
        else:
            self.steering.delay(operation, delay, count)
        return {}

    def clear(self, _: Asked) -> dict[str, Any]:
        """Forget what was to fail or to wait, and hasn't."""
        self.steering.clear()
        return {}

    async def cut(self, _: Asked) -> dict[str, Any]:
        """Break every connection."""
        await self.steering.cut()
        return {}

    def clock(self, asked: Asked) -> dict[str, Any]:
        """Move the clock forward by `advance` seconds, and tell it."""
        seconds = _number(asked, "advance", 0, FURTHEST)
        if seconds > 0:
            self._clock.advance(seconds)
        return {"time": self._clock.time()}

    # -- snapshots

    def snapshots(self, _: Asked) -> dict[str, Any]:
        """List the snapshots by name."""
        return {"snapshots": sorted(self._snapshots)}

    async def snapshot(self, asked: Asked) -> dict[str, Any]:
        """Keep all that the server has as the snapshot `name`."""
        name = _text(asked, "name")
        if not _NAME.fullmatch(name):
            raise Refused("a snapshot's name has up to 64 of A-Z a-z 0-9 . _ -")
        self._snapshots[name] = await self.steering.rows()
        return {"rows": len(self._snapshots[name])}

    async def restore(self, asked: Asked) -> dict[str, Any]:
        """Have the server be as it was at the snapshot `name`; connections end, and the clock goes on."""
        rows = self._snapshots.get(_text(asked, "name"))
        if rows is None:
            raise Refused("there is no such snapshot")
        await self.steering.restore(rows)
        return {}

    def forget(self, asked: Asked) -> dict[str, Any]:
        """Drop the snapshot `name`."""
        if self._snapshots.pop(_text(asked, "name"), None) is None:
            raise Refused("there is no such snapshot")
        return {}


class Desk:
    """The stations by cloud. One clock is every server's."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.stations: dict[str, Station] = {}

    def take(self, cloud: str, server: Steerable) -> Station:
        """Steer a server, which isn't started yet."""
        station = self.stations[cloud] = Station(server.steer(self.clock), self.clock)
        return station


_MISSING = object()


def _text(asked: Asked, name: str, default: Any = _MISSING) -> Any:
    value = asked.get(name)
    if value is None and default is not _MISSING:
        return default
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} is missing, or no text")
    return value


def _number(asked: Asked, name: str, default: float, most: float, *, whole: bool = False) -> float:
    value = asked.get(name)
    if value is None:
        return default
    try:
        number = float("nan" if isinstance(value, bool) else value)  # in a query it is text
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 <= number <= most or (whole and number != int(number)):
        raise Refused(f"{name} is a {'whole ' if whole else ''}number from 0 to {most:g}")
    return number


def _entity(entity: Entity) -> dict[str, Any]:
    return {**dataclasses.asdict(entity), "gives_to": list(entity.gives_to)}


def _message(message: Shown) -> dict[str, Any]:
    found = dataclasses.asdict(message)
    body = found.pop("body")
    try:
        found["body"] = body.decode()
    except UnicodeDecodeError:
        found["body_base64"] = base64.b64encode(body).decode()
    return found


def _event(event: Event) -> dict[str, Any]:
    return event._asdict()
