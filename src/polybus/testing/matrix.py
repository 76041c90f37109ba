"""The capability table: what the suite measured of each backend."""

from __future__ import annotations

from typing import Final

__all__ = ["NOTES"]

NOTES: Final[dict[str, dict[str, str]]] = {}
"""Of each backend that ran in this process: what its tests noted."""
