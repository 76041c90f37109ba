"""Resources that a package's own functions make, as Pulumi calls them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import dill
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from polybus.provision.dynamic import Functions

CALLS: list[tuple[str, Mapping[str, Any]]] = []


def make(properties: Mapping[str, Any]) -> None:
    CALLS.append(("make", properties))


def delete(properties: Mapping[str, Any]) -> None:
    CALLS.append(("delete", properties))


@pytest.fixture
def functions() -> Iterator[Functions]:
    """As Pulumi has them: read back from a stack's state."""
    made = Functions(f"{__name__}:make", f"{__name__}:delete", {"url"})
    yield dill.loads(base64.b64decode(serialize_provider(made)))
    CALLS.clear()


def test_functions_get_the_plan_s_properties_and_no_more(functions: Functions) -> None:
    given = {"name": "a", "net": 25.0, "rate": 0.5, "__provider": "..."}
    made = functions.create(given)
    assert (made.id, made.outs) == ("a", given)
    assert functions.update("a", given, {**given, "net": 40.0}).outs == {**given, "net": 40.0}
    functions.delete("a", given)
    own = {"name": "a", "net": 25, "rate": 0.5}
    told = list(CALLS)
    assert told == [("make", own), ("make", {**own, "net": 40}), ("delete", own)]


def test_only_a_change_of_what_is_fixed_replaces(functions: Functions) -> None:
    old = {"name": "a", "url": "u", "net": 25, "__provider": "old"}
    same = functions.diff("a", old, {**old, "net": 25.0, "__provider": "new"})
    assert (same.changes, same.replaces) == (False, [])
    changed = functions.diff("a", old, {**old, "net": 40})
    assert (changed.changes, changed.replaces) == (True, [])
    replaced = functions.diff("a", old, {**old, "url": "v", "name": "b"})
    assert replaced.replaces == ["name", "url"]
    assert replaced.delete_before_replace, "made first, the new one would be deleted by the name that both have"
