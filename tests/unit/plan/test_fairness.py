"""A fairness key is refused where it can't be kept: by `check` with a way out, by the bus before anything is sent."""

from __future__ import annotations

import importlib

import pytest

from polybus.binding import Binding, Entity, Kind
from polybus.bus.rights import check_features
from polybus.errors import TopologyError, UnsupportedFeature
from polybus.plan.check import Severity, check
from polybus.topology.file import loads

BUS = '[bus]\nname = "shop"\n'


@pytest.mark.parametrize("cloud", ["azure", "gcp"])
@pytest.mark.parametrize("section", ["queues", "topics"])
def test_who_cannot_tell_tenants_apart_is_told_with_a_way_out(cloud: str, section: str) -> None:
    text = f'{BUS}[{section}.it]\nfairness_key = "tenant"\n'
    [error] = [one for one in check(loads(text, source="x"), cloud) if one.severity is Severity.ERROR]
    assert error.path == f"$.{section}.it.fairness_key"
    assert "a queue of its own" in error.instead
    assert "clouds" in error.instead
    elsewhere = f'{text}clouds = ["aws"]\n'
    for each in ("aws", "azure", "gcp"):
        assert [one for one in check(loads(elsewhere, source="x"), each) if one.severity is Severity.ERROR] == []


@pytest.mark.parametrize("section", ["queues", "topics"])
def test_where_order_is_kept_there_is_no_other_turn(section: str) -> None:
    with pytest.raises(TopologyError, match=rf"\$\.{section}\.it\.fairness_key"):
        loads(f'{BUS}[{section}.it]\nordered = true\nfairness_key = "tenant"\n', source="x")


@pytest.mark.parametrize("name", ["", "not a name", "9"])
def test_it_is_the_name_of_an_attribute(name: str) -> None:
    with pytest.raises(TopologyError, match=r"\$\.queues\.it\.fairness_key"):
        loads(f'{BUS}[queues.it]\nfairness_key = "{name}"\n', source="x")


DRIVERS = {
    "memory": "polybus.embedded.memory.driver:MemoryDriver",
    "sqlite": "polybus.embedded.sqlite.driver:SqliteDriver",
    "aws": "polybus.clouds.aws.driver.driver:AwsDriver",
    "azure": "polybus.clouds.azure.driver.driver:AzureDriver",
    "gcp": "polybus.clouds.gcp.driver.driver:GcpDriver",
}


@pytest.mark.parametrize("backend", DRIVERS)
def test_the_bus_refuses_what_the_backend_would_drop(backend: str) -> None:
    module, _, name = DRIVERS[backend].partition(":")
    # Features are asked before anything is open.
    driver = object.__new__(getattr(importlib.import_module(module), name))
    jobs = Entity(kind=Kind.QUEUE, name="jobs", address="jobs", dead_letter="jobs-dead", fairness_key="tenant")
    binding = Binding(backend=backend, bus="shop", queues={"jobs": jobs})
    if backend in ("memory", "sqlite", "aws"):
        check_features(binding, driver)
        return
    with pytest.raises(UnsupportedFeature, match=r"at \$\.queues\.jobs\.fairness_key"):
        check_features(binding, driver)
