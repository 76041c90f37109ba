"""Rules as XML."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from polybus.localcloud.servicebus.durations import format_duration, parse_duration
from polybus.localcloud.servicebus.management.atom import SB, XSI, stamp
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal
from polybus.localcloud.servicebus.rules.rule import CORRELATION_FIELDS, TRUE_FILTER, CorrelationFilter, Rule, SqlFilter

__all__ = ["read_rule", "rule_description"]

XSD = "http://www.w3.org/2001/XMLSchema"
PREFIX = "d6p1"
COMPATIBILITY = "20"
FALSE = "1=0"


def _text(element: ET.Element | None) -> str | None:
    return None if element is None else element.text


def _value(element: ET.Element) -> Any:
    kind, text = element.get(XSI + "type", "string").rpartition(":")[2], element.text or ""
    try:
        match kind:
            case "int" | "long" | "short" | "byte" | "unsignedInt" | "unsignedLong":
                return int(text)
            case "double" | "float" | "decimal":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "dateTime":
                return _moment(text)
            case "duration":
                return parse_duration(text)
    except (ValueError, KeyError, OverflowError) as error:
        raise Refusal(ARGUMENT_ERROR, f"'{text}' is no {kind}.") from error
    return text


def _moment(text: str) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(text)
    return found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found.astimezone(datetime.UTC)


def _values(element: ET.Element | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in () if element is None else element.findall(f"{SB}KeyValueOfstringanyType"):
        key, value = _text(pair.find(SB + "Key")), pair.find(SB + "Value")
        if key is not None and value is not None:
            found[key] = _value(value)
    return found


def read_rule(name: str, element: ET.Element) -> Rule:
    """Return the rule of a RuleDescription; raise Refusal."""
    if element.tag != SB + "RuleDescription":
        raise Refusal(ARGUMENT_ERROR, "The request's body is no rule's description.")
    action = element.find(SB + "Action")
    expression = _text(action.find(SB + "SqlExpression")) if action is not None else None
    parameters = _values(action.find(SB + "Parameters")) if action is not None else {}
    return Rule(name, _filter(element.find(SB + "Filter")), expression, parameters)


def _filter(element: ET.Element | None) -> SqlFilter | CorrelationFilter:
    if element is None:
        return TRUE_FILTER
    kind = element.get(XSI + "type", "").rpartition(":")[2]
    match kind:
        case "TrueFilter":
            return TRUE_FILTER
        case "FalseFilter":
            return SqlFilter(FALSE, kind="FalseFilter")
        case "SqlFilter":
            return SqlFilter(_text(element.find(SB + "SqlExpression")) or "", _values(element.find(SB + "Parameters")))
        case "CorrelationFilter":
            system = {name: text for name in CORRELATION_FIELDS if (text := _text(element.find(SB + name))) is not None}
            return CorrelationFilter(system, _values(element.find(SB + "Properties")))
    raise Refusal(ARGUMENT_ERROR, f"The filter '{kind}' is unknown.")


def _typed(value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return "boolean", str(value).lower()
    if isinstance(value, int):
        return ("int" if -(2**31) <= value < 2**31 else "long"), str(value)
    if isinstance(value, float):
        return "double", repr(value)
    if isinstance(value, datetime.datetime):
        return "dateTime", value.isoformat().replace("+00:00", "Z")
    if value is None:
        return "duration", format_duration(None)
    return "string", str(value)


def _put_values(parent: ET.Element, name: str, values: Mapping[str, Any]) -> None:
    element = ET.SubElement(parent, SB + name)
    for key, value in values.items():
        pair = ET.SubElement(element, SB + "KeyValueOfstringanyType")
        ET.SubElement(pair, SB + "Key").text = key
        kind, text = _typed(value)
        child = ET.SubElement(pair, SB + "Value", {XSI + "type": f"{PREFIX}:{kind}", f"xmlns:{PREFIX}": XSD})
        child.text = text


def _put_sql(parent: ET.Element, expression: str, parameters: Mapping[str, Any]) -> None:
    ET.SubElement(parent, SB + "SqlExpression").text = expression
    ET.SubElement(parent, SB + "CompatibilityLevel").text = COMPATIBILITY
    if parameters:
        _put_values(parent, "Parameters", parameters)


def rule_description(rule: Rule) -> ET.Element:
    """Return a rule's description."""
    element = ET.Element(SB + "RuleDescription")
    found = rule.filter
    if isinstance(found, SqlFilter):
        child = ET.SubElement(element, SB + "Filter", {XSI + "type": found.kind})
        _put_sql(child, found.expression, found.parameters)
    else:
        child = ET.SubElement(element, SB + "Filter", {XSI + "type": "CorrelationFilter"})
        for name in CORRELATION_FIELDS:
            if name in found.system:
                ET.SubElement(child, SB + name).text = found.system[name]
        _put_values(child, "Properties", found.properties)
    action = ET.SubElement(
        element, SB + "Action", {XSI + "type": "SqlRuleAction" if rule.action else "EmptyRuleAction"}
    )
    if rule.action:
        _put_sql(action, rule.action, rule.action_parameters)
    ET.SubElement(element, SB + "CreatedAt").text = stamp(rule.created)
    ET.SubElement(element, SB + "Name").text = rule.name
    return element
