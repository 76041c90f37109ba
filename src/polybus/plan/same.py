"""When two values mean the same, though they are written differently: a plan's, and a cloud's answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from polybus.plan.values import Json

__all__ = [
    "ANY",
    "Same",
    "access",
    "at_least_on",
    "delivery_policies",
    "documents",
    "durations",
    "expiries",
    "flag",
    "flags",
    "loosened",
    "members",
    "numbers",
    "policies",
    "seconds",
    "tags",
    "texts",
]

Same: TypeAlias = Callable[[Any, Any], bool]


ANY = "*"
"""Planned for what only the stack's configuration says, such as the function behind a name: anything is the same."""


def texts(planned: Any, found: Any) -> bool:
    """Compare as they stand; nothing is the same as an empty text."""
    return planned == ANY or str(planned or "") == str(found or "")


def flag(value: Any) -> bool:
    """Read a boolean as APIs write it; what isn't set is off."""
    return str(value).lower() == "true"


def flags(planned: Any, found: Any) -> bool:
    return flag(planned) == flag(found)


def at_least_on(planned: Any, found: Any) -> bool:
    """Take what is on where it was planned to be off, and not the other way round."""
    return bool(planned != "on" or found == "on")


def numbers(default: float) -> Same:
    """Compare numbers, or texts of such; what isn't set is the cloud's default."""

    def alike(planned: Any, found: Any) -> bool:
        return float(default if planned is None else planned) == float(default if found is None else found)

    return alike


def seconds(default: str) -> Same:
    """Compare durations such as "604800s"; what isn't set is the cloud's default."""

    def alike(planned: Any, found: Any) -> bool:
        return _seconds(planned or default) == _seconds(found or default)

    return alike


def durations(planned: Any, found: Any) -> bool:
    """Compare tables of durations."""
    return _all_seconds(planned) == _all_seconds(found)


def expiries(planned: Any, found: Any) -> bool:
    """Compare expiration policies: one without a time says never, none at all is the cloud's default."""
    if planned is None or found is None:
        return planned is found
    return bool((planned.get("ttl") or "") == (found.get("ttl") or ""))


def members(planned: Any, found: Any) -> bool:
    """Compare members of IAM, whichever project's or universe's service agent it is: the stack's configuration says."""
    return _anonymous(planned) == _anonymous(found)


def _anonymous(member: Any) -> str:
    return re.sub(r"service-[^@]+@gcp-sa-pubsub\..*", "service-agent@gcp-sa-pubsub", str(member))


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _all_seconds(value: Any) -> dict[str, float]:
    return {name: _seconds(text) for name, text in (value or {}).items()}


def tags(planned: Any, found: Any) -> bool:
    """Look for the planned ones alone: the stack's configuration, and others, may add more."""
    there = found or {}
    return all(there.get(key) == value for key, value in (planned or {}).items())


def documents(planned: Any, found: Any) -> bool:
    """Compare JSON whose lists have no order; nothing is the same as an empty object."""
    return bool(_canonical(_parsed(planned)) == _canonical(_parsed(found)))


def policies(planned: Any, found: Any) -> bool:
    """Compare documents in which AWS takes one value for a list of it, "5" for 5, and actions in any case."""
    return bool(_canonical(_loose(_parsed(planned))) == _canonical(_loose(_parsed(found))))


def access(without: str) -> Same:
    """Compare access policies; a denial of that id, which the stack's configuration alone decides, is looked past."""

    def alike(planned: Any, found: Any) -> bool:
        return policies(_undenied(_parsed(planned), without), _undenied(_parsed(found), without))

    return alike


def _undenied(policy: Any, sid: str) -> Any:
    statements = policy.get("Statement") if isinstance(policy, Mapping) else None
    if not isinstance(statements, list):
        return policy
    rest = [item for item in statements if (item.get("Effect"), item.get("Sid")) != ("Deny", sid)]
    return {**policy, "Statement": rest}


def delivery_policies(planned: Any, found: Any) -> bool:
    """Compare what was planned of a delivery policy: SNS fills in all the rest."""
    return _within(_loose(_parsed(planned)), _loose(_parsed(found)))


def loosened(value: Any) -> Any:
    """Read a document, or the JSON text of one, in the one form in which `policies` compares; for showing it."""
    document = _parsed(value)
    return None if document is None else _loose(document)


def _parsed(value: Any) -> Any:
    if isinstance(value, Json):
        return value.value or None
    return json.loads(value) or None if isinstance(value, str) and value else value or None


def _loose(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _loose(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_loose(item, key) for item in value]
        return items[0] if len(items) == 1 else items
    if key == "Principal" and value == "*":
        return {"AWS": "*"}
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return text.lower() if key == "Action" else text


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return sorted((_canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _within(planned: Any, found: Any) -> bool:
    if isinstance(planned, Mapping) and isinstance(found, Mapping):
        return all(key in found and _within(item, found[key]) for key, item in planned.items())
    return bool(planned == found)
