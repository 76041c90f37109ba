"""The clouds that polybus brings, by name."""

from __future__ import annotations

from polybus.registry import built_in

__all__ = ["CLOUDS"]

CLOUDS = tuple(cloud.name for cloud in built_in("planning"))
