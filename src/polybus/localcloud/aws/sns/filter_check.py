"""Reading filter policies: which ones SNS refuses, and why.

Rules and limits: SNS Developer Guide, "Filter policy constraints" and the pages on matching. At most 5 keys (those in
an `$or` count; in a body's policy only its top level does), 150 combinations (the product of the lists' lengths, each
times its depth, summed over the branches of an `$or`), 256 KB.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.sns.filter_policy import FilterPolicy, Rules, Test, Tree, same

__all__ = ["parse_filter"]

MAX_KEYS = 5
MAX_COMBINATIONS = 150
MAX_BYTES = 256 * 1024
MAX_NUMBER = 1e9

_COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def _refused(why: str) -> AwsError:
    return sns_invalid(f"FilterPolicy: {why}")


def _told(error: AwsError, where: str) -> AwsError:
    """Return a refusal as it is told at this place: where a subscription is made, or where it is changed."""
    told = error.message.removeprefix("Invalid parameter: ")
    return sns_invalid(where + told) if told.startswith("FilterPolicy") else error


def parse_filter(text: str, scope: str, where: str = "") -> FilterPolicy | None:
    """Return the policy, None for one without rules; raises AwsError where SNS would refuse it, told after `where`."""
    try:
        return _parse(text, scope)
    except AwsError as error:
        raise _told(error, where) from None


def _parse(text: str, scope: str) -> FilterPolicy | None:
    if len(text.encode()) > MAX_BYTES:
        raise _refused("Filter policy is larger than 256 KB")
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refused(f"failed to parse JSON. {error}") from None
    if not isinstance(document, Mapping):
        raise _refused("Filter policy must be a JSON object")
    if not document:
        return None
    reader = _Reader(scope)
    tree, combinations = reader.level(document, 1)
    if len(reader.keys) > MAX_KEYS:
        raise _refused(f"Filter policy can not have more than {MAX_KEYS} keys")
    if combinations > MAX_COMBINATIONS:
        raise _refused("Filter policy is too complex")
    return FilterPolicy(tree, scope)


class _Reader:
    """Reads one policy, level by level, and remembers the keys that count towards the limit."""

    def __init__(self, scope: str) -> None:
        self.keys: set[str] = set()
        self._scope = scope

    def level(self, document: Mapping[str, Any], depth: int) -> tuple[Tree, int]:
        """Return one level, and how many combinations it has."""
        rules: list[tuple[str, Rules]] = []
        nested: list[tuple[str, Tree]] = []
        choices: list[tuple[Tree, ...]] = []
        combinations = 1
        for key, value in document.items():
            if key == "$or" and isinstance(value, list) and len(value) >= 2 and all(map(_is_branch, value)):
                branches = [self.level(branch, depth) for branch in value]
                choices.append(tuple(tree for tree, _ in branches))
                combinations *= sum(count for _, count in branches)
                continue
            if depth == 1:
                self.keys.add(key)
            if isinstance(value, Mapping):
                tree, count = self._nested(value, depth)
                nested.append((key, tree))
                combinations *= count
            elif isinstance(value, list):
                rules.append((key, _rules(value)))
                combinations *= len(value) * depth
            else:
                raise _refused(f'"{key}" must be an object or an array')
        return Tree(tuple(rules), tuple(nested), tuple(choices)), combinations

    def _nested(self, document: Mapping[str, Any], depth: int) -> tuple[Tree, int]:
        if self._scope != "MessageBody":
            raise sns_invalid("Filter policy scope MessageAttributes does not support nested filter policy")
        if not document:
            raise _refused("Empty objects are not allowed")
        return self.level(document, depth + 1)


def _is_branch(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _rules(values: list[Any]) -> Rules:
    if not values:
        raise _refused("Empty arrays are not allowed")
    tests: list[Test] = []
    exists: set[bool] = set()
    for value in values:
        if isinstance(value, Mapping) and value.keys() == {"exists"}:
            if not isinstance(value["exists"], bool):
                raise _refused("exists match pattern must be either true or false.")
            exists.add(value["exists"])
        else:
            tests.append(_test(value))
    return Rules(tuple(tests), True in exists, False in exists)


def _test(value: Any) -> Test:
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise _refused("Only one key allowed in match expression")
        [(name, wanted)] = value.items()
        return _operator(name, wanted)
    _check_plain(value)
    return lambda found: same(found, value)


def _check_plain(value: Any) -> None:
    if isinstance(value, list | Mapping):
        raise _refused("Match value must be String, number, true, false, or null")
    if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        raise _refused("Match value must be from -1E9 to 1E9")


def _operator(name: str, wanted: Any) -> Test:
    match name:
        case "prefix":
            start = _string(name, wanted)
            return lambda found: isinstance(found, str) and found.startswith(start)
        case "suffix":
            end = _string(name, wanted)
            return lambda found: isinstance(found, str) and found.endswith(end)
        case "equals-ignore-case":
            folded = _string(name, wanted).casefold()
            return lambda found: isinstance(found, str) and found.casefold() == folded
        case "anything-but":
            return _anything_but(wanted)
        case "numeric":
            return _numeric(wanted)
        case "cidr":
            return _cidr(_string(name, wanted))
    raise _refused(f"Unrecognized match type {name}")


def _string(name: str, wanted: Any) -> str:
    if not isinstance(wanted, str) or not wanted:
        raise _refused(f"{name} match pattern must be a string")
    return wanted


def _anything_but(wanted: Any) -> Test:
    if isinstance(wanted, Mapping):
        if wanted.keys() != {"prefix"}:
            raise _refused(f"Unsupported anything-but pattern: {', '.join(wanted) or 'none'}")
        start = _string("prefix", wanted["prefix"])
        return lambda found: not (isinstance(found, str) and found.startswith(start))
    values = wanted if isinstance(wanted, list) else [wanted]
    if not values or any(value is None or isinstance(value, bool) for value in values):
        raise _refused("anything-but takes strings or numbers")
    for value in values:
        _check_plain(value)
    return lambda found: not any(same(found, value) for value in values)


def _numeric(wanted: Any) -> Test:
    if not isinstance(wanted, list) or not wanted:
        raise _refused("Invalid member in numeric match: ]")
    pairs = list(zip(wanted[::2], wanted[1::2], strict=False))
    for sign in wanted[::2]:
        if not isinstance(sign, str) or sign not in _COMPARE:
            raise _refused(f"Unrecognized numeric range operator: {sign}")
    for sign, value in pairs:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _refused(f"Value of {sign} must be numeric")
        _check_plain(value)
    if len(wanted) not in (2, 4):
        raise _refused("Too many elements in numeric expression")
    if len(wanted) == 4:
        if pairs[0][0] not in (">", ">=") or pairs[1][0] not in ("<", "<="):
            raise _refused(f"Bad numeric range operator: {pairs[1][0]}")
        if pairs[1][1] <= pairs[0][1]:
            raise _refused("Bottom must be less than top")
    checks = [(_COMPARE[sign], float(value)) for sign, value in pairs]

    def within(found: Any) -> bool:
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        return is_number and all(compare(float(found), value) for compare, value in checks)

    return within


def _cidr(wanted: str) -> Test:
    try:
        network = ipaddress.ip_network(wanted)
    except ValueError:
        raise _refused(f"Nonstandard IP address: {wanted}") from None

    def inside(found: Any) -> bool:
        try:
            return isinstance(found, str) and ipaddress.ip_address(found) in network
        except ValueError:
            return False

    return inside
