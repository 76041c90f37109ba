"""What a foreign producer may write where polybus would read its own: texts, and the reserved attribute."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from polybus.driver import Prepared, Received
from polybus.errors import Fault
from polybus.message import Message

__all__ = ["ENVELOPES", "JSON_TEXTS", "KEYS", "NUMBERS", "TEXTS", "VALUES", "a_message", "a_wire_form"]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.sampled_from([0, 1, 2, -1, 10**6, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400])
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12) | st.just("k" * 128)

_scalars = st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), TEXTS)
VALUES = st.one_of(
    _scalars,
    st.lists(_scalars, max_size=3),
    st.dictionaries(TEXTS, _scalars, max_size=3),
    st.sampled_from([[[]], {"a": {"b": []}}, [{"id": None}], {"": {"": ""}}]),
)
JSON_TEXTS = VALUES.map(json.dumps)
_ENVELOPES = [
    st.fixed_dictionaries(
        {},
        optional={
            "i": TEXTS,
            "c": TEXTS | st.sampled_from("jto"),
            "e": st.sampled_from(["", "b", "s", "x"]),
            "a": st.dictionaries(TEXTS, TEXTS, max_size=3),
            "k": TEXTS,
            "t": NUMBERS,
            "m": NUMBERS,
            "r": TEXTS,
            "d": TEXTS,
        },
    ),
    st.dictionaries(st.sampled_from("iceaktmrdx"), VALUES, max_size=4),
]
_DEEP = st.sampled_from(
    ["[" * 10_000, '{"a":' * 10_000, '{"x":' + "[" * 10_000 + "]" * 10_000 + "}", '{"t":' + "9" * 5_000]
)
ENVELOPES = st.one_of(st.one_of(_ENVELOPES).map(json.dumps), JSON_TEXTS, TEXTS, _DEEP)


def a_message(received: Received[Any]) -> Message:
    """Return the message of a delivery, after a look at all that the bus relies on."""
    message = received.message
    assert isinstance(message.body, bytes)
    assert all(isinstance(part, str) for pair in message.attributes.items() for part in pair)
    assert isinstance(message.id, str)
    assert message.id
    assert message.ordering_key is None or isinstance(message.ordering_key, str)
    assert message.content_type is None or isinstance(message.content_type, str)
    # The years that dates have.
    assert message.published_at is None or 0 <= message.published_at < 253_402_300_800
    assert received.attempt >= 1
    assert 0 <= received.moves <= 1_000_001  # one more than is believed, for a letter's own move
    assert received.group is None or isinstance(received.group, str)
    assert len(received.token) <= 120
    assert all(" " < each <= "~" for each in received.token)
    assert received.reason is None or isinstance(received.reason, str)
    assert received.description is None or isinstance(received.description, str)
    return message


def a_wire_form(prepared: Prepared[Any] | Fault) -> Any:
    """Return the wire form; None where there is a fault instead."""
    assert isinstance(prepared, Prepared | Fault)
    return None if isinstance(prepared, Fault) else prepared.wire
