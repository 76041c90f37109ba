"""Which changes of a JSON Schema are allowed: what jsonschema says of random messages of random schemas decides."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polybus.contracts.breaks import NONE
from polybus.contracts.json_check import problem
from polybus.contracts.json_compare import gaps
from polybus.contracts.json_shape import read

NAMES = st.sampled_from(["a", "b", "c", "kind"])
COUNTS = st.integers(0, 3)


def scalars() -> st.SearchStrategy[dict[str, Any]]:
    numbers = st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={
            "minimum": st.integers(-3, 3),
            "maximum": st.integers(0, 6),
            "exclusiveMinimum": st.integers(-3, 3),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
        },
    )
    texts = st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={"minLength": COUNTS, "maxLength": st.integers(1, 4), "pattern": st.sampled_from(["^a", "0"])},
    )
    values = st.lists(st.sampled_from(["a", "b", "eu", 1, None, True]), min_size=1, max_size=3, unique_by=repr)
    plain = st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}])
    return st.one_of(numbers, texts, values.map(lambda found: {"enum": found}), plain)


def extended(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.builds(
        _object,
        st.dictionaries(NAMES, inner, max_size=3),
        st.sets(NAMES, max_size=2),
        st.one_of(st.none(), st.booleans(), inner),
        st.fixed_dictionaries({}, optional={"minProperties": COUNTS, "maxProperties": st.integers(1, 4)}),
    )
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={"minItems": st.integers(0, 2), "maxItems": st.integers(0, 3), "uniqueItems": st.booleans()},
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
    exactly = st.lists(inner, min_size=1, max_size=2).map(lambda found: {"oneOf": found})
    return st.one_of(objects, lists, unions, exactly)


def _object(properties: dict[str, Any], required: set[str], others: Any, counts: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties, "required": sorted(required), **counts}
    return found if others is None else {**found, "additionalProperties": others}


SCHEMAS = st.recursive(scalars(), extended, max_leaves=6)

VALUES = st.recursive(
    st.sampled_from(["", "a", "b", "eu", "a0", "aaaa", 0, 1, -1, 2, 3, 0.5, 1.5, -2, 7, None, True, False]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcxk"), inner, max_size=4)),
    max_leaves=6,
)


@st.composite
def changed(draw: st.DrawFn, schema: Any) -> Any:
    """Change a few places of a schema."""
    schema = copy.deepcopy(schema)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.sampled_from(list(_places(schema))))
        _change(draw, at)
    return schema


def _places(schema: Any) -> Any:
    if isinstance(schema, dict):
        yield schema
        for word in ("properties", "items", "additionalProperties", "anyOf", "oneOf"):
            inner = schema.get(word)
            within = inner.values() if word == "properties" and inner is not None else inner
            for each in [within] if isinstance(within, dict) else within or () if not isinstance(within, bool) else ():
                yield from _places(each)


def _change(draw: st.DrawFn, at: dict[str, Any]) -> None:
    kind = draw(st.sampled_from(["drop", "replace", "require", "add", "values"]))
    if kind == "drop" and at:
        at.pop(draw(st.sampled_from(sorted(at))))
    elif kind == "replace":
        new = draw(scalars())
        at.clear()
        at.update(new)
    elif kind == "require" and at.get("type") == "object":
        at["required"] = sorted({*at.get("required", ()), draw(NAMES)})
    elif kind == "add" and at.get("type") == "object":
        at.setdefault("properties", {})[draw(NAMES)] = draw(scalars())
    elif kind == "values" and "enum" in at:
        at["enum"] = [*at["enum"], "new"] if draw(st.booleans()) else at["enum"][1:] or ["new"]


def closed(schema: Any) -> Any:
    """Return what messages are held to at publish: declared properties only, unless the schema speaks of others."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        word: {name: closed(each) for name, each in inner.items()} if word == "properties"
        else closed(inner) if word in ("items", "additionalProperties", "anyOf", "oneOf")
        else inner
        for word, inner in schema.items()
    }  # fmt: skip
    if found.get("properties") and "additionalProperties" not in found:
        found["additionalProperties"] = False
    return found


def allows(schema: Any, value: Any) -> bool:
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).is_valid(value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_checked_at_publish_is_what_jsonschema_allows(data: st.DataObject) -> None:
    schema = data.draw(SCHEMAS)
    value = data.draw(VALUES)
    assert (problem(read(schema, writes=True), value) is None) == allows(closed(schema), value)
    assert (problem(read(schema, writes=False), value) is None) == allows(schema, value)


@pytest.mark.parametrize(("value", "allowed"), [(0, True), ("text", False)])
def test_forms_that_exclude_each_other_exclude_no_other_form(value: Any, allowed: bool) -> None:
    schema = {"anyOf": [{"type": "integer"}, {"oneOf": [{}, {}]}]}
    assert allows(schema, value) is allowed
    assert (problem(read(schema, writes=True), value) is None) is allowed


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_allowed_change_breaks_no_message_and_a_refused_one_has_one_that_breaks(data: st.DataObject) -> None:
    old = data.draw(SCHEMAS)
    new = data.draw(changed(old))
    for writer, reader in ((old, new), (new, old)):
        found = gaps(writer, reader)
        for value in data.draw(st.lists(VALUES, min_size=2, max_size=6)):
            if not found and allows(closed(writer), value):
                assert allows(reader, value), (writer, reader, value)
        for gap in found:
            assert gap.decided == (gap.example is not NONE)
            if gap.decided:
                assert allows(closed(writer), gap.example), (writer, reader, gap)
                assert not allows(reader, gap.example), (writer, reader, gap)


ORDER = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "total": {"type": "number"}, "state": {"enum": ["open", "paid"]}},
    "required": ["id"],
}

NOTE = {"note": {"type": "string"}}


def edited(**edits: Any) -> dict[str, Any]:
    return {**ORDER, "properties": {**ORDER["properties"], **edits.pop("properties", {})}, **edits}


@pytest.mark.parametrize(
    ("old", "new", "rule", "place"),
    [
        (ORDER, edited(required=["id", "total"]), "required-field-added", "$.total"),
        (edited(required=["id", "total"]), ORDER, None, ""),
        (ORDER, edited(properties={"total": {"type": "integer"}}), "type-narrowed", "$.total"),
        (ORDER, edited(properties={"state": {"enum": ["open"]}}), "value-removed", "$.state"),
        (ORDER, edited(properties={"state": {"enum": ["open", "paid", "sent"]}}), None, ""),
        (ORDER, edited(properties={"note": {"type": "string"}}), None, ""),
        (ORDER, edited(properties={"id": {"type": "string", "maxLength": 8}}), "bound-tightened", "$.id"),
        (ORDER, edited(properties={"id": {"type": "string", "format": "uuid"}}), "format-changed", "$.id"),
        (ORDER, edited(additionalProperties=False), None, ""),
        (edited(properties=NOTE), edited(additionalProperties=False), "field-not-allowed", "$.note"),
        (edited(additionalProperties=True), edited(properties=NOTE), "field-added-to-open", "$.note"),
        (ORDER, {"type": "array", "items": {}}, "type-narrowed", "$"),
        (
            {"type": "object", "properties": {"lines": {"type": "array", "items": ORDER}}},
            {"type": "object", "properties": {"lines": {"type": "array", "items": edited(required=["id", "state"])}}},
            "required-field-added",
            "$.lines[].state",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_its_rule_and_place(old: Any, new: Any, rule: str | None, place: str) -> None:
    found = gaps(old, new)
    assert [(gap.rule, gap.place) for gap in found] == ([] if rule is None else [(rule, place)])
    for gap in found:
        assert allows(old, gap.example)
        assert not allows(new, gap.example)


TREE = {
    "$ref": "#/$defs/node",
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "number"}}}},
}


def test_schemas_that_refer_to_themselves_are_compared() -> None:
    assert gaps(TREE, copy.deepcopy(TREE)) == []
    new = copy.deepcopy(TREE)
    new["$defs"]["node"]["properties"]["n"] = {"type": "string"}
    [gap] = gaps(TREE, new)
    assert gap.place == "$.n"
    assert not allows(new, gap.example)


def test_what_has_no_place_in_the_form_is_refused_unless_it_stays_as_it_is() -> None:
    one = {"type": "object", "properties": {"a": {"not": {"const": 1}}}}
    assert gaps(one, copy.deepcopy(one)) == []
    [gap] = gaps(one, {"type": "object", "properties": {"a": {"not": {"const": 2}}}})
    assert not gap.decided
    assert "`not`" in gap.detail
    assert problem(read(one, writes=True), {"a": 1}) is not None
    assert problem(read(one, writes=True), {"a": 2}) is None
