"""The clouds that polybus brings, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from polybus.registry import built_in
from polybus.topology.limits import CloudLimits

__all__ = ["CLOUDS", "LIMITS"]

CLOUDS = tuple(cloud.name for cloud in built_in("planning"))
LIMITS: Mapping[str, CloudLimits] = {
    name: getattr(import_module(f"polybus.clouds.{name}.limits"), name.upper()) for name in CLOUDS
}
