"""Texts that a topology leaves open, and what fills them in."""

from __future__ import annotations

import copy
import pickle

import pytest

from polybus.errors import ConfigError, TopologyError
from polybus.plan.opened import by_environment
from polybus.topology.file import loads
from polybus.topology.model import Topology, digest
from polybus.topology.open import Open, filled, places

OPEN = """
[bus]
name = "shop"
[topics.orders]
existing = { config = "orders-arn" }
[subscriptions.hook]
topic = "orders"
push = { https = { config = "hook" }, raw = true }
[subscriptions.mail]
topic = "orders"
push = { email = { env = "OPS_MAIL" } }
[subscriptions.text]
topic = "orders"
push = { sms = { config = "phone" } }
[subscriptions.call]
topic = "orders"
push = { function = { config = "resize" } }
[queues.jobs]
existing = { env = "JOBS" }
[alarms]
notify = { topic = { config = "pager" }, email = { config = "ops" } }
"""


def topology() -> Topology:
    return loads(OPEN, source="shop.toml")


def test_every_place_is_listed_with_what_fills_it_in() -> None:
    assert {place.path: (place.value.source, place.value.key) for place in places(topology())} == {
        "$.topics.orders.existing": ("config", "orders-arn"),
        "$.subscriptions.hook.push.https": ("config", "hook"),
        "$.subscriptions.mail.push.email": ("env", "OPS_MAIL"),
        "$.subscriptions.text.push.sms": ("config", "phone"),
        "$.subscriptions.call.push.function": ("config", "resize"),
        "$.queues.jobs.existing": ("env", "JOBS"),
        "$.alarms.notify.email": ("config", "ops"),
        "$.alarms.notify.topic": ("config", "pager"),
    }


def test_what_is_filled_in_changes_no_digest() -> None:
    full = filled(topology(), lambda place: f"{place.form} of {place.name}")
    assert full.topics["orders"].existing == "existing of orders"
    push = full.subscriptions["hook"].push
    assert push is not None
    assert push.https == "https of hook"
    assert push.raw
    assert full.alarms is not None
    assert full.alarms.notify.topic == "notify topic of "
    assert places(full) == []
    assert digest(full) == digest(topology())
    assert digest(topology()) != digest(loads(OPEN.replace("orders-arn", "other-arn"), source="shop.toml"))


def test_nothing_open_is_the_same_topology() -> None:
    full = filled(topology(), lambda place: "x")
    assert filled(full, lambda place: "y") is full


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_an_open_text_survives_a_copy(copied: object) -> None:
    made = copied(Open("config", "hook"))  # type: ignore[operator]
    assert (type(made), made, made.source, made.key) == (Open, "<config hook>", "config", "hook")


@pytest.mark.parametrize(
    "value",
    [
        "{ config = 1 }",
        "{ config = '' }",
        "{ config = 'a b' }",
        "{ config = 'a', env = 'A' }",
        "{ secret = 'a' }",
        "{ env = 'A-B' }",
        "{}",
    ],
)
def test_anything_else_is_refused_with_both_ways(value: str) -> None:
    with pytest.raises(TopologyError) as raised:
        loads(f'[bus]\nname = "s"\n[topics.a]\nexisting = {value}\n', source="x")
    assert '{ config = "name" } and { env = "NAME" }' in str(raised.value)


def test_where_a_push_forwards_to_is_never_open() -> None:
    text = '[bus]\nname = "s"\n[topics.a]\n[subscriptions.b]\ntopic = "a"\npush = { forward = { config = "x" } }\n'
    with pytest.raises(TopologyError, match=r"push\.forward: found a table"):
        loads(text, source="x")


def test_the_environment_fills_in_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_MAIL", "ops@example.com")
    monkeypatch.delenv("JOBS", raising=False)
    monkeypatch.setenv("hook", "https://example.com")
    found = by_environment(topology())
    push = found.subscriptions["mail"].push
    assert push is not None
    assert push.email == "ops@example.com"
    assert {place.path for place in places(topology())} - {place.path for place in places(found)} == {
        "$.subscriptions.mail.push.email"
    }


def test_what_the_environment_has_is_held_to_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_MAIL", "nobody")
    with pytest.raises(ConfigError) as raised:
        by_environment(topology())
    assert str(raised.value) == (
        "shop.toml: at $.subscriptions.mail.push.email: the environment variable OPS_MAIL: found 'nobody'; "
        "allowed: an e-mail address"
    )
