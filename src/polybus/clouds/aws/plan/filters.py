"""A filter as an SNS filter policy on message attributes.

    {"region": ["eu", "uk"], "test": [{"exists": false}]}

Keys are joined by "and", the values of one key by "or", and `$or` joins alternatives of several keys. One key can't be
required twice, so conditions on one attribute are merged into one, or refused where SNS has no such condition.
`{"exists": false}` needs a message with at least one attribute, which every message of polybus has.
Source: "Amazon SNS message filtering" and "Filter policy constraints in Amazon SNS" in the SNS developer guide; where
it doesn't say how `$or` counts, every key and every array of it is counted, which is the strictest reading.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any as AnyValue

from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.plan.conditions import ALWAYS, Condition, Inexpressible, condition_of
from polybus.errors import UnsupportedFeature
from polybus.topology.filters import All, Any, Filter, Literal, Normal, OneOf, StartsWith, dnf, normal_form

__all__ = ["compile_filter", "filter_problem"]

Policy = dict[str, AnyValue]
Clause = Mapping[str, Condition]

# `$or` is an operator only where none of these is a key in it (SNS developer guide, "AND/OR logic").
_OPERATORS = frozenset(
    ("anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard")
)


@lru_cache(maxsize=16_384)  # checked, and then planned
def compile_filter(filter_: Filter | None) -> Policy | None:
    """Compile a filter; None where every message passes. Raises UnsupportedFeature where SNS can't say it."""
    if filter_ is None:
        return None
    try:
        policy = _policy(normal_form(filter_))
        _hold_limits(policy)
    except Inexpressible as reason:
        raise UnsupportedFeature(f"aws: an SNS filter policy can't say {filter_}: {reason}") from None
    return policy or None


def filter_problem(filter_: Filter | None) -> str | None:
    """Say why SNS can't have a filter, or None."""
    try:
        compile_filter(filter_)
    except UnsupportedFeature as problem:
        return str(problem).removeprefix("aws: ")
    return None


def _policy(form: Normal) -> Policy:
    parts = form.items if isinstance(form, All) else (form,)
    common: dict[str, Condition] = {}
    rest: list[Normal] = []
    for part in parts:
        name = _only_attribute(part)
        if name is None:
            rest.append(part)
        else:
            common[name] = common.get(name, ALWAYS) & _condition(part)
    clauses = _alternatives(rest)
    if len(clauses) == 1:
        return _keys(_merged(common, clauses[0]))
    repeated = {name for clause in clauses for name in clause} & common.keys()
    shared = {name: condition for name, condition in common.items() if name not in repeated}
    pushed = {name: common[name] for name in repeated}
    branches = [_branch(pushed, clause) for clause in clauses]
    return _or(_keys(shared), [branch for branch in branches if branch is not None])


def _or(shared: Policy, branches: list[Policy]) -> Policy:
    if not branches:
        raise Inexpressible("no message can pass it")
    if not all(branches):
        return shared  # one alternative always holds
    unique = [branch for at, branch in enumerate(branches) if branch not in branches[:at]]
    if len(unique) == 1:
        return {**shared, **unique[0]}
    operators = sorted({name for branch in unique for name in branch} & _OPERATORS)
    if operators:
        raise Inexpressible(f"inside $or the attribute name {operators[0]} is taken for an operator")
    return {**shared, "$or": unique}


def _branch(pushed: Clause, clause: Clause) -> Policy | None:
    """Give one alternative of an `$or`; None where it can't hold."""
    merged = _merged(pushed, clause)
    return None if any(condition.never for condition in merged.values()) else _keys(merged)


def _alternatives(rest: Iterable[Normal]) -> list[Clause]:
    """Spell out what may hold beside the common part; alternatives of one attribute become one condition."""
    found = dnf(All(tuple(rest)), limit=AWS.filter_combinations.most)
    if found is None:
        raise Inexpressible(f"more than {AWS.filter_combinations.most} alternatives")
    single: dict[str, Condition] = {}
    several: list[Clause] = []
    for clause in (_clause(literals) for literals in found):
        if any(condition.never for condition in clause.values()):
            continue
        if len(clause) == 1:
            (name, condition), *_ = clause.items()
            single[name] = single[name] | condition if name in single else condition
        else:
            several.append(clause)
    return [*({name: condition} for name, condition in single.items()), *several]


def _clause(literals: Iterable[Literal]) -> Clause:
    conditions: dict[str, Condition] = {}
    for literal in literals:
        _hold_values(literal)
        conditions[literal.attribute] = conditions.get(literal.attribute, ALWAYS) & condition_of(literal)
    return conditions


def _merged(first: Clause, second: Clause) -> Clause:
    merged = dict(first)
    for name, condition in second.items():
        merged[name] = merged.get(name, ALWAYS) & condition
    return merged


def _keys(clause: Clause) -> Policy:
    if any(condition.never for condition in clause.values()):
        raise Inexpressible("no message can pass it")
    return {name: condition.as_values() for name, condition in clause.items() if not condition.always}


def _only_attribute(form: Normal) -> str | None:
    """Name the one attribute that a form tests; None where there are several."""
    if isinstance(form, Literal):
        return form.attribute
    names = {_only_attribute(item) for item in form.items}
    return names.pop() if len(names) == 1 else None


def _condition(form: Normal) -> Condition:
    """Merge a form of one attribute into one condition."""
    if isinstance(form, Literal):
        _hold_values(form)
        return condition_of(form)
    result, *others = (_condition(item) for item in form.items)
    for other in others:
        result = result | other if isinstance(form, Any) else result & other
    return result


def _hold_values(literal: Literal) -> None:
    test = literal.test
    values = test.values if isinstance(test, OneOf) else (test.prefix,) if isinstance(test, StartsWith) else ()
    for value in values:
        if not value:
            raise Inexpressible(f"{literal.attribute} compared with an empty value, which SNS attributes can't have")
        if any(character in '"\\' or character < " " for character in value):
            raise Inexpressible(f"{value!r}: quotes, backslashes and control characters don't compare as written")


def _arrays(policy: Policy) -> list[list[AnyValue]]:
    branches = policy.get("$or", [])
    own = [values for name, values in policy.items() if name != "$or"]
    return own + [values for branch in branches for values in branch.values()]


def _hold_limits(policy: Policy) -> None:
    arrays = _arrays(policy)
    if len(arrays) > AWS.filter_keys.most:
        raise Inexpressible(f"it needs {len(arrays)} keys, of {AWS.filter_keys.most}")
    combinations = math.prod(len(values) for values in arrays)
    if combinations > AWS.filter_combinations.most:
        raise Inexpressible(f"it has {combinations} combinations of values, of {AWS.filter_combinations.most}")
    size = len(json.dumps(policy).encode())
    if size > AWS.filter_bytes.most:
        raise Inexpressible(f"it has {size} bytes, of {AWS.filter_bytes.most}")
