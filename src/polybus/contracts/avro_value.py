"""From what a caller publishes to the plain values that Avro's types stand for."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec

__all__ = ["data_of"]

# What Avro has a type for: given as they are, and not as the texts that JSON makes of them.
_KEPT = (bytes, bytearray, memoryview, datetime, date, time, Decimal, uuid.UUID)


def data_of(value: Any) -> Any:
    """Return a value as dicts, lists and scalars; raise TypeError for what has no such form."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        value = dump()
    return msgspec.to_builtins(value, builtin_types=_KEPT)
