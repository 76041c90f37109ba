"""Policy documents of IAM's language, read once and then only evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from polybus.localcloud.aws.policy.conditions import Condition, ConditionError, compile_conditions
from polybus.localcloud.aws.policy.patterns import wildcard

__all__ = ["Policy", "PolicyError", "Request", "one_or_all"]


def one_or_all(items: list[str]) -> str | list[str]:
    """Return a list as policies write it: the only item by itself."""
    return items[0] if len(items) == 1 else items


class PolicyError(ValueError):
    """A policy document that AWS would refuse; says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants to do what to which resource.

    `principal` is an ARN or a service's name; `action` is like `sqs:SendMessage`; the keys of `context` are in lower
    case.
    """

    principal: str
    action: str
    resource: str
    context: Mapping[str, str]


def _strings(value: Any, what: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) and item for item in values):
        raise PolicyError(f"{what} must be a string or a list of strings")
    return tuple(values)


@dataclass(frozen=True, slots=True)
class Statement:
    allow: bool
    actions: tuple[re.Pattern[str], ...]
    not_actions: bool
    resources: tuple[re.Pattern[str], ...]
    not_resources: bool
    principals: tuple[re.Pattern[str], ...] | None
    not_principals: bool
    conditions: tuple[Condition, ...]

    def applies(self, request: Request) -> bool:
        """Return whether this statement speaks of `request`."""
        if any(p.fullmatch(request.action) for p in self.actions) == self.not_actions:
            return False
        if any(p.fullmatch(request.resource) for p in self.resources) == self.not_resources:
            return False
        if self.principals is not None:
            named = any(p.fullmatch(request.principal) for p in self.principals)
            if named == self.not_principals:
                return False
        return all(condition.holds(request.context) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy: a resource's, whose statements name principals, or an identity's, whose don't."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, source: str | Mapping[str, Any], *, principals: bool) -> Policy:
        """Read a document; raises PolicyError where AWS would refuse it."""
        document = source
        if isinstance(source, str):
            try:
                document = msgspec.json.decode(source)
            except (msgspec.DecodeError, RecursionError) as error:
                raise PolicyError(f"it is not JSON: {error}") from None
        if not isinstance(document, Mapping) or "Statement" not in document:
            raise PolicyError("it has no Statement")
        if document.get("Version", "2008-10-17") not in ("2008-10-17", "2012-10-17"):
            raise PolicyError("its Version is neither 2012-10-17 nor 2008-10-17")
        statements = document["Statement"]
        statements = statements if isinstance(statements, list) else [statements]
        return cls(tuple(_statement(statement, principals) for statement in statements))

    def verdict(self, request: Request) -> bool | None:
        """Return False where a statement denies, True where one allows and none denies, None where none applies."""
        allowed: bool | None = None
        for statement in self.statements:
            if statement.applies(request):
                if not statement.allow:
                    return False
                allowed = True
        return allowed


_PAIRED = ("Principal", "Action", "Resource")
_ELEMENTS = {"Sid", "Effect", "Condition", *_PAIRED, *(f"Not{name}" for name in _PAIRED)}


def _statement(raw: Any, principals: bool) -> Statement:
    if not isinstance(raw, Mapping):
        raise PolicyError("a statement is not an object")
    if unknown := raw.keys() - _ELEMENTS:
        raise PolicyError(f"a statement has an unknown element: {min(unknown)}")
    if raw.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError("Effect must be Allow or Deny")
    for name in _PAIRED:
        wanted = name != "Principal" or principals
        if (name in raw) + (f"Not{name}" in raw) != (1 if wanted else 0):
            raise PolicyError(f"a statement must have {'one of' if wanted else 'neither'} {name} and Not{name}")
    actions = _strings(raw.get("Action", raw.get("NotAction")), "Action")
    resources = _strings(raw.get("Resource", raw.get("NotResource")), "Resource")
    try:
        conditions = compile_conditions(raw.get("Condition", {}))
    except ConditionError as error:
        raise PolicyError(str(error)) from None
    return Statement(
        allow=raw["Effect"] == "Allow",
        # Query-style `SQS:SendMessage` and `sqs:SendMessage` are one action: actions don't have a case.
        actions=tuple(wildcard(action, ignore_case=True) for action in actions),
        not_actions="NotAction" in raw,
        resources=tuple(wildcard(resource) for resource in resources),
        not_resources="NotResource" in raw,
        principals=_principals(raw) if principals else None,
        not_principals="NotPrincipal" in raw,
        conditions=conditions,
    )


def _principals(statement: Mapping[str, Any]) -> tuple[re.Pattern[str], ...]:
    raw = statement.get("Principal", statement.get("NotPrincipal"))
    if raw == "*":
        return (wildcard("*"),)
    if not isinstance(raw, Mapping) or not raw or raw.keys() - {"AWS", "Service", "Federated", "CanonicalUser"}:
        raise PolicyError("Principal must be * or an object of AWS, Service, Federated, CanonicalUser")
    return tuple(
        _principal(kind, name, statement["Effect"])
        for kind, value in raw.items()
        for name in _strings(value, "Principal")
    )


def _principal(kind: str, name: str, effect: str) -> re.Pattern[str]:
    if name == "*":  # everyone, services too: policies with `{"AWS": "*"}` and a condition let SNS deliver
        return wildcard("*")
    account = re.fullmatch(r"(?:arn:aws:iam::)?(\d{12})(?::root)?", name) if kind == "AWS" else None
    if account is None:
        return re.compile(re.escape(name))
    # An account allowed is a right that its own identity policies may hand on; an account denied is everyone in it.
    return wildcard(f"arn:aws:iam::{account[1]}:" + ("root" if effect == "Allow" else "*"))
