"""The address of an adopted topic that isn't known yet, and what a plan makes of one."""

from __future__ import annotations

from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.plan.names import short_hash
from polybus.topology.model import Queue, Topic

__all__ = ["forms", "standing"]


def standing(entry: Topic | Queue, settings: GcpSettings | None) -> str:
    """Give the resource name of a topic, in a project that no stack has."""
    return f"projects/polybus-given/topics/polybus-given-{short_hash(entry.name)}"


def forms(address: str) -> tuple[str, ...]:
    """Give the whole name, and that within the project."""
    return (address, address.rsplit("/", 1)[-1])
