"""Where two values differ, by the innermost part."""

from __future__ import annotations

from typing import Any

import pytest

from polybus.plan.parts import differing
from polybus.plan.values import Json

ALLOW = {"Sid": "A", "Effect": "Allow", "Condition": {"ArnEquals": {"aws:SourceArn": "one"}}}
OTHER = {"Sid": "A", "Effect": "Allow", "Condition": {"ArnEquals": {"aws:SourceArn": "two"}}}
DENY = {"Sid": "D", "Effect": "Deny"}


@pytest.mark.parametrize(
    ("one", "other", "parts"),
    [
        (1, 2, [("p", 1, 2)]),
        (None, "x", [("p", None, "x")]),
        ({"a": 1, "b": 2}, {"a": 1, "c": 3}, [("p.b", 2, None), ("p.c", None, 3)]),
        (
            Json({"Statement": [DENY, ALLOW]}),
            Json({"Statement": [DENY, OTHER]}),
            [("p.Statement[1].Condition.ArnEquals.aws:SourceArn", "one", "two")],
        ),
        ({"Statement": [DENY]}, {"Statement": [ALLOW, DENY]}, [("p.Statement", None, [ALLOW])]),
        ({"Statement": DENY}, {"Statement": [ALLOW, DENY]}, [("p.Statement", None, [ALLOW])]),
        (["a", "b", "c"], ["c"], [("p", ["a", "b"], None)]),
        (["a", "b"], ["b", "a"], [("p", ["a", "b"], ["b", "a"])]),
        ({"a": {"b": 1}}, {"a": "text"}, [("p.a", {"b": 1}, "text")]),
    ],
)
def test_the_innermost_parts_that_differ(one: Any, other: Any, parts: list[tuple[str, Any, Any]]) -> None:
    assert list(differing("p", one, other)) == parts
