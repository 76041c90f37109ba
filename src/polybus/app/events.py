"""Handlers of sources whose messages are CloudEvents."""

from __future__ import annotations

from dataclasses import replace

from polybus.app.handler import Handler
from polybus.cloudevents import unwrapping
from polybus.errors import ConfigError

__all__ = ["unwrapped"]


def unwrapped(handler: Handler) -> Handler:
    """Return a handler that is given the data of events.

    Raises ConfigError where it runs in a process of its own, which would see the event.
    """
    if handler.kinds is not None:
        return replace(handler, kinds={kind: unwrapped(each) for kind, each in handler.kinds.items()})
    decode = unwrapping(handler.signature.decode)
    if decode is handler.signature.decode:
        return handler
    if handler.where == "process":
        raise ConfigError(
            f"handler {handler.name} ({handler.signature.place}): {handler.source!r} has CloudEvents, and with "
            "executor='process' a handler sees them as they are: have it take polybus.cloudevents.CloudEvent[...]"
        )
    return replace(handler, signature=replace(handler.signature, decode=decode))
