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
