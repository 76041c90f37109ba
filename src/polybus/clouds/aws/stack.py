"""SNS and SQS through pulumi-aws."""

from __future__ import annotations

from typing import cast

from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.owned import guard
from polybus.clouds.aws.plan.composite import BY, By
from polybus.clouds.aws.plan.planning import PLANNING
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.provision.cloud import Provider
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk

__all__ = ["PROVIDER"]

_KEYS = {
    "kmsKey": "the ARN of a customer-managed key",
    "vpcEndpoints": "the ids of the VPC endpoints that messages have to come and go through",
    "roles": "the IAM role (ARN or name) of each service",
    "functions": "the ARN of each Lambda function that a push names",
    "bindings": "ssm, to put each service's binding into a parameter",
    "compositeAlarms": "bus or service: one alarm notifies for all of the bus, or of each service",
    "deliveryLogs": "the percentage of SNS's deliveries to log, 0 to 100, beside all that fail",
}

# pulumi-aws has it from 7.49 on.
_NEWER = {"aws:sns/topic:Topic": {"maximum_message_size": AWS.sns_default_bytes}}


def _settings(config: StackConfig) -> AwsSettings:
    return AwsSettings(
        stack=config.stack,
        region=config.of("aws", "region"),
        kms_key=config.text("kmsKey"),
        vpc_endpoints=config.texts("vpcEndpoints"),
        tags=config.texts_by_name("tags"),
        roles=config.texts_by_name("roles"),
        functions=config.texts_by_name("functions"),
        bindings="ssm" if config.one_of("bindings", ("ssm",)) else None,
        composite_alarms=cast("By | None", config.one_of("compositeAlarms", BY)),
        delivery_logs=config.integer("deliveryLogs"),
    )


_FIRST = """\
aws:region: eu-west-1
# The role of each service (ARN or name), which gets its policy; all policies are in the output `policies`.
# polybus:roles:
#   billing: {bus}-billing
"""


def _first(bus: str) -> tuple[str, str]:
    return "aws:region: eu-west-1\n", _FIRST.format(bus=bus)


PROVIDER = Provider(
    name="aws",
    planning=PLANNING,
    # A module can't be called lambda in Python, and index is the package itself.
    sdk=Sdk("pulumi_aws", "aws-stack", {"lambda": "lambda_", "index": ""}, newer=_NEWER),
    settings=_settings,
    keys=_KEYS,
    who="roles",
    inputs=frozenset({"kms_key", "vpc_endpoints", "roles", "functions"}),
    guard=guard,
    first=_first,
)
