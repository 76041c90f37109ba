"""Which encoder a target takes."""

from __future__ import annotations

from polybus.binding import Entity
from polybus.bus.outgoing import Encoder
from polybus.telemetry import Hooks

__all__ = ["encoder_for"]


def encoder_for(target: Entity, backend: str, hooks: Hooks | None) -> Encoder:
    """Return what makes a target's messages; raise ConfigError where it has a contract that can't be read."""
    if target.schema is None:
        return Encoder(target, backend, hooks)
    from polybus.bus.checked import CheckedEncoder

    return CheckedEncoder(target, backend, hooks)
