"""Plans in which each entry is one resource: what they hold, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from polybus.binding import Binding, Entity
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan.findings import Report, Severity
from polybus.plan.simple import Simple
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk
from polybus.provision.simple import provider_of
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


@dataclass(frozen=True)
class Chosen:
    stack: str = ""
    host: str = "here"
    shards: int = 1
    tls: bool = True
    kept: Literal["", "none"] = ""


KEYS = {"host": "where it is, such as there.example", "shards": "how many", "tls": "", "kept": "none, or nothing"}


def provided(**values: str) -> Chosen:
    simple = Simple(
        backend="odd", resource_type="odd:index/box:Box", settings=Chosen, address=address, resource=resource
    )
    provider = provider_of(simple, Sdk("odd", "", {}), KEYS, required=("host",))
    assert (provider.name, provider.keys, provider.planning.settings) == ("odd", KEYS, Chosen)
    settings = provider.settings(StackConfig("dev", values, lambda namespace, key: None, "polybus:"))
    assert isinstance(settings, Chosen)
    return settings


def test_a_stack_s_configuration_gives_the_settings() -> None:
    assert provided(host="there", shards="3", tls="false", kept="none") == Chosen("dev", "there", 3, False, "none")
    assert provided(host="there") == Chosen("dev", "there")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "polybus:host is not set: where it is, such as there.example"),
        ({"host": "h", "shards": "three"}, "polybus:shards: found 'three'; allowed: a whole number"),
        ({"host": "h", "tls": "no"}, "polybus:tls: found 'no'; allowed: true, false"),
        ({"host": "h", "kept": "some"}, "polybus:kept: found 'some'; allowed: none"),
    ],
)
def test_a_stack_s_configuration_is_held_to_the_settings_types(values: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=f"^{words}$"):
        provided(**values)
