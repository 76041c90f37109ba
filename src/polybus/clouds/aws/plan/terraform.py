"""SNS, SQS and what is beside them for Terraform's provider hashicorp/aws, which pulumi-aws bridges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.aws.plan.terraform_names import TABLES
from polybus.plan.terraform.bridged import Bridge, Most, Names, Type
from polybus.plan.terraform.model import Terraform

__all__ = ["BRIDGE", "TERRAFORM"]

_QUEUE = {
    "id": "id",
    "arn": "arn",
    "url": "url",
    "name": "name",
    "region": 'element(split(":", {}.arn), 3)',  # an attribute since 6.0 alone
}

BRIDGE = Bridge(
    provider="aws",
    types={
        # What gives the region is called `name` in 5 and `region` from 6 on; its id is the same.
        "aws:index/getRegion:getRegion": Type(
            "aws_region", outputs=dict.fromkeys(("id", "name", "region"), "id"), data=True
        ),
        "aws:index/getCallerIdentity:getCallerIdentity": Type(
            "aws_caller_identity", outputs={"id": "id", "arn": "arn", "account_id": "account_id"}, data=True
        ),
        "aws:sns/topic:Topic": Type("aws_sns_topic", outputs={name: name for name in ("id", "arn", "name", "owner")}),
        "aws:sns/topicPolicy:TopicPolicy": Type("aws_sns_topic_policy"),
        "aws:sns/topicSubscription:TopicSubscription": Type(
            "aws_sns_topic_subscription", renamed={"topic": "topic_arn"}, outputs={"id": "id", "arn": "arn"}
        ),
        "aws:sqs/queue:Queue": Type("aws_sqs_queue", outputs=_QUEUE),
        "aws:sqs/queuePolicy:QueuePolicy": Type("aws_sqs_queue_policy"),
        "aws:sqs/redrivePolicy:RedrivePolicy": Type("aws_sqs_queue_redrive_policy"),
        "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": Type("aws_sqs_queue_redrive_allow_policy"),
        "aws:lambda/permission:Permission": Type("aws_lambda_permission", renamed={"function": "function_name"}),
        "aws:iam/policy:Policy": Type("aws_iam_policy", outputs={"id": "id", "arn": "arn", "name": "name"}),
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Type("aws_iam_role_policy_attachment"),
        "aws:cloudwatch/metricAlarm:MetricAlarm": Type(
            "aws_cloudwatch_metric_alarm", renamed={"name": "alarm_name"}, outputs={"id": "id", "arn": "arn"}
        ),
        "aws:cloudwatch/compositeAlarm:CompositeAlarm": Type(
            "aws_cloudwatch_composite_alarm", outputs={"id": "id", "arn": "arn"}
        ),
        "aws:cloudwatch/logGroup:LogGroup": Type(
            "aws_cloudwatch_log_group", outputs={"id": "id", "arn": "arn", "name": "name"}
        ),
        "aws:iam/role:Role": Type("aws_iam_role", outputs={"id": "id", "arn": "arn", "name": "name"}),
        "aws:iam/rolePolicy:RolePolicy": Type("aws_iam_role_policy"),
        "aws:cloudwatch/dashboard:Dashboard": Type("aws_cloudwatch_dashboard"),
        "aws:s3/bucket:Bucket": Type("aws_s3_bucket", outputs={"id": "id", "arn": "arn", "bucket": "bucket"}),
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Type("aws_s3_bucket_public_access_block"),
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Type(
            "aws_s3_bucket_server_side_encryption_configuration", renamed={"rules": "rule"}
        ),
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Type(
            "aws_s3_bucket_lifecycle_configuration", renamed={"rules": "rule"}
        ),
        "aws:s3/bucketPolicy:BucketPolicy": Type("aws_s3_bucket_policy"),
        "aws:ssm/parameter:Parameter": Type(
            "aws_ssm_parameter", outputs={"id": "id", "arn": "arn", "name": "name", "version": "version"}
        ),
    },
    names=tuple(Names(version, table) for version, table in TABLES.items()),
    # hashicorp/terraform-provider-aws, pull request 43710, and the change log of 6.8.0.
    bounds=(Most("aws_sqs_queue", "max_message_size", 262_144, before="6.8.0"),),
    usual={"aws_sns_topic.maximum_message_size": AWS.sns_default_bytes},
)


def _configured(settings: AwsSettings) -> Mapping[str, Any]:
    return {"region": settings.region} if settings.region else {}


TERRAFORM = Terraform(
    provider="aws",
    source="hashicorp/aws",
    newest=BRIDGE.names[0].version,
    oldest=BRIDGE.names[-1].version,
    translate=BRIDGE.translate,
    outputs=BRIDGE.outputs(),
    # "Cannot delete ... as there are composite alarm(s) depending on it.", hashicorp/terraform-provider-aws#34807.
    last=frozenset({"aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm"}),
    configured=_configured,
)
