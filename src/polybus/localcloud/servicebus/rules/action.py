"""Actions of rules: SET and REMOVE on the copy that a subscription gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp.decode import decode_one
from polybus.localcloud.servicebus.amqp.sections import (
    APPLICATION,
    pairs,
    replace_map,
    replace_properties,
    set_map,
    text,
)
from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.rules.properties import INDEX, View
from polybus.localcloud.servicebus.rules.sql import Evaluate, Parser, Property
from polybus.localcloud.servicebus.rules.values import FilterError

__all__ = ["Action", "parse_action"]

Action = Callable[[Message], None]
MOST_STATEMENTS = 32  # Microsoft's "Service Bus quotas": actions per rule


def _remove(message: Message, name: str) -> None:
    lowered = name.lower()
    kept = [pair for pair in pairs(message.bare, APPLICATION) if str(text(decode_one(pair[0]))).lower() != lowered]
    message.bare = replace_map(message.bare, kept)


def _set_user(message: Message, name: str, value: Any) -> None:
    _remove(message, name)
    if value is not None:
        message.bare = set_map(message.bare, {name: value})


def _set_system(message: Message, name: str, value: Any) -> None:
    index = INDEX.get(name.lower())
    if index is None:
        raise FilterError(f"sys.{name} can't be set")
    if value is not None and not isinstance(value, str):
        raise FilterError(f"sys.{name} needs text")
    encoded = e.NULL if value is None else (e.symbol(value) if index == 6 else e.string(value))
    message.bare = replace_properties(message.bare, {index: encoded})


def _setter(target: Property, evaluate: Evaluate) -> Action:
    put = _set_user if target.scope == "user" else _set_system
    return lambda message: put(message, target.name, evaluate(View(message)))


def _statement(parser: Parser) -> Action:
    if parser.take("keyword", "set"):
        target = parser.property_name()
        if target.scope == "sys" and target.name.lower() not in INDEX:
            raise parser.fail(f"sys.{target.name} can't be set; used before this")
        parser.need("operator", "=")
        term = parser.value_or_predicate()
        if term.predicate:
            raise parser.fail("a value expected before this")
        return _setter(target, term.evaluate)
    parser.need("keyword", "remove")
    gone = parser.property_name()
    if gone.scope == "sys":
        raise parser.fail("a system property can't be removed; used before this")
    return lambda message: _remove(message, gone.name)


def parse_action(source: str, parameters: Mapping[str, object]) -> Action:
    """Return what `source` does to a message; raise SyntaxRefusal. The action raises FilterError."""
    parser = Parser(source, parameters)
    steps: list[Action] = []
    while parser.now.kind != "end":
        steps.append(_statement(parser))
        if len(steps) > MOST_STATEMENTS:
            raise parser.fail(f"more than {MOST_STATEMENTS} statements")
        parser.take("operator", ";")  # Microsoft's grammar: it may end a statement, and need not
    parser.end()

    def run(message: Message) -> None:
        for step in steps:
            step(message)
        message.read_bare()

    return run
