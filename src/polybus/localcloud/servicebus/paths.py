"""Addresses of entities."""

from __future__ import annotations

__all__ = ["entity_path"]


def entity_path(address: str) -> str:
    """Return the entity's path of an address: with or without scheme and host, as clients write either."""
    if "://" in address:
        address = address.split("://", 1)[1].partition("/")[2]
    return address.strip("/")
