"""The names of everything on every cloud, in a file: what is deployed bears them.

A version of polybus that names anything otherwise would have every stack replace it, with what waits in it. So a
difference fails here. POLYBUS_UPDATE_GOLDEN=1 writes the file anew, for what is new, or for a change that
docs/changes.md announces with what it replaces.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.planning import planning_of
from polybus.plan.table import physical_of
from polybus.topology.file import loads
from polybus.topology.model import Topology

PINNED = Path(__file__).parent / "names.json"
LONG = "thumbnails-of-every-size-that-any-page-of-the-shop"

TOPOLOGY = f"""
BODIES
[bus]
name = "BUS"
[topics.orders]
[topics.by-customer]
ordered = true
[subscriptions.billing]
topic = "orders"
[subscriptions.eu-billing]
topic = "by-customer"
[queues.jobs]
[queues.{LONG}]
ordered = true
[services.worker]
consumes = ["billing", "jobs"]
[services.night-worker]
consumes = ["eu-billing"]
[alarms]
notify = {{ email = "ops@example.com" }}
"""
BUSES = ("shop", "web-shop")
STACKS = ("", "prod", "eu-prod")
ID = "00000000-0000-0000-0000-00000000000{}"
PLANNERS: Mapping[str, Any] = {"aws": aws, "azure": azure, "gcp": gcp}


def named_topology(bus: str, cloud: str) -> Topology:
    bodies = 'large_bodies = { over = "200KiB" }' if planning_of(cloud).bodies else ""
    return loads(TOPOLOGY.replace("BUS", bus).replace("BODIES", bodies), source="polybus.toml")


def settings(cloud: str, stack: str) -> Any:
    who = {"worker": "1", "night-worker": "2"}
    if cloud == "aws":
        return aws.AwsSettings(stack=stack, region="eu-west-1", roles={name: f"role-{at}" for name, at in who.items()})
    if cloud == "azure":
        principals = {name: azure.Principal(ID.format(at)) for name, at in who.items()}
        return azure.AzureSettings(stack=stack, location="westeurope", principals=principals)
    members = {name: f"serviceAccount:w{at}@p.iam.gserviceaccount.com" for name, at in who.items()}
    return gcp.GcpSettings(stack=stack, project="p", project_number="1", members=members, bodies_location="EU")


def others(cloud: str, stack: str) -> list[Any]:
    """Give settings with which more is there."""
    plain = settings(cloud, stack)
    if cloud == "azure":
        kinds = ("KeyVault/vaults", "AppConfiguration/configurationStores")
        ids = [f"/subscriptions/s/resourceGroups/g/providers/Microsoft.{kind}/v" for kind in kinds]
        return [replace(plain, bindings=id_) for id_ in ids]
    if cloud != "aws":
        return []
    return [replace(plain, composite_alarms=by, delivery_logs=0) for by in ("bus", "service")]


def names(cloud: str, bus: str, stack: str) -> dict[str, str]:
    """Give the name of everything that has one of its own, by type and logical name."""
    topology = named_topology(bus, cloud)
    plans = [PLANNERS[cloud].plan(topology, chosen) for chosen in (settings(cloud, stack), *others(cloud, stack))]
    made = (item for plan in plans for item in plan.resources)
    named = {f"{item.type.rpartition(':')[2]} {item.name}": physical_of(item) for item in made}
    return {resource: name for resource, name in named.items() if name}


def all_names() -> dict[str, dict[str, str]]:
    return {
        f"{cloud}, bus {bus}, stack {stack or '-'}": names(cloud, bus, stack)
        for cloud in PLANNERS
        for bus in BUSES
        for stack in STACKS
    }


def test_nothing_that_may_be_deployed_is_renamed() -> None:
    found = all_names()
    if os.environ.get("POLYBUS_UPDATE_GOLDEN") == "1":
        PINNED.write_text(json.dumps(found, indent=2) + "\n")
    pinned = json.loads(PINNED.read_text())
    renamed = [
        f"{where}: {resource}: {name} would be replaced by {found.get(where, {}).get(resource, 'nothing')}"
        for where, there in pinned.items()
        for resource, name in there.items()
        if found.get(where, {}).get(resource) != name
    ]
    assert not renamed, "\n".join(renamed)
    assert found == pinned, f"{PINNED} lacks names: POLYBUS_UPDATE_GOLDEN=1 adds them"


NEEDED: Mapping[str, Mapping[str, Any]] = {
    "aws": {"region": "eu-west-1"},
    "azure": {"location": "westeurope"},
    "gcp": {"project": "p", "bodies_location": "EU"},
}
OPTIONAL: Mapping[str, Mapping[str, Any]] = {
    "aws": {"kms_key": f"arn:aws:kms:eu-west-1:111122223333:key/{ID.format(1)}", "vpc_endpoints": ("vpce-1a2b3c4d",)},
    "azure": {"subscription_id": ID.format(1), "resource_group": "rg", "zone_redundant": True, "sku": "Premium"},
    "gcp": {"regions": ("europe-west1",), "push_account": "push@p.iam.gserviceaccount.com"},
}
MAKE: Mapping[str, Any] = {"aws": aws.AwsSettings, "azure": azure.AzureSettings, "gcp": gcp.GcpSettings}


@pytest.mark.parametrize(("cloud", "key"), [(cloud, key) for cloud, given in OPTIONAL.items() for key in given])
def test_no_key_that_may_be_set_later_renames_anything(cloud: str, key: str) -> None:
    """Such as one that says what holds anyway."""
    topology = named_topology("web-shop", cloud)

    def named(**more: Any) -> dict[str, str]:
        made = PLANNERS[cloud].plan(topology, MAKE[cloud](stack="s", **NEEDED[cloud], **more))
        return {item.name: physical_of(item) for item in made.resources if item.kind != "resource group"}

    assert named(**{key: OPTIONAL[cloud][key]}) == named()


def test_the_region_is_in_names_whether_it_is_configured_or_not() -> None:
    topology = named_topology("shop", "aws")
    roles = {"worker": "role"}
    known, asked = (
        aws.plan(topology, aws.AwsSettings(stack="prod", region=region, roles=roles)) for region in ("eu-west-1", None)
    )
    first, *rest = asked.resources
    assert (first.type, first.kind) == ("aws:index/getRegion:getRegion", "lookup")
    for one, other in zip(known.resources, rest, strict=True):
        assert physical_of(other).replace("${region.region}", "eu-west-1") == physical_of(one)
