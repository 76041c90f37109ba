"""Whose a stack on AWS is, and as which roles its services run, as far as its configuration says it."""

from __future__ import annotations

from typing import Any

from polybus.clouds.aws.plan import place
from polybus.clouds.aws.plan.resources import AwsPlan
from polybus.clouds.aws.plan.roles import account_of
from polybus.plan.run.model import Scene, Workload, blank
from polybus.plan.values import is_mark

__all__ = ["account", "partition", "region", "role_arn", "running_as"]


def partition(plan: AwsPlan) -> str:
    """Give the partition of a plan."""
    return place.partition_of(plan.settings.region)


def region(plan: AwsPlan) -> str:
    """Give the region of a plan."""
    return plan.settings.region or blank("AWS_REGION")


def account(plan: AwsPlan) -> str:
    """Give the account of a plan, as far as its configuration says it: by roles and by queues that are adopted."""
    roles = (account_of(role) for role in plan.settings.roles.values() if isinstance(role, str) and not is_mark(role))
    queues = (place.account_of(queue.existing) for queue in plan.topology.queues.values() if queue.existing is not None)
    return next((found for found in (*roles, *queues) if found is not None), None) or blank("AWS_ACCOUNT_ID")


def role_arn(plan: AwsPlan, workload: Workload) -> str:
    """Give the ARN of the role that a service runs as."""
    given: Any = plan.settings.roles.get(workload.service.name)
    if given is None:
        return workload.blank("role arn")
    named = isinstance(given, str) and not is_mark(given) and not given.startswith("arn:")
    return f"arn:{partition(plan)}:iam::{account(plan)}:role/{given}" if named else str(given)


def running_as(scene: Scene) -> dict[str, list[Workload]]:
    """Give the services of each role."""
    found: dict[str, list[Workload]] = {}
    for workload in scene.workloads:
        found.setdefault(role_arn(scene.plan, workload), []).append(workload)
    return found
