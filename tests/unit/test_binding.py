"""What a stack exports and services read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

import polybus
from polybus.binding import Binding, Entity, Kind, Rights
from polybus.bus.resolve import resolve

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


WHOLE = msgspec.structs.replace(
    BINDING,
    topics={**BINDING.topics, "news": Entity(kind=Kind.TOPIC, name="news", address="arn:2")},
    services={
        "checkout": Rights(publishes=("orders", "jobs")),
        "billing": Rights(consumes=("billing",), publishes=("news",)),
        "works": Rights(consumes=("jobs",)),
        "operator": Rights(operates=("billing", "jobs")),
        "idle": Rights(),
    },
)


@pytest.mark.parametrize(
    ("service", "topics", "subscriptions", "queues"),
    [
        ("checkout", {"orders"}, set(), {"jobs"}),
        ("billing", {"orders", "news"}, {"billing"}, set()),
        ("works", set(), set(), {"jobs"}),
        ("operator", {"orders"}, {"billing"}, {"jobs"}),
        ("idle", set(), set(), set()),
    ],
)
def test_a_service_s_binding_has_what_it_may_use_alone(
    service: str, topics: set[str], subscriptions: set[str], queues: set[str]
) -> None:
    mine = WHOLE.for_service(service)
    assert (set(mine.topics), set(mine.subscriptions), set(mine.queues)) == (topics, subscriptions, queues)
    assert mine.services == {service: WHOLE.services[service]}
    assert (mine.backend, mine.bus, mine.settings, mine.digest) == ("aws", "shop", WHOLE.settings, WHOLE.digest)
    for group in ("topics", "subscriptions", "queues"):
        assert all(entity == getattr(WHOLE, group)[name] for name, entity in getattr(mine, group).items())


def test_a_service_s_binding_has_the_pushes_that_it_is_said_to_handle() -> None:
    mine = WHOLE.for_service("idle", pushes=["mail"])
    assert set(mine.subscriptions) == {"mail"}
    assert set(mine.topics) == {"orders"}


def test_a_service_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(polybus.BindingError, match=r"'biling' is not declared in bus 'shop'; there are: billing, "):
        WHOLE.for_service("biling")


def test_in_one_line_it_is_the_same_binding() -> None:
    text = WHOLE.to_compact_json()
    assert Binding.from_json(text) == WHOLE
    assert " " not in text
    assert '"retention":100}' in text


async def test_services_of_an_embedded_bus_work_on_their_own_bindings_alone(tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(
        '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n'
        'filter = \'region == "eu"\'\n[subscriptions.audit]\ntopic = "orders"\n'
        '[services.checkout]\npublishes = ["orders"]\n[services.billing]\nconsumes = ["billing"]\n'
    )
    whole, _ = resolve(tmp_path / "polybus.toml")
    async with polybus.connect(whole.for_service("checkout"), service="checkout") as sender:
        for region in ("us", "eu"):
            await sender.publish("orders", b"1", attributes={"region": region})
    mine = whole.for_service("billing")
    async with (
        asyncio.timeout(30),
        polybus.connect(mine, service="billing") as receiver,
        receiver.consume("billing") as deliveries,
    ):
        async for delivery in deliveries:
            assert delivery.attributes["region"] == "eu"
            await delivery.ack()
            break
