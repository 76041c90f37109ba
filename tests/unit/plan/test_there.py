"""Entries that exist on some clouds alone, and what refers to them on the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.clouds import CLOUDS

from polybus.embedded.plan import local_binding
from polybus.errors import TopologyError, UnsupportedFeature
from polybus.plan.check import Finding, Severity, check, refuse
from polybus.plan.diagram import mermaid
from polybus.plan.planning import planning_of
from polybus.plan.table import plan_for
from polybus.topology.file import loads
from polybus.topology.model import Topology, digest

SOME = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
[subscriptions.mail]
topic = "orders"
clouds = ["aws"]
push = { email = "ops@example.com" }
[queues.later]
clouds = ["aws", "azure"]
max_delay = "10m"
[services.shop]
publishes = ["orders"]
[services.clock]
clouds = ["aws", "azure"]
publishes = ["later"]
"""


def topology(text: str = "") -> Topology:
    return loads(SOME + text, source="polybus.toml")


def errors(found: Topology, cloud: str) -> list[Finding]:
    return [finding for finding in check(found, cloud) if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_entry_is_planned_on_its_clouds_alone(cloud: str) -> None:
    assert errors(topology(), cloud) == []
    plan = plan_for(topology(), cloud, stack="dev")
    entries = {resource.entry for resource in plan.resources}
    assert ("$.subscriptions.mail" in entries) == (cloud == "aws")
    assert ("$.queues.later" in entries) == (cloud in ("aws", "azure"))
    assert "$.subscriptions.billing" in entries
    planning = planning_of(cloud)
    values = planning.binding_values(plan)
    assert ("later" in values.get("queues", {})) == (cloud in ("aws", "azure"))
    assert ("clock" in values.get("services", {})) == (cloud in ("aws", "azure"))
    assert ("clock" in planning.rights(plan)) == (cloud in ("aws", "azure"))


def test_a_binding_is_of_the_whole_topology() -> None:
    for cloud in CLOUDS:
        plan = plan_for(topology(), cloud)
        assert planning_of(cloud).binding_values(plan)["digest"] == digest(topology())


def test_the_digest_is_as_it_was_where_nothing_says_clouds() -> None:
    plain = loads('[bus]\nname = "shop"\n[topics.orders]\n[queues.jobs]\n[services.a]\n', source="polybus.toml")
    assert digest(plain) == "a3ba38f360bc9d41"
    assert digest(plain) != digest(replace(plain, queues={"jobs": replace(plain.queues["jobs"], clouds=("aws",))}))


def test_the_embedded_store_has_all_entries() -> None:
    assert {"mail", "billing"} <= local_binding(topology(), backend="memory").subscriptions.keys()


REFERENCES = [
    ('[services.x]\npublishes = ["later"]\n', "$.services.x.publishes", "later"),
    ('[services.x]\nconsumes = ["later"]\n', "$.services.x.consumes", "later"),
    ('[services.x]\noperates = ["mail"]\n', "$.services.x.operates", "mail"),
    ('[subscriptions.x]\ntopic = "orders"\npush = { forward = "later" }\n', "$.subscriptions.x.push.forward", "later"),
    ('[topics.t]\nclouds = ["aws"]\n[subscriptions.x]\ntopic = "t"\n', "$.subscriptions.x.topic", "t"),
]


@pytest.mark.parametrize(("text", "path", "name"), REFERENCES)
def test_what_refers_to_what_isnt_there_is_refused_by_name(text: str, path: str, name: str) -> None:
    [error] = errors(topology(text), "gcp")
    assert (error.path, error.found) == (path, name)
    assert "alone" in error.limit
    assert "clouds = [" in error.instead
    with pytest.raises(UnsupportedFeature, match=name):
        refuse(topology(text), "gcp")
    assert errors(topology(text), "aws") == []


@pytest.mark.parametrize("value", ['"aws"', "[]", '["was"]', "[1]"])
def test_clouds_are_those_that_there_are(value: str) -> None:
    with pytest.raises(TopologyError, match=r"at \$\.topics\.x\.clouds: .*aws, azure, gcp"):
        topology(f"[topics.x]\nclouds = {value}\n")


def test_a_diagram_says_where_an_entry_exists() -> None:
    assert "aws, azure" in mermaid(topology())
