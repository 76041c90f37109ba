"""Random filters and messages, for every compiler's test."""

from __future__ import annotations

from hypothesis import strategies as st

from polybus.topology.filters import And, Compare, Exists, Filter, In, Node, Not, Or, Prefix

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
