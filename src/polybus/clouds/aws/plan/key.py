"""Whether the policy of a customer-managed key lets in whom a stack relies on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["NEEDED", "kept_out"]

NEEDED = ("kms:Decrypt", "kms:GenerateDataKey")

# Of a statement's conditions those that say for whom a service acts; others are left to who wrote them.
_SOURCES = {"aws:sourcearn": lambda arn: arn, "aws:sourceaccount": lambda arn: arn.split(":")[4]}


def kept_out(policy: str, service: str, sources: Sequence[str]) -> list[str]:
    """List the ARNs for which a service may not use the key; a policy that denies is left to whom it tells so.

    A policy may let in by account or by ARN, with patterns, and its actions may have wildcards.
    """
    statements = [item for item in _listed(json.loads(policy).get("Statement")) if item.get("Effect") == "Allow"]
    mine = [item for item in statements if _names(item.get("Principal"), service)]
    return [
        arn
        for arn in sources
        if not all(any(_does(item, action) and _for(item, arn) for item in mine) for action in NEEDED)
    ]


def _names(principal: Any, service: str) -> bool:
    if isinstance(principal, Mapping):
        return service in _listed(principal.get("Service")) or "*" in _listed(principal.get("AWS"))
    return bool(principal == "*")


def _does(statement: Mapping[str, Any], action: str) -> bool:
    return any(fnmatchcase(action.lower(), str(given).lower()) for given in _listed(statement.get("Action")))


def _for(statement: Mapping[str, Any], arn: str) -> bool:
    return all(
        any(fnmatchcase(_SOURCES[key](arn), pattern) for pattern in patterns)
        for key, patterns in _conditions(statement)
        if key in _SOURCES
    )


def _conditions(statement: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for operator, given in (statement.get("Condition") or {}).items():
        if operator.startswith(("StringEquals", "StringLike", "ArnEquals", "ArnLike")):
            for key, values in given.items():
                yield key.lower(), [str(value) for value in _listed(values)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
