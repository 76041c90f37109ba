"""The address of an adopted topic or queue that isn't known yet, and what a plan makes of one."""

from __future__ import annotations

from dataclasses import replace

from polybus.clouds.azure.plan.namespace import AzureSettings, Home
from polybus.plan.names import short_hash
from polybus.topology.model import Queue, Topic, Topology

__all__ = ["forms", "standing"]


def standing(entry: Topic | Queue, settings: AzureSettings | None) -> str:
    """Give a resource id in the stack's namespace, whose name has to be set: the topology's would be derived."""
    chosen = settings or AzureSettings()
    home = Home(Topology("polybus"), replace(chosen, namespace=chosen.namespace or "polybus-given"))
    folder = "topics" if isinstance(entry, Topic) else "queues"
    within = (
        f"/subscriptions/given/resourceGroups/given/providers/Microsoft.ServiceBus/namespaces/{home.namespace_name}"
    )
    return f"{within}/{folder}/polybus-given-{short_hash(entry.name)}"


def forms(address: str) -> tuple[str, ...]:
    """Give the resource id and the name."""
    return (address, address.rsplit("/", 1)[-1])
