"""By which ids pulumi-gcp imports topics and subscriptions: their resource names."""

from __future__ import annotations

from polybus.clouds.gcp.plan.resources import GcpPlan
from polybus.errors import ConfigError
from polybus.plan.values import Resource

__all__ = ["import_id"]

_FOLDERS = {"gcp:pubsub/topic:Topic": "topics", "gcp:pubsub/subscription:Subscription": "subscriptions"}


def import_id(resource: Resource, plan: GcpPlan, account: str | None) -> str | None:
    """Give the resource name of a topic or subscription that is there under its name."""
    folder = _FOLDERS.get(resource.type)
    if folder is None:
        return None
    project = account or plan.settings.project
    if project is None:
        raise ConfigError("gcp:project: not set; resource names have it in them: set it, or --account")
    return f"projects/{project}/{folder}/{resource.properties['name']}"
