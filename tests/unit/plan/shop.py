"""One topology, and what tests of plans ask of its plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.plan.values import Resource
from polybus.topology.file import loads
from polybus.topology.model import Topology

ONE, OTHER = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
SUBNET = "/subscriptions/s/resourceGroups/n/providers/Microsoft.Network/virtualNetworks/v/subnets/x"

SHOP = """
[bus]
name = "shop"
[topics.orders]
ordered = true
[topics.news]
[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk") and not exists(test)'
lease = "90s"
[subscriptions.fast]
topic = "orders"
ordered = false
[queues.jobs]
max_attempts = 3
[services.shop]
publishes = ["orders", "jobs"]
[services.worker]
consumes = ["billing", "jobs"]
[services.keeper]
operates = ["billing", "jobs"]
"""


def topology(more: str = "") -> Topology:
    return loads(SHOP + more, source="polybus.toml")


def by_name(plan: Any) -> dict[str, Resource]:
    return {resource.name: resource for resource in plan.resources}


def allowed(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {
        (action, str(target))
        for statement in document["Statement"]
        for action in statement["Action"]
        for target in statement["Resource"]
    }


ALARMS = '[alarms]\ndead_letters = 2\nbacklog = 50\noldest_age = "5m"\nnotify = { email = "ops@example.com" }\n'
