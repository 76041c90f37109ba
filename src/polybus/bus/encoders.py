"""Which encoder a target takes."""

from __future__ import annotations

from polybus.binding import Binding, Entity
from polybus.bus.outgoing import Encoder
from polybus.clock import Clock
from polybus.telemetry import Hooks

__all__ = ["encoder_for"]


def encoder_for(target: Entity, binding: Binding, hooks: Hooks | None, *, service: str | None, clock: Clock) -> Encoder:
    """Return what makes a target's messages; raise ConfigError where it has a contract that can't be read."""
    if target.format != "plain":
        from polybus.bus.shaped import EventEncoder

        return EventEncoder(target, binding, hooks, service, clock)
    if target.schema is None:
        return Encoder(target, binding.backend, hooks)
    from polybus.bus.checked import CheckedEncoder

    return CheckedEncoder(target, binding.backend, hooks)
