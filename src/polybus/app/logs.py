"""What a log line needs beside its text: when, which service, which source, which message; never a body.

`TextFormatter` and `JsonFormatter` are what `polybus run` uses, and can be named in a configuration of one's own. Both
find the place of a line by themselves: the app that logs it, and the delivery that is handled meanwhile, also where a
handler's own code, or a library that it calls, logs it. Attributes of the record (`extra=`) go before that.
"""

from __future__ import annotations

import contextvars
import logging
from datetime import UTC, datetime
from typing import Any

__all__ = ["JsonFormatter", "TextFormatter", "at_delivery", "at_service", "at_source"]

_service: contextvars.ContextVar[str] = contextvars.ContextVar("polybus_log_service", default="")
# The source, and the message's id where one is handled.
_place: contextvars.ContextVar[tuple[str, str]] = contextvars.ContextVar("polybus_log_place", default=("", ""))

# What a record has by itself; the rest came with `extra=`.
_OWN = frozenset(
    (*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime", "service", "source", "message_id")
)


def at_service(name: str | None) -> None:
    """Have lines of this context, and of what is started in it, bear a service's name."""
    _service.set(name or "")


def at_source(source: str) -> None:
    """Have lines of this context, and of what is started in it, bear a subscription's or queue's name."""
    _place.set((source, ""))


def at_delivery(source: str, message_id: str) -> None:
    """Have lines of this context, and of what is started in it, bear a message's id and where it came from."""
    _place.set((source, message_id))


class TextFormatter(logging.Formatter):
    """Lines for people: time in UTC, `service=`, `source=` and `message=` where there are any, level, logger, text."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows it."""
        names = {"message_id": "message"}
        place = "".join(f"{names.get(name, name)}={value} " for name, value in _where(record).items())
        return f"{_time(record)} {place}{super().format(record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and where there are any service, source, message_id,
    exception, stack, and what came with `extra=`; what JSON has no word for is written as text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            **_where(record),
            "message": record.getMessage(),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            told["exception"] = record.exc_text
        if record.stack_info:
            told["stack"] = self.formatStack(record.stack_info)
        extra = {name: value for name, value in vars(record).items() if name not in _OWN}
        import json  # msgspec's has no `default`, and who logs no JSON needs none

        return json.dumps({**extra, **told}, default=str)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _where(record: logging.LogRecord) -> dict[str, str]:
    source, message_id = _place.get()
    found = {"service": _service.get(), "source": source, "message_id": message_id}
    found |= {name: str(value) for name in found if (value := getattr(record, name, None)) is not None}
    return {name: value for name, value in found.items() if value}
