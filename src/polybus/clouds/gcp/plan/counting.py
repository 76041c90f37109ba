"""How what waits on Pub/Sub is counted by what scales a service, and as whom services run.

Source: [KP] "Google Cloud Platform Pub/Sub" of KEDA 2.20's documentation.
"""

from __future__ import annotations

from collections.abc import Callable

from polybus.clouds.gcp.plan.bodies import BUCKET
from polybus.clouds.gcp.plan.resources import GcpPlan
from polybus.plan.run.model import Document, Scene, Source, Workload, blank
from polybus.plan.values import Ref, is_mark, resolve

__all__ = ["ACCOUNT", "VIEWER", "email", "find", "mistaken", "project", "running_as", "trigger"]

ACCOUNT = "serviceAccount:"

VIEWER = "roles/monitoring.viewer"
"""Reads counts from Cloud Monitoring; who may read one metric of a project may read all [KP]."""

_IDS = {
    "gcp:pubsub/topic:Topic": ("topics", "name"),
    "gcp:pubsub/subscription:Subscription": ("subscriptions", "name"),
    "gcp:secretmanager/secret:Secret": ("secrets", "secret_id"),
}


def project(plan: GcpPlan) -> str:
    """Give the project of a plan."""
    return plan.settings.project or blank("GOOGLE_CLOUD_PROJECT")


def email(plan: GcpPlan, workload: Workload) -> str:
    """Give the e-mail of the service account that a service runs as; what is no service account can't run it."""
    given = plan.settings.members.get(workload.service.name)
    if isinstance(given, str) and (given.startswith(ACCOUNT) or is_mark(given)):
        return given.removeprefix(ACCOUNT)
    return workload.blank("service account")


def find(plan: GcpPlan) -> Callable[[Ref], str]:
    """Return a function that gives the id or the name of a topic, a subscription or a secret."""
    made = {resource.name: resource for resource in plan.resources}

    def found(ref: Ref) -> str:
        if ref.resource == "project":
            return blank("GOOGLE_CLOUD_PROJECT_NUMBER")
        resource = made[ref.resource]
        if ref == BUCKET:
            return str(resolve(resource.properties["name"], found))
        folder, argument = _IDS[resource.type]
        name = str(resource.properties[argument])
        return {"name": name, "id": f"projects/{project(plan)}/{folder}/{name}"}[ref.output]

    return found


def trigger(source: Source, messages: int) -> Document:
    """Give KEDA's trigger for a subscription: what isn't acked counts, whether it was delivered or not [KP].

    `num_undelivered_messages` are the "unacknowledged messages" of a subscription (Google Cloud metrics).
    """
    metadata = {
        "subscriptionName": source.address,
        "mode": "NumUndeliveredMessages",
        "value": str(messages),
        "valueIfNull": "0",  # nothing is told of a subscription that had no message yet
    }
    return {"type": "gcp-pubsub", "name": source.name, "metadata": metadata}


def running_as(scene: Scene) -> dict[str, list[Workload]]:
    """Give the services of each service account."""
    found: dict[str, list[Workload]] = {}
    for workload in scene.workloads:
        found.setdefault(email(scene.plan, workload), []).append(workload)
    return found


def mistaken(scene: Scene) -> list[str]:
    """Say which services are in the stack's configuration what no process can run as."""
    given = {one.service.name: scene.plan.settings.members.get(one.service.name) for one in scene.workloads}
    return [
        f"{name} is {member} in the stack's configuration, which no process runs as"
        for name, member in given.items()
        if isinstance(member, str) and not member.startswith(ACCOUNT) and not is_mark(member)
    ]
