"""Rigs of the embedded backends; those of the clouds stand in tests/conformance, beside the servers that they need."""

from __future__ import annotations

from polybus.testing.rigs.embedded import MemoryRig, SqliteRig

__all__ = ["MemoryRig", "SqliteRig"]
