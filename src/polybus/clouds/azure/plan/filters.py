"""A filter in Service Bus SQL.

    (region IN ('eu','uk') AND NOT EXISTS(test) AND NOT EXISTS(polybus_to)) OR polybus_to='1a2b3c4d'

Its logic is three-valued: a comparison with an absent property is unknown, and so is its NOT. So `not` stands only at
EXISTS, a negated test brings its own test for absence, and unknown is left where only true counts.
Source: "Subscription rule SQL filter syntax" in Microsoft's Service Bus documentation.
"""

from __future__ import annotations

import re

from polybus.clouds.azure.limits import AZURE
from polybus.envelope import RESERVED_RULE, RESERVED_TO
from polybus.topology.filters import All, Any, Filter, Literal, Normal, OneOf, Present, StartsWith, normal_form

__all__ = ["compile_filter", "filter_problem", "rule_action"]

_REGULAR = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WORDS = frozenset(
    ("and", "escape", "exists", "false", "in", "is", "like", "newid", "not", "null", "or", "p", "property")
) | {"remove", "set", "sys", "true", "user"}


def rule_action(tag: str, *, forwards: bool) -> str:
    """Give what the rule of a subscription does to a message that it lets pass."""
    if forwards:
        # Whom a redriven message is for is said of this topic: where it is forwarded to, it is for everyone.
        return f"REMOVE {RESERVED_TO}"
    # Azure makes the subscription with a rule that lets everything pass: consumers tell by this what came by ours.
    # Without a filter too, since one that comes later is not for what waits.
    return f"SET {RESERVED_RULE}={_quoted(tag)}"


def compile_filter(filter_: Filter | None, tag: str) -> str:
    """Compile a filter, wrapped so that what is redriven to `tag` reaches this subscription alone."""
    mine = f"{RESERVED_TO}={_quoted(tag)}"
    if filter_ is None:
        return f"NOT EXISTS({RESERVED_TO}) OR {mine}"
    form = normal_form(filter_)
    declared = _expression(form) if isinstance(form, All) else _operand(form)
    return f"({declared} AND NOT EXISTS({RESERVED_TO})) OR {mine}"


def filter_problem(filter_: Filter | None, tag: str) -> str | None:
    """Say why Service Bus can't have a filter, or None."""
    length = len(compile_filter(filter_, tag))
    if length <= AZURE.filter_characters.most:
        return None
    return f"{length} characters once compiled and wrapped for redrive, of {AZURE.filter_characters.most}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return name if _REGULAR.fullmatch(name) and name.lower() not in _WORDS else f"[{name}]"


def _operand(form: Normal) -> str:
    return f"({_expression(form)})" if isinstance(form, (All, Any)) else _expression(form)


def _expression(form: Normal) -> str:
    match form:
        case All(items):
            return " AND ".join(_conjuncts(items))
        case Any(items):
            return " OR ".join(_operand(item) for item in items)
        case Literal(name, Present(), negated):
            return f"NOT EXISTS({_name(name)})" if negated else f"EXISTS({_name(name)})"
        case Literal(name, _, True):
            return f"(NOT EXISTS({_name(name)}) OR {_comparison(form)})"
        case Literal():
            return _comparison(form)


def _conjuncts(items: tuple[Normal, ...]) -> list[str]:
    """Write the items of an All; beside `exists(a)`, a negated test of `a` needs none for absence, and replaces it."""
    there = {item.attribute for item in items if item == Literal(_attribute(item), Present())}
    tested = {_attribute(item) for item in items if isinstance(item, Literal) and not isinstance(item.test, Present)}
    texts: list[str] = []
    for item in items:
        if isinstance(item, Literal) and item.attribute in there & tested:
            if not isinstance(item.test, Present):
                texts.append(_comparison(item))
            elif item.negated:
                texts.append(_expression(item))
        else:
            texts.append(_operand(item))
    return texts


def _attribute(form: Normal) -> str:
    return form.attribute if isinstance(form, Literal) else ""


def _comparison(literal: Literal) -> str:
    """Write the test itself: unknown, so not true, without the property."""
    name, no = _name(literal.attribute), literal.negated
    match literal.test:
        case OneOf((value,)):
            return f"{name}{'<>' if no else '='}{_quoted(value)}"
        case OneOf(values):
            return f"{name} {'NOT IN' if no else 'IN'} ({','.join(_quoted(value) for value in values)})"
        case StartsWith(prefix):
            return f"{name} {'NOT LIKE' if no else 'LIKE'} {_pattern(prefix)}"
        case Present():
            return f"EXISTS({name})"


def _pattern(prefix: str) -> str:
    escaped = re.sub(r"([%_!])", r"!\1", prefix)
    escape = " ESCAPE '!'" if escaped != prefix else ""
    return _quoted(f"{escaped}%") + escape
