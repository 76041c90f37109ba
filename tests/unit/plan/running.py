"""A bus whose services run, and what is written for them: one with two sources, one identity for two, one that only
publishes, one that is pushed to, one that only operates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.plan.namespace import AzureSettings
from polybus.clouds.gcp.plan.settings import GcpSettings
from polybus.plan.planning import planning_of
from polybus.plan.run.asked import Asked
from polybus.plan.run.blanks import Filler
from polybus.plan.run.model import Platform, Running, Scene, Written
from polybus.plan.run.workloads import chosen, finder, workloads
from polybus.registry import find
from polybus.topology.file import loads
from polybus.topology.model import Topology

TOPOLOGY = """
[bus]
name = "shop"
[topics.orders]
ordered = true
[topics.news]
[subscriptions.billing]
topic = "orders"
[subscriptions.letters]
topic = "news"
[queues.thumbnails]
[services.checkout]
publishes = ["orders", "news", "thumbnails"]
[services.billing]
consumes = ["billing"]
[services.media]
consumes = ["letters", "thumbnails"]
[services.keeper]
operates = ["billing"]
"""

ROLE = "arn:aws:iam::111122223333:role/shop"
ID = "00000000-0000-0000-0000-000000000001"

SETTINGS: Mapping[str, Any] = {
    "aws": AwsSettings(
        stack="prod",
        region="eu-west-1",
        roles={"checkout": "shop-checkout", "billing": ROLE, "media": ROLE, "keeper": "keeper"},
    ),
    "azure": AzureSettings(
        stack="prod", location="westeurope", subscription_id=ID, principals={"billing": ID, "media": ID}
    ),
    "gcp": GcpSettings(
        stack="prod",
        project="shop-prod",
        project_number="111122223333",
        members={
            "checkout": "serviceAccount:checkout@shop-prod.iam.gserviceaccount.com",
            "billing": "serviceAccount:shop@shop-prod.iam.gserviceaccount.com",
            "media": "serviceAccount:shop@shop-prod.iam.gserviceaccount.com",
            "keeper": "group:operators@example.com",
        },
    ),
}

SHARED = {"aws": ROLE, "azure": None, "gcp": "shop@shop-prod.iam.gserviceaccount.com"}

FILLED = {
    "CHECKOUT_IMAGE": "registry/checkout:1",
    "BILLING_IMAGE": "registry/billing:1",
    "MEDIA_IMAGE": "registry/media:1",
    "CHECKOUT_APP": "shop.checkout:app",
    "BILLING_APP": "shop.billing:app",
    "MEDIA_APP": "shop.media:app",
}


def running_of(cloud: str) -> Running:
    found: Running = find(cloud).load("running")
    return found


def platform_of(cloud: str, name: str) -> Platform:
    return running_of(cloud).platforms[name]


def topology(more: str = "") -> Topology:
    return loads(TOPOLOGY + more, source="polybus.toml")


def written(
    cloud: str,
    name: str,
    *,
    settings: Any = None,
    bus: Topology | None = None,
    asked: Mapping[str, Asked] | None = None,
    given: Mapping[str, str] | None = None,
    services: tuple[str, ...] = (),
    **scene: Any,
) -> tuple[Mapping[str, Any], Written, Filler]:
    """Write a bus for a platform: the files with blanks filled, what was written, and what is left open."""
    planning, running = planning_of(cloud), running_of(cloud)
    platform, chosen_settings = running.platforms[name], settings or SETTINGS[cloud]
    filler = Filler({**FILLED, **(given or {})})
    plan = planning.plan(bus or topology(), chosen_settings)
    look = finder(running, plan)
    found = workloads(
        plan,
        planning,
        look,
        chosen(plan.topology, services)[0],
        lambda service: (asked or {}).get(service, Asked()),
        platform=platform,
        stack=chosen_settings.stack,
        fill=filler.filled,
    )
    identity = next(iter(platform.identities), "")
    made = platform.write(Scene(**{"plan": plan, "find": look, "workloads": found, "identity": identity, **scene}))
    return {file: filler.filled(documents) for file, documents in made.files.items()}, made, filler


def by_kind(documents: list[Any]) -> dict[str, Any]:
    return {document["kind"]: document for document in documents}
