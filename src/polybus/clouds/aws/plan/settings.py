"""What a stack's configuration says of a bus on AWS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polybus.clouds.aws.plan.composite import By
from polybus.plan.later import Text
from polybus.plan.settings import NOTHING

__all__ = ["AwsSettings"]


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What the stack config says.

    `kms_key` is the ARN of a customer-managed key; without it SNS uses its managed key and SQS its own. `roles` names
    the IAM role of each service that has one (ARN or name), `functions` the Lambda functions behind the names that push
    uses. `vpc_endpoints` are the ids of the VPC endpoints that messages have to come and go through. In a Pulumi
    program each of these may be an output. `bindings` says where each service's binding is put, beside the outputs.
    `composite_alarms` has one alarm notify for the whole bus, or for each service, in the place of each for itself.
    `delivery_logs` is the percentage of deliveries that SNS logs, beside all that fail; None for no logs at all.
    """

    stack: str = ""
    region: str | None = None
    kms_key: Text | None = None
    vpc_endpoints: tuple[Text, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    roles: Mapping[str, Text] = field(default_factory=lambda: NOTHING)
    functions: Mapping[str, Text] = field(default_factory=lambda: NOTHING)
    bindings: Literal["ssm"] | None = None
    composite_alarms: By | None = None
    delivery_logs: int | None = None
