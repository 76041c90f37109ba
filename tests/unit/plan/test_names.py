"""Physical names: readable, stable, unique, never too long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.names import Names, physical_name, subscription_tag
from polybus.topology.file import loads

ENTRIES = st.from_regex(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?", fullmatch=True)
# Parts that are like other parts joined, like what is appended, and long enough to be cut.
WORDS = st.sampled_from(["a", "b", "dead", "letters", "age", "x" * 40, "abcdef01", "alarms", "eu", "west"])
PARTS = st.lists(WORDS, min_size=1, max_size=3).map("-".join).filter(lambda text: not text.endswith("-dead-letters"))
STACKS = PARTS | st.just("")
SUFFIXES = ("", "-dead-letters", "-age", "-letters", "--alarms")


def test_a_short_name_is_readable() -> None:
    names = Names("shop", "dev", 80)
    assert names.of("orders") == "shop-dev-orders"
    assert names.of("orders", suffix=".fifo") == "shop-dev-orders.fifo"
    assert names.dead_letters("orders", suffix=".fifo") == "shop-dev-orders-dead-letters.fifo"
    assert Names("shop", "", 80).of("orders") == "shop-orders"


def test_a_cut_name_begins_as_the_whole_and_keeps_its_suffix() -> None:
    name = Names("shop", "production", 50).dead_letters("thumbnails-of-every-size", suffix=".fifo")
    assert len(name) <= 50
    assert name.startswith("shop-production-thu")
    assert name.endswith("-dead-letters.fifo")


@given(st.sets(ENTRIES, min_size=1, max_size=20), ENTRIES, st.sampled_from(["", "dev", "production-europe"]))
def test_names_are_unique_and_short_enough(entries: set[str], bus: str, stack: str) -> None:
    names = Names(bus, stack, 50)
    made = {
        name
        for entry in entries
        for name in (names.of(entry, suffix=".fifo"), names.dead_letters(entry, suffix=".fifo"))
    }
    assert len(made) == 2 * len(entries)
    assert all(len(name) <= 50 for name in made)


@given(st.sets(st.tuples(PARTS, STACKS, PARTS), min_size=2, max_size=12), st.sampled_from([50, 80, 260]))
def test_no_two_buses_stacks_and_entries_have_one_name(ways: set[tuple[str, str, str]], longest: int) -> None:
    ours = {(way, suffix) for way in ways for suffix in SUFFIXES}
    made = {(suffix, Names(way[0], way[1], longest).of(way[2], suffix=suffix)) for way, suffix in ours}
    assert len(made) == len(ours)
    queues = {name for suffix, name in made if suffix in ("", "-dead-letters")}
    assert len(queues) == 2 * len(ways)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("shop", "prod", "eu-jobs"), ("shop", "prod-eu", "jobs")),
        (("shop-prod", "", "jobs"), ("shop", "prod", "jobs")),
        (("shop", "", "prod-jobs"), ("shop", "prod", "jobs")),
        (("a" * 60, "b" * 60, "c"), ("a" * 60, "b" * 10, "HASH")),  # the second is what the first is cut to
    ],
)
def test_names_that_were_one_by_their_parts_are_two(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    first = physical_name(*one, longest=80)
    other = tuple(part.replace("HASH", first[-8:]) for part in other)
    assert first != physical_name(*other, longest=80)


def test_a_name_that_says_its_parts_by_itself_has_no_hash() -> None:
    assert Names("shop", "prod", 80).of("billing", suffix="-age") == "shop-prod-billing-age"
    assert Names("shop", "", 80).dead_letters("billing") == "shop-billing-dead-letters"
    assert physical_name("to-jobs", longest=50) == "to-jobs"
    assert physical_name("Shop", "prod", longest=50) == "Shop-prod"


def test_what_differs_in_case_alone_is_told_apart_where_the_service_does_not() -> None:
    ours = {physical_name(bus, "prod", longest=50, caseless=True).lower() for bus in ("shop", "Shop", "SHOP")}
    assert len(ours) == 3
    assert "shop-prod" in ours


@given(ENTRIES, ENTRIES)
def test_a_name_depends_on_its_own_entry_alone(bus: str, entry: str) -> None:
    assert Names(bus, "x", 60).of(entry) == physical_name(bus, "x", entry, longest=60)


def test_a_tag_is_short_stable_and_its_subscription_s_own() -> None:
    assert subscription_tag("shop", "billing") == "fb8b75c6"
    assert subscription_tag("shop", "billing") != subscription_tag("shop", "audit")
    assert subscription_tag("shop", "billing") != subscription_tag("stall", "billing")


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_a_name_that_is_passed_on_is_what_alarms_and_dashboards_watch(cloud: str) -> None:
    text = f'[bus]\nname = "b"\n[queues.jobs]\n[queues.jobs.{cloud}]\nname = "the-team-s_jobs"\n[alarms]\n'
    plan = {"aws": aws, "gcp": gcp}[cloud].plan(loads(text, source="polybus.toml"))
    made = {resource.name: resource for resource in plan.resources}
    for name in ("jobs-age-alarm", "jobs-backlog-alarm", "dashboard"):
        watched = repr(made[name].properties)
        assert "the-team-s_jobs" in watched
        assert re.search(r"b-jobs['\"]", watched) is None, name
    assert "the-team-s_jobs" not in repr(made["jobs-letters-alarm"].properties)


def test_names_that_are_passed_on_are_where_azure_s_services_and_forwards_look() -> None:
    text = """
        [bus]
        name = "b"
        [topics.orders]
        [queues.jobs]
        [queues.jobs.azure]
        queue_name = "the-team-s_jobs"
        [topics.copies]
        [topics.copies.azure]
        topic_name = "the-team-s_copies"
        [subscriptions.billing]
        topic = "orders"
        [subscriptions.billing.azure]
        subscription_name = "the-team-s_billing"
        [subscriptions.to-jobs]
        topic = "orders"
        push = { forward = "jobs" }
        [subscriptions.to-copies]
        topic = "orders"
        push = { forward = "copies" }
    """
    plan = azure.plan(loads(text, source="polybus.toml"))
    made = {resource.name: resource.properties for resource in plan.resources}
    assert made["to-jobs-subscription"]["forward_to"] == made["jobs-queue"]["queue_name"]
    assert made["to-copies-subscription"]["forward_to"] == made["copies-topic"]["topic_name"]
    billing = azure.binding_values(plan)["subscriptions"]["billing"]
    assert repr(made["billing-subscription"]["subscription_name"]).strip("'") in repr(billing["address"])
    assert "the-team-s_billing/$DeadLetterQueue" in repr(billing["dead_letter"])
