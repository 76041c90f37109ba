"""What people write: topologies, filters, bindings. Whatever it is, a PolybusError or a value comes out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.binding import Binding, Entity, Kind
from polybus.bus.connect import connect
from polybus.errors import PolybusError
from polybus.plan import filters_aws, filters_azure, filters_gcp
from polybus.plan.check import check
from polybus.topology.file import loads
from polybus.topology.filters import parse

from .scale import cases

# Text -----------------------------------------------------------------------------------------------------------------

strange = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "a", "orders", "ä", "a b", "x" * 300, "\x00", "'", '"', "\\", "${X}", "60s", "-1s", "1e999s", "7d"]
    ),
)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans())
values = st.recursive(
    st.one_of(strange, numbers, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(strange, inner, max_size=4)),
    max_leaves=8,
)
names = st.sampled_from(["orders", "billing", "jobs", "Orders", "o", "orders-2", "aws", "x" * 80, "a.b", ""])


# Topologies -----------------------------------------------------------------------------------------------------------

KEYS = [
    "topic",
    "ordered",
    "lease",
    "max_attempts",
    "filter",
    "max_delay",
    "retention",
    "dead_letter_retention",
    "backoff",
]
KEYS += [
    "push",
    "tap",
    "publishes",
    "consumes",
    "operates",
    "aws",
    "azure",
    "gcp",
    "existing",
    "alarms",
    "max_size",
    "nonsense",
]
good = {
    "topic": "orders",
    "ordered": True,
    "lease": "60s",
    "max_attempts": 5,
    "filter": 'region == "eu"',
    "backoff": {"initial": "1s", "maximum": "10m"},
    "publishes": ["orders"],
    "consumes": ["billing"],
}
entries = st.dictionaries(st.sampled_from(KEYS), values, max_size=4).flatmap(
    lambda odd: st.sets(st.sampled_from(sorted(good))).map(lambda kept: {**{k: good[k] for k in kept}, **odd})
)
sections = st.sampled_from(["bus", "topics", "subscriptions", "queues", "services", "alarms", "nonsense"])
topologies = st.dictionaries(sections, st.one_of(st.dictionaries(names, entries, max_size=3), values), max_size=5)


def toml(value: Any) -> str:
    """Write a value as TOML, inline where it isn't at the top; JSON's strings are TOML's basic ones."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
        case list():
            return "[" + ", ".join(toml(each) for each in value if each is not None) + "]"
        case float():
            return repr(value)
        case _:
            return json.dumps(value)


@cases()
@given(topologies)
def test_a_topology_of_odd_values(table: dict[str, Any]) -> None:
    text = "\n".join(f"{json.dumps(name)} = {toml(value)}" for name, value in table.items() if value is not None)
    with contextlib.suppress(PolybusError):
        topology = loads(text, source="polybus.toml")
        check(topology)


@cases()
@given(st.text(max_size=200))
def test_a_topology_that_is_any_text(text: str) -> None:
    with contextlib.suppress(PolybusError):
        loads(text, source="polybus.toml")


# Filters --------------------------------------------------------------------------------------------------------------

words = [
    "and",
    "or",
    "not",
    "in",
    "exists",
    "prefix",
    "(",
    ")",
    ",",
    "==",
    "!=",
    "=",
    '"',
    "a",
    "b.c",
    '"eu"',
    '"ü"',
    '""',
]
words += [
    "region",
    "exists(a)",
    'prefix(a, "x")',
    'a == "1"',
    'a in ("1", "2")',
    "not a",
    '"\\"',
    "'x'",
    "\u0000",
    "((",
    "5",
]
tokens = st.lists(st.sampled_from(words), max_size=25).map(" ".join)
attributes = st.sampled_from(["a", "b_c", "region", "x" * 128])
literals = st.text(max_size=8).map(json.dumps)
comparisons = st.one_of(
    st.tuples(attributes, st.sampled_from(["==", "!="]), literals).map(" ".join),
    st.tuples(attributes, st.lists(literals, min_size=1, max_size=4)).map(lambda t: f"{t[0]} in ({', '.join(t[1])})"),
    st.tuples(attributes, literals).map(lambda t: f"prefix({t[0]}, {t[1]})"),
    attributes.map(lambda name: f"exists({name})"),
)
grown = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=12,
)


@cases()
@given(st.one_of(tokens, grown, st.text(max_size=40)))
def test_a_filter_parses_compiles_and_decides_or_is_refused(text: str) -> None:
    with contextlib.suppress(PolybusError):
        tree = parse(text)
        assert parse(str(tree)) == tree
        assert tree.matches({"a": "1", "region": "eu"}) in (True, False)
        for compiled in (
            lambda: filters_aws.compile_filter(tree),
            lambda: filters_azure.compile_filter(tree, "tag"),
            lambda: filters_gcp.compile_filter(tree, "tag"),
        ):
            with contextlib.suppress(PolybusError):
                compiled()


@pytest.mark.parametrize(
    "text", ["(" * 5_000, "not " * 5_000, 'a == "1" and ' * 5_000, "(" * 500 + 'a == "1"' + ")" * 500]
)
def test_a_filter_of_any_depth_is_refused_or_parsed(text: str) -> None:
    with contextlib.suppress(PolybusError):
        parse(text)


# Bindings -------------------------------------------------------------------------------------------------------------

BINDING = json.loads(
    Binding(
        backend="memory",
        bus="shop",
        topics={"orders": Entity(kind=Kind.TOPIC, name="orders", address="orders")},
        subscriptions={
            "billing": Entity(kind=Kind.SUBSCRIPTION, name="billing", address="b", topic="orders", dead_letter="d")
        },
        queues={"jobs": Entity(kind=Kind.QUEUE, name="jobs", address="jobs", dead_letter="jd", ordered=True)},
    ).to_json()
)


@st.composite
def bindings(draw: st.DrawFn) -> Any:
    """Draw a binding in which a few values, anywhere, are others."""
    whole = json.loads(json.dumps(BINDING))
    for _ in range(draw(st.integers(0, 4))):
        place, path = whole, []
        while isinstance(place, dict) and place and (not path or draw(st.booleans())):
            key = draw(st.sampled_from(sorted(place)))
            path.append((place, key))
            place = place[key]
        if path:
            holder, key = path[-1]
            if draw(st.booleans()):
                holder[key] = draw(values)
            else:
                holder[draw(strange)] = holder.pop(key)
    return whole


@cases()
@given(st.one_of(bindings().map(lambda value: msgspec.json.encode(_writable(value))), st.binary(max_size=60)))
async def test_a_binding_is_read_or_refused(text: bytes) -> None:
    with contextlib.suppress(PolybusError):
        binding = Binding.from_json(text)
        async with connect(binding) as bus:
            for name in (*binding.topics, *binding.subscriptions, *binding.queues):
                bus.features(name)


def _writable(value: Any) -> Any:
    """Return the value with what JSON can't say left out."""
    match value:
        case dict():
            return {str(k).encode(errors="replace").decode(): _writable(v) for k, v in value.items()}
        case list():
            return [_writable(each) for each in value]
        case int() if abs(value) >= 2**63:
            return 2**63 - 1
        case str():
            return value.encode(errors="replace").decode()
        case _:
            return value
