"""All that is AWS SNS and SQS's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybus.cloud import Cloud
from polybus.lazy import imported_at_first_use

if TYPE_CHECKING:
    from polybus.clouds.aws.plan.resources import AwsSettings

__all__ = ["CLOUD", "AwsSettings"]

CLOUD = Cloud(
    name="aws",
    title="AWS SNS and SQS",
    driver="polybus.clouds.aws.driver:driver",
    planning="polybus.clouds.aws.plan.planning:PLANNING",
    provider="polybus.clouds.aws.stack:PROVIDER",
    live="polybus.clouds.aws.live:live",
    local="polybus.clouds.aws.local:LOCAL",
    laptop="polybus.clouds.aws.laptop:LAPTOP",
    reference="polybus.clouds.aws.reference:read",
    schemes=("ssm",),
    terraform="polybus.clouds.aws.plan.terraform:TERRAFORM",
    running="polybus.clouds.aws.plan.running:RUNNING",
    runs_on=("keda", "ecs"),
    packages={"boto3": "boto3", "botocore": "boto3"},
    extra="aws",
    loggers=("boto3", "botocore", "urllib3"),
    system="aws_sqs",
    topic_system="aws.sns",
    no_delay_on=("topics", "ordered topics", "ordered queues"),
    function="a Lambda ARN",
    platforms={
        "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
        "ECS_CONTAINER_METADATA_URI_V4": "Amazon ECS",
        "ECS_CONTAINER_METADATA_URI": "Amazon ECS",
        "AWS_EXECUTION_ENV=AWS_": "AWS",  # CloudShell sets it too, where somebody sits at a terminal
    },
)

__getattr__ = imported_at_first_use("polybus.clouds.aws", {"AwsSettings": "plan.resources"})
