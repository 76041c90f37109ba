"""Rules of a subscription over AMQP: their descriptions as maps, which clients send, and as lists, which they read.

Source of names, codes and shapes: Microsoft's "AMQP request-response operations", rule operations.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp.decode import Timestamp
from polybus.localcloud.servicebus.amqp.sections import text
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal
from polybus.localcloud.servicebus.rules.rule import TRUE_FILTER, CorrelationFilter, Rule, SqlFilter
from polybus.localcloud.servicebus.rules.values import plain

__all__ = ["described_rule", "rule_of"]

COMPATIBILITY = 20
# Keys of a correlation filter's map, in the order of its list.
_CORRELATION = {
    "correlation-id": "CorrelationId",
    "message-id": "MessageId",
    "to": "To",
    "reply-to": "ReplyTo",
    "label": "Label",
    "session-id": "SessionId",
    "reply-to-session-id": "ReplyToSessionId",
    "content-type": "ContentType",
}
_RULE, _EMPTY_ACTION, _SQL_ACTION = 0x13700000004, 0x13700000005, 0x13700000006
_SQL, _CORRELATION_CODE = 0x1370000006, 0x1370000009
_KINDS = {"SqlFilter": _SQL, "TrueFilter": 0x1370000007, "FalseFilter": 0x1370000008}


def _named(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Refusal(ARGUMENT_ERROR, f"The rule's {what} is no map.")
    return {str(text(key)): text(found) for key, found in value.items()}


def _expression(value: Any, what: str) -> str:
    found = _named(value, what).get("expression")
    if not isinstance(found, str):
        raise Refusal(ARGUMENT_ERROR, f"The rule's {what} has no expression.")
    return found


def rule_of(name: Any, given: Any) -> Rule:
    """Return the rule that an add-rule request describes; raise Refusal."""
    if not isinstance(name, str):
        raise Refusal(ARGUMENT_ERROR, "The request's 'rule-name' is missing or no text.")
    described = _named(given, "description")
    action = described.get("sql-rule-action")
    return Rule(name, _filter(described), _expression(action, "action") if action is not None else None)


def _filter(described: Mapping[str, Any]) -> SqlFilter | CorrelationFilter:
    if (sql := described.get("sql-filter")) is not None:
        return SqlFilter(_expression(sql, "filter"))
    if (correlation := described.get("correlation-filter")) is None:
        return TRUE_FILTER
    found = _named(correlation, "filter")
    properties = found.pop("properties", None)
    system: dict[str, str] = {}
    for key, value in found.items():
        if key not in _CORRELATION or not isinstance(value, str | None):
            raise Refusal(ARGUMENT_ERROR, f"A correlation filter can't have this '{key}'.")
        if value is not None:
            system[_CORRELATION[key]] = value
    given = {} if properties is None else _named(properties, "properties")
    return CorrelationFilter(system, {name: _kept(value) for name, value in given.items()})


def _kept(value: Any) -> Any:
    """Return a property as rules keep it."""
    if isinstance(value, Timestamp):
        return datetime.datetime.fromtimestamp(value / 1000, datetime.UTC)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Refusal(ARGUMENT_ERROR, f"A correlation filter can't compare a {type(value).__name__}.")


def described_rule(rule: Rule) -> bytes:
    """Return a rule as enumerate-rules answers it."""
    action = e.described_by(_EMPTY_ACTION, e.EMPTY_LIST)
    if rule.action:
        action = e.described_by(_SQL_ACTION, e.items([e.string(rule.action), e.int32(COMPATIBILITY)]))
    created = e.timestamp(int(rule.created * 1000))
    return e.described_by(_RULE, e.items([_described_filter(rule.filter), action, e.string(rule.name), created]))


def _described_filter(found: SqlFilter | CorrelationFilter) -> bytes:
    if isinstance(found, SqlFilter):
        given = [e.string(found.expression), e.int32(COMPATIBILITY)]
        return e.described_by(_KINDS[found.kind], e.items(given if found.kind == "SqlFilter" else []))
    system = [e.scalar(found.system.get(name)) for name in _CORRELATION.values()]
    properties = e.mapping([(e.string(name), e.scalar(plain(value))) for name, value in found.properties.items()])
    return e.described_by(_CORRELATION_CODE, e.items([*system, properties]))
