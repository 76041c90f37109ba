"""The filter language: by example, against a naive evaluator, and through the server."""

from __future__ import annotations

import contextlib

import pytest
from google.api_core import exceptions
from hypothesis import given, settings
from hypothesis import strategies as st

from polybus.localcloud.pubsub.filters import parse_filter
from polybus.localcloud.pubsub.refusal import Refused


@pytest.mark.parametrize(
    ("text", "attributes", "passes"),
    [
        ('attributes.k = "v"', {"k": "v"}, True),
        ('attributes.k="v"', {"k": "w"}, False),
        ('attributes.k = "v"', {}, False),
        ('attributes.k != "v"', {"k": "w"}, True),
        ('attributes.k != "v"', {}, True),
        ('attributes.k != "v"', {"k": "v"}, False),
        ("attributes:k", {"k": ""}, True),
        ("attributes:k", {"l": ""}, False),
        ('attributes:"a key"', {"a key": "x"}, True),
        ('attributes."a\\"b" = "\\u00e9"', {'a"b': "é"}, True),
        ('hasPrefix(attributes.k, "ab")', {"k": "abc"}, True),
        ('hasPrefix(attributes.k, "ab")', {"k": "a"}, False),
        ('hasPrefix(attributes.k, "ab")', {}, False),
        ('NOT attributes:k AND -attributes:"l"', {}, True),
        ("attributes:k AND attributes:l AND attributes:m", {"k": "", "l": ""}, False),
        ("attributes:k OR attributes:l OR attributes:m", {"m": ""}, True),
        ("attributes:k AND (attributes:l OR attributes:m)", {"k": "", "m": ""}, True),
        ("NOT (attributes:k OR attributes:l)", {"l": ""}, False),
        ('attributes.some-key_1 = "v"', {"some-key_1": "v"}, True),
    ],
)
def test_examples(text, attributes, passes):
    assert parse_filter(text)(attributes) is passes


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "attributes",
        "attributes.k",
        "attributes.k = v",
        "attributes.k = 'v'",
        'attributes.k == "v"',
        'attributes.k < "v"',
        'attributes.k = "v',
        'attributes.k = "v" AND',
        'attributes.k = "v" attributes:l',
        "attributes:k AND attributes:l OR attributes:m",
        "attributes:k OR attributes:l AND attributes:m",
        "(attributes:k",
        "attributes:k)",
        "NOT NOT attributes:k",
        'data = "x"',
        'hasPrefix(attributes.k "v")',
        "hasPrefix(attributes.k, v)",
        "attributes:AND",
        "attributes:k and attributes:l",
        "attributes:" + "k" * 246,
        'attributes.k = "' + "é" * 121 + '"',
        "\x00",
    ],
)
def test_what_is_no_filter_is_refused(text):
    with pytest.raises(Refused, match="filter"):
        parse_filter(text)


keys = st.sampled_from(["a", "b", "c d"])
values = st.sampled_from(["", "x", "xy", "é"])
tests = st.one_of(
    st.tuples(st.just("has"), keys),
    st.tuples(st.sampled_from(["=", "!=", "prefix"]), keys, values),
)
trees = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.tuples(st.just("NOT"), inner),
        st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=4,
)


def written(tree):
    match tree:
        case ("has", key):
            return f'attributes:"{key}"'
        case ("prefix", key, value):
            return f'hasPrefix(attributes."{key}", "{value}")'
        case ("NOT", inner):
            return f"NOT ({written(inner)})"
        case (("AND" | "OR") as joined, parts):
            return f" {joined} ".join(f"({written(part)})" for part in parts)
        case (operator, key, value):
            return f'attributes."{key}" {operator} "{value}"'
    raise AssertionError(tree)


def holds(tree, attributes):
    match tree:
        case ("has", key):
            return key in attributes
        case ("prefix", key, value):
            return key in attributes and attributes[key].startswith(value)
        case ("NOT", inner):
            return not holds(inner, attributes)
        case ("AND", parts):
            return all(holds(part, attributes) for part in parts)
        case ("OR", parts):
            return any(holds(part, attributes) for part in parts)
        case ("=", key, value):
            return attributes.get(key) == value
        case ("!=", key, value):
            return key not in attributes or attributes[key] != value
    raise AssertionError(tree)


@settings(max_examples=300, deadline=None)
@given(trees.filter(lambda tree: len(written(tree).encode()) <= 256), st.dictionaries(keys, values))
def test_any_expression_means_what_it_says(tree, attributes):
    assert parse_filter(written(tree))(attributes) is holds(tree, attributes)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_refused(text):
    with contextlib.suppress(Refused):
        assert parse_filter(text)({}) in (True, False)


def test_the_server_delivers_what_passes_and_keeps_nothing_else(rig, server):
    topic = rig.topic()
    wanted = rig.subscription("europe", topic, filter='attributes.region = "eu" AND NOT attributes:test')
    rest = rig.subscription("rest", topic, filter='attributes.region != "eu"')
    rig.publish(topic, b"1", region="eu")
    rig.publish(topic, b"2", region="eu", test="")
    rig.publish(topic, b"3", region="us")
    rig.publish(topic, b"4")
    assert rig.bodies(wanted) == [b"1"]
    assert rig.bodies(rest) == [b"3", b"4"]
    assert server.retained_messages == 3


def test_a_bad_filter_fails_the_creation_and_a_good_one_cannot_change(rig):
    topic = rig.topic()
    with pytest.raises(exceptions.InvalidArgument, match="mixed"):
        rig.subscription("sub", topic, filter="attributes:a AND attributes:b OR attributes:c")
    with pytest.raises(exceptions.InvalidArgument, match="maximum is 256"):
        rig.subscription("sub", topic, filter="attributes:" + "k" * 250)
    name = rig.subscription("sub", topic, filter="attributes:a")
    with pytest.raises(exceptions.InvalidArgument, match="filter"):
        rig.update(name, ["filter"], filter="attributes:b")
