"""What a filter sees of a message."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from uuid import uuid4

from polybus.localcloud.servicebus.amqp.decode import Timestamp, decode
from polybus.localcloud.servicebus.amqp.sections import APPLICATION, PROPERTIES, section, sections, text
from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.rules.values import FilterError

__all__ = ["INDEX", "View", "new_id"]

# Fields of the properties section (AMQP 3.2.4) by the lower-case names that filters use.
INDEX = {
    "messageid": 0, "to": 2, "label": 3, "subject": 3, "replyto": 4, "correlationid": 5, "contenttype": 6,
    "sessionid": 10, "replytosessionid": 12,
}  # fmt: skip


def new_id() -> str:
    return str(uuid4())


class View:
    """The properties of a message, decoded when they are first asked for."""

    def __init__(self, message: Message) -> None:
        self._message = message

    @cached_property
    def application(self) -> dict[str, Any]:
        found = section(self._message.bare, APPLICATION)
        return {text(key): value for key, value in found.items()} if isinstance(found, dict) else {}

    @cached_property
    def _lowered(self) -> dict[str, Any]:
        lowered: dict[str, Any] = {}
        for name, value in self.application.items():
            lowered.setdefault(str(name).lower(), value)
        return lowered

    @cached_property
    def _fields(self) -> list[Any]:
        for code, _, value, _ in sections(self._message.bare):
            if code == PROPERTIES:
                found = decode(self._message.bare, value)[0]
                return found if isinstance(found, list) else []
        return []

    def user(self, name: str) -> Any:
        """Return an application property by its name in any case; None where there is none."""
        return self._lowered.get(name.lower())

    def has(self, name: str) -> bool:
        return name.lower() in self._lowered

    def system(self, name: str) -> Any:
        """Return a system property; raise FilterError for a name that Service Bus doesn't know."""
        lowered = name.lower()
        index = INDEX.get(lowered)
        if index is not None:
            value = self._fields[index] if index < len(self._fields) else None
            return text(value)
        message = self._message
        match lowered:
            case "timetolive":
                return message.ttl
            case "partitionkey":
                return message.partition_key
            case "enqueuedtimeutc":
                return Timestamp(int(message.enqueued * 1000))
            case "scheduledenqueuetimeutc":
                return None if message.scheduled is None else Timestamp(int(message.scheduled * 1000))
            case "sequencenumber" | "enqueuedsequencenumber":
                return message.sequence
            case "deliverycount":
                return message.delivery_count
            case "size":
                return message.size
            case "state":
                return message.state
        raise FilterError(f"sys.{name} is no system property")
