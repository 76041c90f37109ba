"""By which ids pulumi-aws imports queues and topics: a queue's URL, a topic's ARN (each resource's page, "Import")."""

from __future__ import annotations

from polybus.clouds.aws.plan.resources import AwsPlan
from polybus.errors import ConfigError
from polybus.plan.values import Resource

__all__ = ["import_id"]


def import_id(resource: Resource, plan: AwsPlan, account: str | None) -> str | None:
    """Give the id of a queue or topic that is there under its name."""
    if resource.type not in ("aws:sqs/queue:Queue", "aws:sns/topic:Topic"):
        return None
    region, name = plan.settings.region, resource.properties["name"]
    if region is None or not isinstance(name, str):
        raise ConfigError("aws:region: not set; ids of queues and topics have the region in them")
    if account is None:
        raise ConfigError("aws: no account; ids of queues and topics have its 12 digits in them: --account")
    partition = next((part for begin, part in _PARTITIONS.items() if region.startswith(begin)), "aws")
    if resource.type == "aws:sns/topic:Topic":
        return f"arn:{partition}:sns:{region}:{account}:{name}"
    domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return f"https://sqs.{region}.{domain}/{account}/{name}"


_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
