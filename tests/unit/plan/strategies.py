"""Random filters, messages and topologies, for the tests of compilers and plans."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from polybus.topology.filters import And, Compare, Exists, Filter, In, Node, Not, Or, Prefix, parse
from polybus.topology.model import Alarms, Notify, Queue, Service, Subscription, Topic, Topology

NAMES = st.sampled_from(["a", "b", "x-y", "order.kind"])
VALUES = st.sampled_from(["x", "xy", "y", "eu", "it's", "50%_!", "née"])
LEAVES = st.one_of(
    st.builds(Compare, NAMES, VALUES, st.booleans()),
    st.builds(In, NAMES, st.lists(VALUES, min_size=1, max_size=3).map(tuple), st.booleans()),
    st.builds(Prefix, NAMES, VALUES | st.just("")),
    st.builds(Exists, NAMES),
)
NODES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
FILTERS = NODES.map(lambda node: Filter(node, str(node)))
MESSAGES = st.dictionaries(NAMES, VALUES, max_size=4)


ENTRY_NAMES = st.from_regex(r"[a-z](?:[a-z0-9_-]{0,40}[a-z0-9])?", fullmatch=True).filter(
    lambda name: not name.endswith("-dead-letters") and name != "polybus" and not name.startswith("goog")
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Make a topology that every cloud takes, within what each of them allows."""
    names = draw(st.lists(ENTRY_NAMES, min_size=4, max_size=9, unique=True))
    topics = {
        name: Topic(name, ordered=draw(st.booleans())) for name in names[: draw(st.integers(min_value=1, max_value=2))]
    }
    rest = names[len(topics) :]
    cut = draw(st.integers(min_value=1, max_value=len(rest) - 1))
    subscriptions = {name: draw(_subscription(name, list(topics.values()))) for name in rest[:cut]}
    queues = {name: Queue(name, ordered=draw(st.booleans()), **draw(_delivery())) for name in rest[cut:]}
    services = {
        "worker": Service(
            "worker",
            publishes=tuple(draw(st.sets(st.sampled_from([*topics, *queues])))),
            consumes=tuple(draw(st.sets(st.sampled_from([*subscriptions, *queues])))),
            operates=tuple(draw(st.sets(st.sampled_from([*subscriptions, *queues])))),
        ),
        "keeper": Service("keeper", operates=(*subscriptions, *queues)),
    }
    alarms = draw(st.none() | st.just(Alarms(notify=Notify(email="ops@example.com"))))
    return Topology(draw(ENTRY_NAMES), topics, subscriptions, queues, services, alarms, source="polybus.toml")


@st.composite
def _subscription(draw: st.DrawFn, name: str, topics: list[Topic]) -> Subscription:
    topic = draw(st.sampled_from(topics))
    text = draw(st.sampled_from([None, 'region == "eu"', 'not (kind in ("a", "b")) or exists(test)']))
    return Subscription(
        name,
        topic.name,
        filter=None if text is None else parse(text),
        ordered=draw(st.sampled_from([None, False])),
        tap=draw(st.booleans()),
        **draw(_delivery()),
    )


@st.composite
def _delivery(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "lease": float(draw(st.integers(min_value=10, max_value=43_200))),
        "max_attempts": draw(st.integers(min_value=1, max_value=99)),
        "retention": float(draw(st.integers(min_value=600, max_value=1_209_600))),
        "dead_letter_retention": float(draw(st.integers(min_value=600, max_value=1_209_600))),
    }
