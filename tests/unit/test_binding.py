"""What a stack exports and services read."""

from __future__ import annotations

import msgspec
import pytest

import polybus
from polybus.binding import Binding, Entity, Kind, Rights

BINDING = Binding(
    backend="aws",
    bus="shop",
    settings={"region": "eu-west-1"},
    topics={"orders": Entity(kind=Kind.TOPIC, name="orders", address="arn:1", ordered=True)},
    subscriptions={
        "billing": Entity(kind=Kind.SUBSCRIPTION, name="billing", address="q", dead_letter="dl", topic="orders"),
        "mail": Entity(kind=Kind.SUBSCRIPTION, name="mail", address="q2", topic="orders", push=True),
    },
    queues={"jobs": Entity(kind=Kind.QUEUE, name="jobs", address="q3", dead_letter="dl3", retention=100.0)},
    services={"checkout": Rights(publishes=("orders",))},
)


def test_it_comes_back_from_its_json() -> None:
    assert Binding.from_json(BINDING.to_json()) == BINDING


def test_what_is_not_known_yet_is_passed_over() -> None:
    values = {**msgspec.to_builtins(BINDING), "later": 1}
    assert Binding.from_json(msgspec.json.encode(values)) == BINDING


def test_names_find_what_they_may_be_used_for() -> None:
    assert BINDING.target("orders").address == "arn:1"
    assert BINDING.target("jobs") is BINDING.source("jobs")
    with pytest.raises(polybus.BindingError, match="nothing named 'billing' to publish to"):
        BINDING.target("billing")
    with pytest.raises(polybus.BindingError, match="did you mean 'billing'"):
        BINDING.source("biling")
    with pytest.raises(polybus.BindingError, match="'mail' is a push subscription"):
        BINDING.source("mail")


def test_dead_letters_are_a_source_of_their_own() -> None:
    letters = BINDING.queues["jobs"].dead_letters
    assert (letters.kind, letters.name, letters.address) == (Kind.DEAD_LETTERS, "jobs", "dl3")
    assert letters.retention == letters.dead_letter_retention
    with pytest.raises(polybus.BindingError, match="has no dead letters"):
        _ = letters.dead_letters
