"""What people write: topologies, filters, bindings. Whatever it is, a PolybusError or a value comes out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from polybus.binding import Binding, Entity, Kind
from polybus.bus.connect import connect
from polybus.clouds.aws.plan import filters as filters_aws
from polybus.clouds.azure.plan import filters as filters_azure
from polybus.clouds.gcp.plan import filters as filters_gcp
from polybus.errors import PolybusError
from polybus.plan.check import check
from polybus.plan.table import describe, plan_for
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


@st.composite
def changed(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    """Draw a copy of `whole` in which a few values or names, anywhere, are others."""
    copy: dict[str, Any] = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = copy
        holder, key = place, None
        while isinstance(place, dict) and place and (key is None or draw(st.booleans())):
            holder, key = place, draw(st.sampled_from(sorted(place)))
            place = holder[key]
        match draw(st.integers(0, 3)):
            case 0:
                holder[draw(st.one_of(strange, st.sampled_from(KEYS)))] = holder.pop(key)
            case 1:
                holder[draw(st.sampled_from(KEYS))] = draw(values)
            case _:
                holder[key] = draw(values)
    return copy


# Topologies -----------------------------------------------------------------------------------------------------------

KEYS = ["topic", "ordered", "lease", "max_attempts", "filter", "max_delay", "retention", "dead_letter_retention"]
KEYS += ["backoff", "push", "tap", "publishes", "consumes", "operates", "aws", "azure", "gcp", "existing", "alarms"]
KEYS += ["max_message_size", "nonsense"]
GOOD = {
    "ordered": st.booleans(),
    "max_delay": st.sampled_from(["0s", "15m", "12h", "365d"]),
    "max_message_size": st.sampled_from(["1KiB", "64KiB", "256KiB", "1MiB", "10MiB", "100MiB"]),
    "lease": st.sampled_from(["1s", "5s", "60s", "5m", "10m", "12h"]),
    "max_attempts": st.sampled_from([1, 2, 5, 100, 101, 1_000]),
    "retention": st.sampled_from(["1m", "10m", "7d", "14d", "31d", "365d"]),
    "dead_letter_retention": st.sampled_from(["1m", "14d", "31d"]),
    "backoff": st.sampled_from([{}, {"initial": "0s"}, {"maximum": "2h"}, {"initial": "1s", "maximum": "10m"}]),
    "filter": st.sampled_from(
        [
            'region in ("eu", "uk") and not exists(test)',
            'a == "" or prefix(b, "x")',
            'not (a == "1" and b != "2" or exists(c))',
            'a in ("' + '", "'.join(str(n) for n in range(200)) + '")',
            'traceparent == "ü"',
        ]
    ),
    "push": st.sampled_from(
        [
            {"email": "ops@example.com"},
            {"sms": "+447700900123"},
            {"https": "https://example.com/hook", "raw": True},
            {"function": "report"},
            {"function": "arn:aws:lambda:eu-west-1:000000000000:function:f"},
            {"forward": "jobs"},
            {"forward": "events"},
        ]
    ),
    "tap": st.booleans(),
    "alarms": st.sampled_from(
        [False, {}, {"backlog": 7, "oldest_age": "1h"}, {"dead_letters": False}, {"failed_pushes": 3}]
    ),
    "existing": st.sampled_from(["arn:aws:sns:eu-west-1:000000000000:t", "projects/p/topics/t", "x"]),
    "aws": st.sampled_from([{}, {"topic": {"tags": {"a": "b"}}}, {"queue": {"delaySeconds": 3}}, {"nonsense": {}}]),
    "azure": st.sampled_from([{}, {"topic": {"enable_partitioning": True}}, {"queue": {"x": [1]}}]),
    "gcp": st.sampled_from([{}, {"topic": {"labels": {"a": "b"}}}, {"subscription": {"ack_deadline_seconds": "x"}}]),
}
OF_TOPIC = ["ordered", "max_delay", "max_message_size", "existing", "alarms", "aws", "azure", "gcp"]
DELIVERY = ["lease", "max_attempts", "retention", "dead_letter_retention", "backoff"]
OF_QUEUE = [*OF_TOPIC, *DELIVERY]
OF_SUBSCRIPTION = ["filter", "push", "tap", "alarms", "aws", "azure", "gcp", *DELIVERY]
rights = st.fixed_dictionaries(
    {},
    optional={
        "publishes": st.sampled_from([["orders"], ["jobs", "events"], []]),
        "consumes": st.sampled_from([["billing"], ["jobs", "billing"], []]),
        "operates": st.sampled_from([["jobs"], ["billing", "audit"], []]),
    },
)
alarms = st.fixed_dictionaries(
    {},
    optional={
        "dead_letters": st.sampled_from([1, 1_000_000]),
        "oldest_age": st.sampled_from(["1m", "14d"]),
        "backlog": st.sampled_from([1, 1_000]),
        "notify": st.sampled_from([{"email": "ops@example.com"}, {"topic": "arn:aws:sns:eu-west-1:0:t"}, {}]),
    },
)


@st.composite
def fields(draw: st.DrawFn, of: list[str]) -> dict[str, Any]:
    """Draw up to two of these fields, each with a value that some cloud or other takes."""
    return {name: draw(GOOD[name]) for name in draw(st.lists(st.sampled_from(of), max_size=2, unique=True))}


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a topology that mostly loads; in one of four something, somewhere below the bus's name, is odd."""
    longer = draw(st.sampled_from(["more", "x" * 60, "Jobs2", "Orders", "a-b_c"]))
    found: dict[str, Any] = {
        "bus": {"name": draw(st.sampled_from(["shop", "shop", "s", "x" * 24, "Shop_2"]))},
        "topics": {"orders": draw(fields(OF_TOPIC)), "events": {}},
        "subscriptions": {
            "billing": {"topic": "orders", **draw(fields(OF_SUBSCRIPTION))},
            "audit": {"topic": "events", **draw(fields(OF_SUBSCRIPTION))},
        },
        "queues": {"jobs": draw(fields(OF_QUEUE))},
        "services": {"checkout": draw(rights)},
    }
    match draw(st.integers(0, 7)):
        case 0:
            found["queues"][longer] = {}
        case 1:
            found["topics"][longer] = {}
        case 2:
            found["services"][longer] = {"publishes": ["orders"]}
        case 3:
            found["alarms"] = draw(alarms)
        case 4 | 5:
            section = draw(st.sampled_from(["topics", "subscriptions", "queues", "services"]))
            found[section] = draw(changed(found[section]))
    return found


def toml(value: Any) -> str:
    """Write a value as TOML, inline where it isn't at the top."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
        case list():
            return "[" + ", ".join(toml(each) for each in value if each is not None) + "]"
        case float():
            return repr(value)
        case _:
            # JSON's strings are TOML's basic ones, but for what can't be written at all.
            return json.dumps(str(value), ensure_ascii=False) if isinstance(value, str) else json.dumps(value)


@cases()
@given(topologies())
def test_a_topology_loads_and_is_planned_on_each_cloud_or_is_refused(table: dict[str, Any]) -> None:
    text = "\n".join(f"{toml(name)} = {toml(value)}" for name, value in table.items() if value is not None)
    try:
        topology = loads(text, source="polybus.toml")
    except PolybusError:
        event("refused as it is read")
        return
    for cloud in ("aws", "azure", "gcp", "local"):
        if cloud != "local":
            check(topology, cloud)
        try:
            describe(plan_for(topology, cloud))
        except PolybusError:
            event(f"refused by {cloud}")
        else:
            event(f"planned on {cloud}")


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


@cases()
@given(st.one_of(changed(BINDING).map(lambda value: msgspec.json.encode(_writable(value))), st.binary(max_size=60)))
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
