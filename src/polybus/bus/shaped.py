"""From what a caller publishes to what a driver sends, where the topology says what form messages have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from polybus.binding import Binding, Entity
from polybus.bus.checked import CheckedEncoder
from polybus.bus.outgoing import Encoder
from polybus.clock import Clock
from polybus.cloudevents import CloudEvent, as_event, attributes_of, data_of
from polybus.driver import Outgoing
from polybus.durations import Duration
from polybus.errors import DecodeError, Fault, FaultKind, PublishFailed
from polybus.message import Message
from polybus.telemetry import Hooks

__all__ = ["EventEncoder"]


class EventEncoder(Encoder):
    """Makes CloudEvents of what is published; what the contract says is held to the data alone."""

    def __init__(
        self, target: Entity, binding: Binding, hooks: Hooks | None, service: str | None, clock: Clock
    ) -> None:
        super().__init__(target, binding.backend, hooks)
        self._checked = None if target.schema is None else CheckedEncoder(target, binding.backend, hooks)
        self._clock = clock
        self._structured = target.format == "cloudevents-structured"
        source = f"/{binding.bus}" if service is None else f"/{binding.bus}/{service}"
        self._defaults = {"type": target.name, "source": source}

    def outgoing(
        self, value: object, attributes: Mapping[str, str] | None, ordering_key: str | None, delay: Duration
    ) -> tuple[Outgoing, bool]:
        """Return what to send, as Encoder does; a CloudEvent says its own attributes."""
        event = value if isinstance(value, CloudEvent) else None
        body: Any = value if event is None else event.data
        outgoing, blocks = super().outgoing(body, attributes, ordering_key, delay)
        if self._checked is not None:
            outgoing = self._checked.held(outgoing, body, _data(outgoing.message))
        now = datetime.fromtimestamp(self._clock.time(), UTC).isoformat().replace("+00:00", "Z")
        said = {} if event is None else attributes_of(event)
        message = as_event(
            outgoing.message,
            said,
            {**self._defaults, "time": now},
            structured=self._structured,
            copied=self._target.filter_attributes,
        )
        token = outgoing.token or ("" if message.id == outgoing.message.id else outgoing.message.id)
        return msgspec.structs.replace(outgoing, message=message, token=token), blocks

    def _encoded(self, value: object) -> tuple[bytes, str]:
        return super()._encoded(value) if self._checked is None else self._checked.encode(value)


def _data(message: Message) -> bytes:
    try:
        return data_of(message)
    except DecodeError as error:
        raise PublishFailed((Fault(FaultKind.INVALID, str(error)),)) from None
