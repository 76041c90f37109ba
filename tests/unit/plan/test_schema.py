"""The schema of polybus.toml takes what the reader takes, and refuses what it refuses where a schema can tell."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clouds import CLOUDS

import polybus.testing.topology
from polybus.errors import TopologyError
from polybus.plan.passed import passed_arguments
from polybus.topology.file import loads
from polybus.topology.meanings import meaning
from polybus.topology.schema import schema
from polybus.topology.shape import ANY_NAME, Form, Key, keys

from .everything import stacks
from .json_schema import refusals
from .strategies import topologies
from .written import toml_of, values_of

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = schema(passed_arguments())
KEYS = keys()

GOOD: Mapping[Form, Any] = {
    Form.TEXT: "text",
    Form.OPEN: {"config": "text"},
    Form.FLAG: True,
    Form.INTEGER: 7,
    Form.DURATION: "5m",
    Form.SIZE: "64KiB",
    Form.NAMES: ["text"],
    Form.TEXTS: "text",
    Form.FREE: {},
}
PARTICULAR = {
    "subscriptions.*.filter": 'region == "eu"',
    **{f"{kind}.*.clouds": ["aws"] for kind in ("topics", "subscriptions", "queues", "services")},
    **{f"{kind}.*.consumers": "foreign" for kind in ("subscriptions", "queues")},
    "topics.*.allow.actions": ["publish"],
    "queues.*.allow.actions": ["publish"],
    "topics.*.allow.cloud": "aws",
    "queues.*.allow.cloud": "aws",
}
# Of these addresses one alone may be given.
OTHERS = {f"subscriptions.*.push.{kind}" for kind in ("sms", "https", "function", "forward", "raw")}


def declared() -> Iterator[Any]:
    """Give every declaration of the repository that is a file, an example of a document, or a test's."""
    files = [*ROOT.glob("examples/**/*.toml"), *ROOT.glob("stacks/*.toml")]
    yield from (pytest.param(path.read_text(), id=str(path.relative_to(ROOT))) for path in files if "bus" in path.stem)
    for page in sorted(ROOT.glob("docs/*.md")):
        for number, text in enumerate(re.findall(r"```toml\n(\[bus\].*?)```", page.read_text(), re.DOTALL)):
            yield pytest.param(text, id=f"{page.name}-{number}")


def whole() -> dict[str, Any]:
    """Return a declaration in which every key is written that can stand beside the others."""
    found: dict[str, Any] = {}
    for key in KEYS:
        path = ".".join(key.path)
        if path in OTHERS:
            continue
        *tables, last = key.path
        inner = table_at(found, tables)
        name = "one" if last == ANY_NAME else last
        if key.form is Form.TABLES:
            inner[name] = [{}]
        elif key.form is Form.TABLE:
            inner[name] = {}
        else:
            inner[name] = PARTICULAR.get(path, chosen(key))
    return found


def chosen(key: Key) -> Any:
    if not key.choices:
        return GOOD[key.form]
    return [key.choices[0]] if key.form is Form.NAMES else key.choices[0]


def table_at(values: Any, path: list[str] | tuple[str, ...]) -> Any:
    for step in path:
        values = values["one" if step == ANY_NAME else step]
        values = values[0] if isinstance(values, list) else values
    return values


def changed(key: Key, change: Callable[[Any, str], None]) -> dict[str, Any]:
    """Return the whole declaration with one key changed."""
    values = copy.deepcopy(whole())
    change(table_at(values, key.path[:-1]), "one" if key.name == ANY_NAME else key.name)
    return values


def problems_of(values: Mapping[str, Any]) -> str:
    with pytest.raises(TopologyError) as error:
        loads(toml_of(values), source="polybus.toml")
    return str(error.value)


def place(key: Key) -> str:
    """Return a pattern for how an error names the place of a key."""
    steps = ["one" if step == ANY_NAME else step for step in key.path]
    return r"\$\." + r"(\[0\])?\.".join(map(re.escape, steps)) + r"\b"


def test_every_key_is_known_for_what_it_takes_and_explained() -> None:
    unknown = [".".join(key.path) for key in KEYS if key.form is Form.OTHER]
    assert unknown == [], "add its form to polybus.topology.shape and polybus.topology.schema"
    unexplained = [".".join(key.path) for key in KEYS if not meaning(key)]
    assert unexplained == [], "say in polybus.topology.meanings what it means"


def test_every_key_at_once_is_taken() -> None:
    assert list(refusals(SCHEMA, whole())) == []


@pytest.mark.parametrize("text", list(declared()))
def test_declarations_of_the_repository_are_taken(text: str) -> None:
    assert list(refusals(SCHEMA, tomllib.loads(text))) == []


def test_the_suite_s_own_topology_is_taken() -> None:
    assert list(refusals(SCHEMA, values_of(polybus.testing.topology.suite_topology()))) == []


@given(topologies() | st.sampled_from(CLOUDS).flatmap(stacks).map(lambda stack: stack.topology))
@settings(max_examples=60)
def test_random_topologies_are_taken_by_both(topology: Any) -> None:
    values = values_of(topology)
    assert list(refusals(SCHEMA, values)) == []
    assert loads(toml_of(values), source="polybus.toml") == topology


@pytest.mark.parametrize("key", KEYS, ids=lambda key: ".".join(key.path))
def test_a_value_of_the_wrong_type_is_refused_by_both(key: Key) -> None:
    wrong = 3.5 if ".".join(key.path) not in OTHERS else [3.5]

    def change(table: Any, name: str) -> None:
        table[name] = wrong

    values = changed(key, change)
    assert list(refusals(SCHEMA, values)) != []
    assert re.search(place(key), problems_of(values))


@pytest.mark.parametrize(
    "key", [key for key in KEYS if key.form in (Form.TABLE, Form.TABLES)], ids=lambda key: ".".join(key.path)
)
def test_an_unknown_key_is_refused_by_both(key: Key) -> None:
    def change(table: Any, name: str) -> None:
        inner = table[name][0] if isinstance(table[name], list) else table[name]
        inner["no-such-key"] = 3.5

    values = changed(key, change)
    assert list(refusals(SCHEMA, values)) != []
    assert re.search(place(key), problems_of(values))


@pytest.mark.parametrize("key", [key for key in KEYS if key.required], ids=lambda key: ".".join(key.path))
def test_what_is_left_out_and_needed_is_refused_by_both(key: Key) -> None:
    values = changed(key, lambda table, name: table.pop(name))
    assert list(refusals(SCHEMA, values)) != []
    assert re.search(place(key), problems_of(values))


@pytest.mark.parametrize("key", [key for key in KEYS if key.choices], ids=lambda key: ".".join(key.path))
def test_another_word_than_those_to_choose_from_is_refused_by_both(key: Key) -> None:
    def change(table: Any, name: str) -> None:
        table[name] = ["other"] if key.form is Form.NAMES else "other"

    values = changed(key, change)
    assert list(refusals(SCHEMA, values)) != []
    assert re.search(place(key), problems_of(values))


@pytest.mark.parametrize("key", [key for key in KEYS if key.off], ids=lambda key: ".".join(key.path))
def test_false_stands_for_none_where_the_reader_takes_it(key: Key) -> None:
    def change(table: Any, name: str) -> None:
        table[name] = False

    assert list(refusals(SCHEMA, changed(key, change))) == []


@pytest.mark.parametrize("name", ["polybus", "Polybus", "-a", "a-", "1a", "a.b", "orders-Dead-Letters", "a" * 61])
def test_names_that_the_reader_refuses_are_refused(name: str) -> None:
    values = {"bus": {"name": "shop"}, "topics": {name: {}}}
    assert list(refusals(SCHEMA, values)) != []
    assert "the name" in problems_of(values)


@pytest.mark.parametrize("text", ["", "60", "1h 30m", "30m1h", "-5s", "5 s"])
def test_durations_that_the_reader_refuses_are_refused(text: str) -> None:
    values = {"bus": {"name": "shop"}, "queues": {"jobs": {"lease": text}}}
    assert list(refusals(SCHEMA, values)) != []
    assert "$.queues.jobs.lease" in problems_of(values)


@pytest.mark.parametrize("text", ["500ms", "30s", "1.5s", "5m", "1h30m", "7d", "1d2h3m4s5ms"])
def test_durations_that_the_reader_takes_are_taken(text: str) -> None:
    values = {"bus": {"name": "shop"}, "topics": {"orders": {"max_delay": text}}}
    assert list(refusals(SCHEMA, values)) == []
    loads(toml_of(values), source="polybus.toml")


@pytest.mark.parametrize("value", ["arn:x", {"config": "a-b"}, {"env": "A_B"}])
def test_what_a_stack_fills_in_is_taken_by_both(value: Any) -> None:
    values = {"bus": {"name": "shop"}, "topics": {"orders": {"existing": value}}}
    assert list(refusals(SCHEMA, values)) == []
    loads(toml_of(values), source="polybus.toml")


@pytest.mark.parametrize("value", [{}, {"config": ""}, {"config": "a", "env": "A"}, {"env": "a-b"}, {"other": "a"}])
def test_what_nothing_fills_in_is_refused_by_both(value: Any) -> None:
    values = {"bus": {"name": "shop"}, "topics": {"orders": {"existing": value}}}
    assert list(refusals(SCHEMA, values)) != []
    assert "$.topics.orders.existing" in problems_of(values)


def test_two_addresses_of_one_push_are_refused() -> None:
    push = {"email": "a@example.com", "https": "https://example.com/x"}
    values = {
        "bus": {"name": "shop"},
        "topics": {"orders": {}},
        "subscriptions": {"mail": {"topic": "orders", "push": push}},
    }
    assert list(refusals(SCHEMA, values)) == ["$.subscriptions.mail.push: oneOf"]


def test_arguments_of_providers_are_completed_and_others_refused() -> None:
    queue = {"bus": {"name": "shop"}, "queues": {"jobs": {"aws": {"kms_data_key_reuse_period_seconds": 300}}}}
    assert list(refusals(SCHEMA, queue)) == []
    queue["queues"]["jobs"]["aws"] = {"no_such_argument": 1}
    assert list(refusals(SCHEMA, queue)) != []
