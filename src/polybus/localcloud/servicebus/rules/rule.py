"""One rule of a subscription."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal
from polybus.localcloud.servicebus.rules.action import Action, parse_action
from polybus.localcloud.servicebus.rules.properties import View
from polybus.localcloud.servicebus.rules.sql import parse_filter
from polybus.localcloud.servicebus.rules.values import plain

__all__ = ["CORRELATION_FIELDS", "CompiledRule", "CorrelationFilter", "Rule", "SqlFilter"]

CORRELATION_FIELDS = (
    "CorrelationId", "MessageId", "To", "ReplyTo", "Label", "SessionId", "ReplyToSessionId", "ContentType",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SqlFilter:
    """A condition in SQL; `kind` keeps whether it was given as SqlFilter, TrueFilter or FalseFilter."""

    expression: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "SqlFilter"


@dataclass(frozen=True, slots=True)
class CorrelationFilter:
    """Equality of all that is named: `system` by names of CORRELATION_FIELDS, `properties` by the sender's own."""

    system: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


TRUE_FILTER = SqlFilter("1=1", kind="TrueFilter")


@dataclass(frozen=True, slots=True)
class Rule:
    name: str = "$Default"
    filter: SqlFilter | CorrelationFilter = TRUE_FILTER
    action: str | None = None
    action_parameters: Mapping[str, Any] = field(default_factory=dict)
    created: float = 0.0

    def row(self) -> dict[str, Any]:
        """Return what a store keeps of it."""
        found = self.filter
        common = {
            "name": self.name, "action": self.action, "action_parameters": dict(self.action_parameters),
            "created": self.created,
        }  # fmt: skip
        if isinstance(found, SqlFilter):
            return common | {"sql": [found.expression, dict(found.parameters), found.kind]}
        return common | {"correlation": [dict(found.system), dict(found.properties)]}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Rule:
        found = SqlFilter(*row["sql"]) if "sql" in row else CorrelationFilter(*row["correlation"])
        return cls(row["name"], found, row["action"], row["action_parameters"], row["created"])


class CompiledRule:
    """A rule ready to run; raises Refusal where its SQL is wrong."""

    __slots__ = ("action", "matches", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.matches: Callable[[View], bool] = _condition(rule.filter)
        self.action: Action | None = None if not rule.action else parse_action(rule.action, rule.action_parameters)

    def apply(self, message: Message) -> None:
        """Run the action on a copy of a message; raise FilterError."""
        if self.action is not None:
            self.action(message)


def _condition(found: SqlFilter | CorrelationFilter) -> Callable[[View], bool]:
    if isinstance(found, SqlFilter):
        evaluate = parse_filter(found.expression, found.parameters)
        return lambda view: evaluate(view) is True
    if not found.system and not found.properties:
        raise Refusal(ARGUMENT_ERROR, "A correlation filter must name at least one property.")
    unknown = set(found.system) - set(CORRELATION_FIELDS)
    if unknown:
        raise Refusal(ARGUMENT_ERROR, f"A correlation filter can't name {sorted(unknown)}.")
    system = dict(found.system)
    properties = {name: plain(value) for name, value in found.properties.items()}

    def correlates(view: View) -> bool:
        return all(view.system(name) == value for name, value in system.items()) and all(
            _equal(view.application.get(name), value) for name, value in properties.items()
        )

    return correlates


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, bytes) and isinstance(wanted, str):
        return False
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)
