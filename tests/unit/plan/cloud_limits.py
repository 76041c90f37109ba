"""The limits of the three clouds, and what of a plan exceeds them."""

from __future__ import annotations

from collections.abc import Mapping

from . import aws_limits, azure_limits, gcp_limits
from .limit import Count, Limit, Plan

LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "aws": aws_limits.LIMITS,
    "azure": azure_limits.LIMITS,
    "gcp": gcp_limits.LIMITS,
}
COUNTS: Mapping[str, tuple[Count, ...]] = {
    "aws": aws_limits.COUNTS,
    "azure": azure_limits.COUNTS,
    "gcp": gcp_limits.COUNTS,
}


def broken(cloud: str, plan: Plan) -> list[tuple[str, str]]:
    """List what a plan exceeds, as the limit's name and the resource's, or what it counts."""
    found = [
        (limit.name, resource.name)
        for resource in plan.values()
        for limit in LIMITS[cloud]
        if resource.type in limit.types and limit.where(resource.properties) and not limit.holds(resource.properties)
    ]
    counted = ((count, where, number) for count in COUNTS[cloud] for where, number in count.of(plan).items())
    return found + [(count.name, str(where)) for count, where, number in counted if number > count.most]
