"""Plans in which each entry is one resource: what they hold, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from polybus.binding import Binding, Entity
from polybus.errors import UnsupportedFeature
from polybus.plan.findings import Report, Severity
from polybus.plan.simple import Simple
from polybus.topology.file import loads
from polybus.topology.model import Topology

SHOP = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
[queues.jobs]
"""
ASKS_TOO_MUCH = (
    SHOP
    + """max_delay = "5m"
max_message_size = "2MiB"
[topics.theirs]
existing = "t"
[subscriptions.call]
topic = "orders"
push = { https = "https://x.example/" }
[services.web]
publishes = ["orders"]
[alarms]
"""
)


@dataclass(frozen=True)
class Settings:
    stack: str = ""
    host: str = "here"
    port: str = ""


def address(topology: Topology, settings: Settings, *parts: str) -> str:
    return "/".join((topology.name + settings.stack, *parts))


def resource(settings: Settings, binding: Binding, entity: Entity) -> Mapping[str, Any]:
    return {"name": entity.address, "host": settings.host, "kept": entity.retention, "none": None}


def odd(report: Report, topology: Topology, stack: str) -> None:
    report.note("$.bus", stack, "is odd")


ACME = Simple(
    backend="acme", resource_type="acme:index/box:Box", settings=Settings, address=address, resource=resource, rules=odd
)


def test_each_entry_is_a_resource_and_so_are_its_dead_letters() -> None:
    plan = ACME.plan(loads(SHOP, source="shop.toml"), Settings("-dev"))
    assert {each.name: (each.kind, each.entry, each.properties["name"]) for each in plan.resources} == {
        "orders": ("topic", "$.topics.orders", "shop-dev/orders"),
        "billing": ("subscription", "$.subscriptions.billing", "shop-dev/billing"),
        "billing-dead-letters": ("dead letters", "$.subscriptions.billing", "shop-dev/billing/dead"),
        "jobs": ("queue", "$.queues.jobs", "shop-dev/jobs"),
        "jobs-dead-letters": ("dead letters", "$.queues.jobs", "shop-dev/jobs/dead"),
    }
    assert all(each.keeps_messages and each.type == "acme:index/box:Box" for each in plan.resources)
    assert all("none" not in each.properties for each in plan.resources)


def test_the_binding_reaches_what_is_planned_by_the_settings() -> None:
    binding = ACME.plan(loads(SHOP, source="shop.toml")).binding
    assert (binding.backend, binding.settings) == ("acme", {"host": "here"})
    assert binding.source("billing").dead_letters.address == "shop/billing/dead"
    planning = ACME.planning()
    plan = planning.plan(loads(SHOP, source="shop.toml"), Settings())
    assert planning.binding_values(plan)["queues"]["jobs"]["address"] == "shop/jobs"
    assert planning.immutable == {"acme:index/box:Box": {"name"}}
    assert planning.provider == "acme"


def test_what_it_can_not_do_is_refused_and_what_differs_is_said() -> None:
    topology = loads(ASKS_TOO_MUCH, source="shop.toml")
    least = Simple(
        backend="acme",
        title="ACME",
        resource_type="acme:index/box:Box",
        settings=Settings,
        address=address,
        resource=resource,
        delays=False,
        largest=1024 * 1024,
        rights="its own rights",
        rules=odd,
    )
    report = Report("acme")
    least.planning().rules(report, topology, "dev")
    found = {(each.severity, each.path, each.limit) for each in report.findings}
    assert found == {
        (Severity.ERROR, "$.topics.theirs.existing", "ACME adopts nothing"),
        (Severity.ERROR, "$.queues.jobs.max_delay", "ACME has no delays"),
        (Severity.ERROR, "$.queues.jobs.max_message_size", "allowed: up to 1MiB"),
        (Severity.ERROR, "$.subscriptions.call.push", "ACME calls nobody"),
        (Severity.NOTE, "$.alarms", "ACME raises none"),
        (Severity.NOTE, "$.services", "the bus alone holds services to them"),
        (Severity.NOTE, "$.bus", "is odd"),
    }
    with pytest.raises(UnsupportedFeature, match="ACME has no delays"):
        least.plan(topology)


def test_a_local_server_gets_each_resource_under_its_own_address() -> None:
    made: list[Mapping[str, Any]] = []
    local = ACME.local(("sdk",), lambda host, port, data: None, lambda port: {"port": port}, made.append, patience=3.0)
    binding = local.realise(local.plan(loads(SHOP, source="shop.toml")), "7000")
    assert binding.settings == {"host": "here", "port": "7000"}
    assert {each["name"] for each in made} == {
        "shop/orders",
        "shop/billing",
        "shop/billing/dead",
        "shop/jobs",
        "shop/jobs/dead",
    }
    assert (local.modules, local.patience) == (("sdk",), 3.0)
