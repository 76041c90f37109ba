"""SNS filter policies: what they say agrees with the filter, and what SNS can't say is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings

from polybus.clouds.aws.plan.filters import compile_filter, filter_problem
from polybus.errors import UnsupportedFeature
from polybus.topology.filters import Filter, parse

from .strategies import FILTERS, MESSAGES


def accepts(policy: Mapping[str, Any], attributes: Mapping[str, str]) -> bool:
    """Decide as the SNS developer guide says."""
    return all(
        any(accepts(branch, attributes) for branch in values)
        if key == "$or"
        else any(holds(value, attributes.get(key)) for value in values)
        for key, values in policy.items()
    )


def holds(condition: Any, value: str | None) -> bool:
    match condition:
        case {"exists": False}:
            return value is None
        case _ if value is None:
            return False
        case {"exists": True}:
            return value != ""
        case {"prefix": str(prefix)}:
            return value.startswith(prefix)
        case {"anything-but": {"prefix": str(prefix)}}:
            return not value.startswith(prefix)
        case {"anything-but": list(values)}:
            return value not in values
        case str(expected):
            return value == expected
    raise AssertionError(f"no such condition: {condition}")


@settings(max_examples=400)
@given(FILTERS, MESSAGES)
def test_a_policy_agrees_with_its_filter(filter_: Filter, attributes: dict[str, str]) -> None:
    if filter_problem(filter_) is not None:
        return
    policy = compile_filter(filter_)
    assert (policy is None or accepts(policy, attributes)) is filter_.matches(attributes)


@settings(max_examples=400)
@given(FILTERS)
def test_a_policy_keeps_the_limits_of_sns(filter_: Filter) -> None:
    if filter_problem(filter_) is not None:
        return
    policy = compile_filter(filter_) or {}
    arrays = [values for key, values in policy.items() if key != "$or"]
    branches = policy.get("$or", [])
    arrays += [values for branch in branches for values in branch.values()]
    assert len(arrays) <= 5
    assert math.prod(len(values) for values in arrays) <= 150
    assert all(arrays)
    assert len(branches) != 1


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ('region in ("eu", "uk") and not exists(test)', {"region": ["eu", "uk"], "test": [{"exists": False}]}),
        ('not a == "x"', {"a": [{"exists": False}, {"anything-but": ["x"]}]}),
        ('a != "x" and a != "y"', {"a": [{"anything-but": ["x", "y"]}]}),
        ('a == "x" or prefix(a, "y")', {"a": ["x", {"prefix": "y"}]}),
        ('a == "x" or b == "y"', {"$or": [{"a": ["x"]}, {"b": ["y"]}]}),
        ('c == "z" and (a == "x" or b == "y")', {"c": ["z"], "$or": [{"a": ["x"]}, {"b": ["y"]}]}),
        ('a != "x" and (a == "y" or b == "y")', {"$or": [{"a": ["y"]}, {"a": [{"anything-but": ["x"]}], "b": ["y"]}]}),
        ('not prefix(a, "x")', {"a": [{"exists": False}, {"anything-but": {"prefix": "x"}}]}),
        ("exists(a)", {"a": [{"exists": True}]}),
        ("exists(a) or not exists(a)", None),
        ('a == "x" or exists(b) or not exists(b)', None),
        ('a in ("x", "y") and a in ("y", "z")', {"a": ["y"]}),
    ],
)
def test_a_policy_is_what_a_person_would_write(text: str, policy: dict[str, Any] | None) -> None:
    assert compile_filter(parse(text)) == policy


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('a == ""', "empty value"),
        ("a == 'say \"x\"'", "don't compare as written"),
        ('a == "x" and a == "y"', "no message can pass it"),
        ('(a == "x" and a == "y") or (b == "x" and not exists(b))', "no message can pass it"),
        ('prefix(a, "x") and a != "xy"', "the prefix 'x' without some of its values"),
        ('not prefix(a, "x") and not prefix(a, "y")', "neither of the prefixes"),
        ('prefix(a, "x") and not prefix(a, "xy")', "the prefix 'x' without 'xy'"),
        ('a != "y" and not prefix(a, "x")', "neither some values nor the prefix"),
        (" and ".join(f'{name} == "1"' for name in "abcdef"), "it needs 6 keys, of 5"),
        (" or ".join(f'{name} == "1"' for name in "abcdef"), "it needs 6 keys, of 5"),
        (f"a in ({', '.join(repr(str(n)) for n in range(151))})", "151 combinations of values, of 150"),
        (" and ".join(f'(a{n} == "1" or b{n} == "1")' for n in range(9)), "more than 150 alternatives"),
        ('prefix == "x" or b == "y"', "is taken for an operator"),
    ],
)
def test_what_sns_cannot_say_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UnsupportedFeature, match="SNS filter policy") as caught:
        compile_filter(parse(text))
    assert reason in str(caught.value)
    assert reason in (filter_problem(parse(text)) or "")


def test_no_filter_is_no_policy() -> None:
    assert compile_filter(None) is None
    assert filter_problem(None) is None
