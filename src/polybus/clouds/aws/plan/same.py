"""When two policies mean the same to AWS, though they are written differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.plan import same
from polybus.plan.same import Same

__all__ = ["access", "loosened", "policies"]


def policies(planned: Any, found: Any) -> bool:
    """Compare policies, in which everyone is written in two ways and actions in any case."""
    return same.loosely(_usual(planned), _usual(found))


def access(without: str) -> Same:
    """Compare access policies; a denial of that id, which the stack's configuration alone decides, is looked past."""

    def alike(planned: Any, found: Any) -> bool:
        return policies(_undenied(planned, without), _undenied(found, without))

    return alike


def loosened(value: Any) -> Any:
    """Read a policy, or the JSON text of one, in the one form in which `policies` compares; for showing it."""
    return same.loosened(_usual(value))


def _undenied(value: Any, sid: str) -> Any:
    policy = same.parsed(value)
    statements = policy.get("Statement") if isinstance(policy, Mapping) else None
    if not isinstance(statements, list):
        return policy
    rest = [item for item in statements if (item.get("Effect"), item.get("Sid")) != ("Deny", sid)]
    return {**policy, "Statement": rest}


def _usual(value: Any) -> Any:
    return _written(same.parsed(value), "")


def _written(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _written(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(item, key) for item in value]
    if key == "Principal" and value == "*":
        return {"AWS": "*"}
    return value.lower() if key == "Action" and isinstance(value, str) else value
