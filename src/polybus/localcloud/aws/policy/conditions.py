"""The conditions of policy statements."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.localcloud.aws.policy.patterns import wildcard

__all__ = ["Condition", "ConditionError", "compile_conditions"]


class ConditionError(ValueError):
    """A condition that AWS would refuse; says why."""


def _like(value: str, pattern: str) -> bool:
    return wildcard(pattern).fullmatch(value) is not None


def _arn_like(value: str, pattern: str) -> bool:
    """Compare part by part: a wildcard doesn't reach over a colon of the first five parts."""
    parts, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) and all(map(_like, parts, patterns))


def _in_network(value: str, network: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(network)


_Test = Callable[[str, str], bool]

# The positive operators; those with Not are their opposites. ArnEquals and ArnLike behave alike (IAM User Guide).
_TESTS: dict[str, _Test] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.casefold() == wanted.casefold(),
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda value, wanted: value.casefold() == wanted.casefold(),
    "NumericEquals": lambda value, wanted: float(value) == float(wanted),
    "NumericLessThan": lambda value, wanted: float(value) < float(wanted),
    "NumericLessThanEquals": lambda value, wanted: float(value) <= float(wanted),
    "NumericGreaterThan": lambda value, wanted: float(value) > float(wanted),
    "NumericGreaterThanEquals": lambda value, wanted: float(value) >= float(wanted),
    "IpAddress": _in_network,
}
_NEGATIVE = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "NotIpAddress": "IpAddress",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One key under one operator; its values are alternatives, or, negated, all excluded."""

    key: str
    test: _Test | None  # None: the operator Null
    values: tuple[str, ...]
    negative: bool
    if_exists: bool

    def holds(self, context: Mapping[str, str]) -> bool:
        value = context.get(self.key)
        if self.test is None:
            return str(value is None).lower() in self.values
        if value is None:
            return self.negative or self.if_exists
        try:
            return any(self.test(value, wanted) for wanted in self.values) != self.negative
        except ValueError:  # the request's value is no number or address: it equals none
            return self.negative


def compile_conditions(raw: Any) -> tuple[Condition, ...]:
    """Read a Condition element; raises ConditionError where an operator isn't known or a value has the wrong shape."""
    if not isinstance(raw, Mapping):
        raise ConditionError("Condition must be an object")
    conditions: list[Condition] = []
    for operator, keys in raw.items():
        if not isinstance(keys, Mapping):
            raise ConditionError(f"the condition {operator} must hold an object of keys")
        for key, values in keys.items():
            conditions.append(_condition(str(operator), str(key), values))
    return tuple(conditions)


def _condition(operator: str, key: str, raw: Any) -> Condition:
    name = operator.split(":", 1)[1] if operator.startswith(("ForAnyValue:", "ForAllValues:")) else operator
    if_exists = name.endswith("IfExists") or operator.startswith("ForAllValues:")
    name = name.removesuffix("IfExists")
    positive = _NEGATIVE.get(name, name)
    if name != "Null" and positive not in _TESTS:
        raise ConditionError(f"the condition operator {operator} is not known")
    items = raw if isinstance(raw, list) else [raw]
    if not items or not all(isinstance(item, str | bool | int | float) for item in items):
        raise ConditionError(f"the condition {operator} of {key} must have values")
    values = tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in items)
    if name == "Null":
        return Condition(key.lower(), None, tuple(value.lower() for value in values), False, False)
    test = _TESTS[positive]
    try:
        if positive == "IpAddress":
            for value in values:
                ipaddress.ip_network(value)
        if positive.startswith("Numeric"):
            for value in values:
                float(value)
    except ValueError as error:
        raise ConditionError(f"the condition {operator} of {key}: {error}") from None
    return Condition(key.lower(), test, values, name in _NEGATIVE, if_exists)
