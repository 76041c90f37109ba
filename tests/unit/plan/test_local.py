"""The embedded plan: every entry by its own name, and a binding that says all that was declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from polybus.binding import Backoff, Binding, Kind
from polybus.embedded.plan import local_binding, plan
from polybus.topology.file import loads
from polybus.topology.model import digest

SHOP = loads(
    """
[bus]
name = "shop"
[topics.orders]
ordered = true
max_message_size = "1MiB"
[subscriptions.billing]
topic = "orders"
filter = 'region=="eu"'
lease = "2m"
max_attempts = 7
retention = "1d"
dead_letter_retention = "2d"
backoff = { initial = "2s", maximum = "1m" }
[subscriptions.audit]
topic = "orders"
ordered = false
tap = true
[subscriptions.mail]
topic = "orders"
push = { email = "a@b.c" }
[queues.jobs]
max_delay = "15m"
[services.s]
publishes = ["orders"]
consumes = ["billing"]
operates = ["jobs"]
""",
    source="x",
)


def test_every_entry_and_its_dead_letters_are_planned() -> None:
    found = [(item.kind, item.logical, item.address, item.of) for item in plan(SHOP).resources]
    assert found == [
        ("topic", "orders", "orders", None),
        ("subscription", "billing", "billing", "orders"),
        ("dead letters", "billing", "billing-dead-letters", "billing"),
        ("subscription", "audit", "audit", "orders"),
        ("dead letters", "audit", "audit-dead-letters", "audit"),
        ("subscription", "mail", "mail", "orders"),
        ("dead letters", "mail", "mail-dead-letters", "mail"),
        ("queue", "jobs", "jobs", None),
        ("dead letters", "jobs", "jobs-dead-letters", "jobs"),
    ]


def test_a_binding_says_all_that_the_run_time_needs() -> None:
    binding = local_binding(SHOP, path=Path("/tmp/bus.db"))
    assert (binding.backend, binding.bus, binding.digest) == ("sqlite", "shop", digest(SHOP))
    assert binding.settings == {"path": "/tmp/bus.db"}
    orders = binding.topics["orders"]
    assert (orders.kind, orders.ordered, orders.max_size) == (Kind.TOPIC, True, 1_048_576)
    assert orders.filter_attributes == ("region",)
    billing = binding.subscriptions["billing"]
    assert (billing.topic, billing.filter, billing.ordered) == ("orders", 'region == "eu"', True)
    assert (billing.lease, billing.max_attempts, billing.backoff) == (120.0, 7, Backoff(2.0, 60.0))
    assert (billing.retention, billing.dead_letter_retention) == (86_400.0, 172_800.0)
    assert billing.dead_letter == "billing-dead-letters"
    assert billing.tag
    assert (binding.subscriptions["audit"].ordered, binding.subscriptions["audit"].tap) == (False, True)
    assert binding.subscriptions["mail"].push
    assert binding.queues["jobs"].max_delay == 900.0
    assert binding.services["s"].operates == ("jobs",)


def test_a_binding_survives_its_own_json() -> None:
    binding = local_binding(SHOP, path=Path("/tmp/bus.db"))
    assert Binding.from_json(binding.to_json()).to_json() == binding.to_json()


def test_memory_needs_no_file_and_sqlite_does() -> None:
    assert local_binding(SHOP, backend="memory").backend == "memory"
    with pytest.raises(ValueError, match="path"):
        local_binding(SHOP)
