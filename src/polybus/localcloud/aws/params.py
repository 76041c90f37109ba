"""Reading a request's parameters, which are of the right JSON type in one protocol and text in the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from polybus.localcloud.aws.errors import SQS_PREFIX, AwsError, missing_parameter

__all__ = ["Params", "boolean", "check_batch", "integer", "required", "strings", "text", "text_map"]

Params = Mapping[str, Any]

_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def _wrong(name: str, found: object) -> AwsError:
    return AwsError("InvalidParameterValue", f"Value {str(found)[:80]} for parameter {name} is invalid.")


def text(params: Params, name: str) -> str | None:
    """Return a string parameter, None where it is absent."""
    value = params.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(name, value)
    return value


def required(params: Params, name: str) -> str:
    value = text(params, name)
    if not value:
        raise missing_parameter(name)
    return value


def integer(params: Params, name: str, low: int, high: int) -> int | None:
    """Return an integer parameter, None where it is absent; refuses what is out of range."""
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        value = int(value)
    if type(value) is not int:
        raise _wrong(name, value)
    if not low <= value <= high:
        reason = f"Must be between {low} and {high}, if provided."
        if low == 0:
            reason = f"Must be >= 0 and <= {high}, if provided."
        raise AwsError("InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}")
    return value


def boolean(params: Params, name: str) -> bool:
    value = params.get(name)
    if value not in (None, True, False, "true", "false"):
        raise _wrong(name, value)
    return value in (True, "true")


def strings(params: Params, name: str) -> list[str]:
    """Return a list of strings, empty where it is absent."""
    value = params.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, value)
    return value


def text_map(params: Params, name: str) -> dict[str, str]:
    """Return a map of strings, empty where it is absent."""
    value = params.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise _wrong(name, value)
    return dict(value)


def check_batch(params: Params, name: str, *, prefix: str = SQS_PREFIX) -> list[Mapping[str, Any]]:
    """Return the entries of a batch: 1 to 10, with distinct legal ids."""
    entries = params.get(name)
    if entries is None or entries in ([], ""):
        raise AwsError(prefix + "EmptyBatchRequest", "There should be at least one entry in the request.")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise _wrong(name, entries)
    if len(entries) > 10:
        found = f"Maximum number of entries per request are 10. You have sent {len(entries)}."
        if not prefix:
            found = "The batch request contains more entries than permissible."
        raise AwsError(prefix + "TooManyEntriesInBatchRequest", found)
    seen: set[str] = set()
    for entry in entries:
        entry_id = entry.get("Id")
        if not isinstance(entry_id, str) or not _ENTRY_ID.fullmatch(entry_id):
            raise AwsError(prefix + "InvalidBatchEntryId", _entry_id_problem(entry_id, prefix))
        if entry_id in seen:
            found = (
                f"Id {entry_id} repeated." if prefix else "Two or more batch entries in the request have the same Id."
            )
            raise AwsError(prefix + "BatchEntryIdsNotDistinct", found)
        seen.add(entry_id)
    return entries


def _entry_id_problem(entry_id: object, prefix: str) -> str:
    """Return what SQS says, or SNS where there is no prefix."""
    if prefix:
        rule = "A batch entry id can only contain alphanumeric characters, hyphens and underscores."
        return f"{rule} It can be at most 80 letters long."
    shown = str(entry_id)[:200]
    if isinstance(entry_id, str) and len(entry_id) > 80:
        return f"The Id of a batch entry in the batch request is too long: {shown}"
    return f"The Id of a batch entry in the batch request contains an impermissible character: {shown}"
