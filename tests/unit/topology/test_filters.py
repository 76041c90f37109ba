"""The filter language: what parses, where it doesn't, what it means, and what its normal form keeps."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.errors import FilterError
from polybus.topology.filters import (
    All,
    And,
    Compare,
    Exists,
    Filter,
    In,
    Literal,
    Node,
    Not,
    Or,
    Prefix,
    dnf,
    example,
    normal_form,
    parse,
    plain,
)
from polybus.topology.filters import Any as AnyOf

NAMES = st.sampled_from(["a", "b", "region", "x-y", "order.kind", "exists", "prefix"])
VALUES = st.sampled_from(["", "x", "xy", "eu", 'quo"te', "back\\slash", "new\nline", "née", "\x01"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
LEAVES = st.one_of(
    st.builds(Compare, NAMES, VALUES, st.booleans()),
    st.builds(In, NAMES, st.lists(VALUES, min_size=1, max_size=3).map(tuple), st.booleans()),
    st.builds(Prefix, NAMES, VALUES),
    st.builds(Exists, NAMES),
)
NODES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
MESSAGES = st.dictionaries(NAMES, VALUES, max_size=4)


def oracle(node: Node, attributes: dict[str, str]) -> bool:
    """Say what a filter means, in the words of the language's definition."""
    match node:
        case Not(item):
            return not oracle(item, attributes)
        case And(items):
            return all(oracle(item, attributes) for item in items)
        case Or(items):
            return any(oracle(item, attributes) for item in items)
    if node.attribute not in attributes:
        return False
    value = attributes[node.attribute]
    match node:
        case Compare(_, other, equal):
            return (value == other) == equal
        case In(_, values, inside):
            return (value in values) == inside
        case Prefix(_, prefix):
            return value[: len(prefix)] == prefix
    return True


@pytest.mark.parametrize(
    ("text", "attributes", "passes"),
    [
        ('region == "eu"', {"region": "eu"}, True),
        ('region == "eu"', {}, False),
        ('region != "eu"', {"region": "uk"}, True),
        ('region != "eu"', {}, False),
        ('not (region == "eu")', {}, True),
        ('not region == "eu"', {"region": "eu"}, False),
        ("region in ('eu', 'uk',)", {"region": "uk"}, True),
        ('region not in ("eu", "uk")', {"region": "us"}, True),
        ('region not in ("eu")', {}, False),
        ('prefix(region, "e")', {"region": "eu"}, True),
        ('prefix(region, "")', {}, False),
        ("exists(region)", {"region": ""}, True),
        ("not exists(region)", {}, True),
        ('a == "1" or b == "1" and c == "1"', {"a": "1"}, True),
        ('(a == "1" or b == "1") and c == "1"', {"a": "1"}, False),
        ('not a == "1" and b == "1"', {"b": "1"}, True),
        ('a == "\\u0041\\n\\"\\\\"', {"a": 'A\n"\\'}, True),
        ("a == 'it\\'s'", {"a": "it's"}, True),
        ('order.kind-2 == "x"', {"order.kind-2": "x"}, True),
        ('exists == "x" and prefix == "y"', {"exists": "x", "prefix": "y"}, True),
        ('region in ("eu", "uk") and not exists(test)', {"region": "eu", "test": ""}, False),
    ],
)
def test_an_expression_means_what_it_says(text: str, attributes: dict[str, str], passes: bool) -> None:
    assert parse(text).matches(attributes) is passes


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "found the end"),
        ("   ", 3, "found the end"),
        ("a", 1, "expected ==, !=, in or not in, found the end"),
        ('a = "x"', 2, "equality is written =="),
        ('a == "x" && b == "y"', 9, "conjunction is written and"),
        ('a == "x" b', 9, "expected and, or, or the end, found b"),
        ("a == x", 5, "expected a string in quotes, found x"),
        ("a == 3", 5, "unexpected '3'"),
        ('a == "x', 5, "the string is not closed"),
        ("a in ()", 6, "expected a string in quotes, found )"),
        ('a in ("x" "y")', 10, "expected ), found"),
        ('a not == "x"', 6, "expected in, found =="),
        ('(a == "x"', 9, "expected ), found the end"),
        ('a == "x")', 8, "found )"),
        ('exists("a")', 7, "the name of an attribute, unquoted"),
        ("prefix(a)", 8, "expected ,, found )"),
        ('and == "x"', 0, "expected an attribute"),
        ("exists(in)", 7, "expected the name of an attribute"),
        ('a == "b\\q"', 7, "unknown escape \\q"),
        ('a == "\\ud800"', 6, "unknown escape"),
        ('awsome == "x"', 0, "reserved"),
        ('a == "1" and polybus_to == "x"', 13, "reserved"),
        ('a..b == "x"', 0, "no .."),
        ("(" * 60, 41, "nested more than 40 deep"),
        ("not " * 60 + 'a == "x"', 164, "nested more than 40 deep"),
    ],
)
def test_a_wrong_expression_is_refused_with_its_place(text: str, position: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert caught.value.position == position
    assert caught.value.text == text
    assert str(caught.value).endswith(" " * position + "^")


@given(NODES)
def test_a_printed_filter_parses_to_the_same(node: Node) -> None:
    again = parse(str(node))
    assert again.root == node
    assert str(again) == str(node)


def decided(node: list[object], attributes: dict[str, str]) -> bool:
    """Decide a plain filter as another program would."""
    match json.loads(json.dumps(node)):
        case ["and", items]:
            return all(decided(item, attributes) for item in items)
        case ["or", items]:
            return any(decided(item, attributes) for item in items)
        case ["not", item]:
            return not decided(item, attributes)
        case ["exists", name]:
            return name in attributes
        case ["prefix", name, prefix]:
            return name in attributes and attributes[name].startswith(prefix)
        case ["in", name, values]:
            return name in attributes and attributes[name] in values
        case ["not in", name, values]:
            return name in attributes and attributes[name] not in values
    raise AssertionError(node)


@given(NODES, MESSAGES)
def test_a_plain_filter_means_the_same(node: Node, attributes: dict[str, str]) -> None:
    assert decided(plain(node), attributes) == oracle(node, attributes)


@given(NODES, MESSAGES)
def test_the_evaluator_agrees_with_the_definition(node: Node, attributes: dict[str, str]) -> None:
    assert Filter(node, str(node)).matches(attributes) is oracle(node, attributes)


@given(NODES, MESSAGES)
def test_the_normal_form_passes_the_same_messages(node: Node, attributes: dict[str, str]) -> None:
    filter_ = Filter(node, str(node))
    assert normal_form(filter_).matches(attributes) is filter_.matches(attributes)


@given(NODES, MESSAGES)
def test_the_alternatives_pass_the_same_messages_and_stay_bounded(node: Node, attributes: dict[str, str]) -> None:
    form = normal_form(Filter(node, str(node)))
    clauses = dnf(form, 40)
    if clauses is not None:
        assert len(clauses) <= 40
        passes = any(all(literal.matches(attributes) for literal in clause) for clause in clauses)
        assert passes is form.matches(attributes)


@given(NODES, MESSAGES)
def test_an_example_passes_and_is_found_wherever_something_passes(node: Node, attributes: dict[str, str]) -> None:
    found = example(Filter(node, ""))
    assert found is None or oracle(node, found)
    if oracle(node, attributes) and dnf(normal_form(Filter(node, "")), 1_000) is not None:
        assert found is not None


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ('region in ("eu", "uk") and not exists(test)', {"region": "eu"}),
        ('region != "eu"', {"region": "a"}),
        ('not region == "eu"', {}),
        ('prefix(kind, "order.") and kind != "order.a"', {"kind": "order.b"}),
        ('kind == "a" and not prefix(kind, "a") or priority == "1"', {"priority": "1"}),
        ('kind == "a" and kind == "b"', None),
    ],
)
def test_an_example_has_what_it_takes_and_no_more(text: str, attributes: dict[str, str] | None) -> None:
    assert example(parse(text)) == attributes


def test_too_many_alternatives_are_not_built() -> None:
    many = " and ".join(f'(a{n} == "1" or b{n} == "1")' for n in range(30))
    assert dnf(normal_form(parse(many)), 1_000) is None


@given(NODES)
def test_the_normal_form_is_flat_and_negates_only_leaves(node: Node) -> None:
    def check(form: object) -> None:
        if isinstance(form, (All, AnyOf)):
            assert len(form.items) != 1
            assert not any(type(item) is type(form) for item in form.items)
            for item in form.items:
                check(item)
        else:
            assert isinstance(form, Literal)

    check(normal_form(Filter(node, str(node))))


def test_a_filter_names_its_attributes_and_is_a_value() -> None:
    filter_ = parse('a == "1" and (not exists(b) or prefix(c, "x")) and d not in ("y")')
    assert filter_.attributes == {"a", "b", "c", "d"}
    assert filter_ == parse('a=="1" and (not exists( b ) or prefix(c,"x")) and d not in ("y",)')
    assert pickle.loads(pickle.dumps(filter_)) == filter_
    assert len({filter_, pickle.loads(pickle.dumps(filter_))}) == 1
