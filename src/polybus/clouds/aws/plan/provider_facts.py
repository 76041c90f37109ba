"""What pulumi-aws says of the types of resources that plans have, before AWS is asked.

Source: the schemas of terraform-provider-aws 6, which pulumi-aws 7 bridges (ForceNew, ValidateFunc, ConflictsWith,
CustomizeDiff), each in the file under internal/service that `source` names; patterns in validate.go beside it, ARNs in
internal/verify. pulumi-aws calls alarm_name `name`, topic_arn `topic` and function_name `function`. Its argument
`region` is another resource's wherever there is one. The name of a topic or queue is in `OwnName`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from polybus.plan.facts import Facts, Takes

__all__ = ["FACTS"]

_NAMES = frozenset({"name", "name_prefix"})
_JSON = Takes(json=True)
_PERCENT = Takes(least=0, most=100)
_TEXT = Takes(length=(1, 255))
_LONG = Takes(length=(0, 1024))
_ARN = Takes(
    pattern=r"(arn:aws(-[a-z]+)*:[^:]*:([a-z]{2}(-[a-z]+)+-\d)?:(aws|aws-managed|third-party|\d{12}|cw.{10})?:.+)?"
)
_ACTION = Takes(pattern=rf"{_ARN.pattern}|arn:[\w-]+:automate:[\w-]+:ec2:(reboot|recover|stop|terminate)")
_STATEMENT = Takes(length=(1, 100), pattern=r"[0-9A-Za-z_-]+")
_LOG_GROUP = r"[0-9A-Za-z_./#-]+"
_PERCENTILE = r"(p|tm|wm|tc|ts)(\d{1,2}(\.\d{1,2})?|100)|IQM|(TM|WM|PR|TC|TS)\((\d+(\.\d+)?%?)?:(\d+(\.\d+)?%?)?\)"
_STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_RATES = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits")
_UNIT = Takes(
    among=(
        *("Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None"),
        *("Terabits", "Terabits/Second", *_RATES, *(f"{rate}/Second" for rate in _RATES)),
    )
)
_PERIOD = Takes(among=(1, 5, 10, 20, 30), step=60)


def _iam_name(most: int) -> dict[str, Takes]:
    """Of a prefix the 26 characters that follow it count as well."""
    pattern = r"[\w+=,.@-]*"
    return {
        "name": Takes(length=(1, most), pattern=pattern),
        "name_prefix": Takes(length=(1, most - 26), pattern=pattern),
    }


_SENDERS = ("application", "firehose", "http", "lambda", "sqs")

FACTS: Final[Mapping[str, Facts]] = {
    "aws:sns/topic:Topic": Facts(
        source="sns/topic.go",
        immutable=_NAMES | {"fifo_topic", "region"},
        takes={
            **{f"{sender}_{kind}_feedback_role_arn": _ARN for sender in _SENDERS for kind in ("failure", "success")},
            **{f"{sender}_success_feedback_sample_rate": _PERCENT for sender in _SENDERS},
            "archive_policy": _JSON,
            "delivery_policy": _JSON,
            "fifo_throughput_scope": Takes(among=("Topic", "MessageGroup")),
            "maximum_message_size": Takes(least=1_024, most=1_048_576),  # the SDK's description
            "policy": _JSON,
            "signature_version": Takes(least=1, most=2),
            "tracing_config": Takes(among=("Active", "PassThrough")),
        },
        conflicts=(_NAMES,),
        needs={
            "archive_policy": "fifo_topic",
            "content_based_deduplication": "fifo_topic",
            "fifo_throughput_scope": "fifo_topic",
        },
    ),
    "aws:sns/topicPolicy:TopicPolicy": Facts(
        source="sns/topic_policy.go", immutable=frozenset({"arn", "region"}), takes={"arn": _ARN, "policy": _JSON}
    ),
    "aws:sns/topicSubscription:TopicSubscription": Facts(
        source="sns/topic_subscription.go",
        immutable=frozenset({"topic", "protocol", "endpoint", "region"}),
        takes={
            "delivery_policy": _JSON,
            "filter_policy": _JSON,
            "filter_policy_scope": Takes(among=("MessageAttributes", "MessageBody")),
            "protocol": Takes(among=(*_SENDERS, "email", "email-json", "https", "sms")),
            "redrive_policy": _JSON,
            "replay_policy": _JSON,
            "subscription_role_arn": _ARN,
            "topic": _ARN,
        },
    ),
    "aws:sqs/queue:Queue": Facts(
        source="sqs/queue.go",
        immutable=_NAMES | {"fifo_queue", "region"},
        takes={
            "deduplication_scope": Takes(among=("messageGroup", "queue")),
            "delay_seconds": Takes(least=0, most=900),
            "fifo_throughput_limit": Takes(among=("perQueue", "perMessageGroupId")),
            "kms_data_key_reuse_period_seconds": Takes(least=60, most=86_400),
            "max_message_size": Takes(least=1_024, most=1_048_576),
            "message_retention_seconds": Takes(least=60, most=1_209_600),
            "policy": _JSON,
            "redrive_allow_policy": _JSON,
            "redrive_policy": _JSON,
            "visibility_timeout_seconds": Takes(least=0, most=43_200),
        },
        conflicts=(_NAMES, frozenset({"kms_master_key_id", "sqs_managed_sse_enabled"})),
        needs={"content_based_deduplication": "fifo_queue"},
    ),
    "aws:sqs/queuePolicy:QueuePolicy": Facts(
        source="sqs/queue_policy.go", immutable=frozenset({"queue_url", "region"}), takes={"policy": _JSON}
    ),
    "aws:sqs/redrivePolicy:RedrivePolicy": Facts(
        source="sqs/queue_redrive_policy.go",
        immutable=frozenset({"queue_url", "region"}),
        takes={"redrive_policy": _JSON},
    ),
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": Facts(
        source="sqs/queue_redrive_allow_policy.go",
        immutable=frozenset({"queue_url", "region"}),
        takes={"redrive_allow_policy": _JSON},
    ),
    "aws:lambda/permission:Permission": Facts(
        source="lambda/permission.go",
        immutable=frozenset(
            {
                *("action", "event_source_token", "function", "function_url_auth_type", "invoked_via_function_url"),
                *("principal", "principal_org_id", "qualifier", "source_account", "source_arn"),
                *("statement_id", "statement_id_prefix", "region"),
            }
        ),
        takes={
            "action": Takes(pattern=r"lambda:[*]|lambda:[A-Za-z]+|[*]"),
            "event_source_token": Takes(length=(1, 256), pattern=r"[0-9A-Za-z_.-]+"),
            "function": Takes(
                length=(1, 140),
                pattern=r"(arn:[\w-]+:lambda:)?([a-z]{2}-(?:[a-z]+-){1,2}\d:)?(\d{12}:)?(function:)?"
                r"([0-9A-Za-z_-]{1,64})(:(\$LATEST|[0-9A-Za-z_-]+))?",
            ),
            "function_url_auth_type": Takes(among=("NONE", "AWS_IAM")),
            "qualifier": Takes(length=(1, 128), pattern=r"[0-9A-Za-z_$-]+"),
            "source_account": Takes(pattern=r"\d{12}"),
            "source_arn": _ARN,
            "statement_id": _STATEMENT,
            "statement_id_prefix": _STATEMENT,
        },
        conflicts=(frozenset({"statement_id", "statement_id_prefix"}),),
    ),
    "aws:iam/policy:Policy": Facts(
        source="iam/policy.go",
        immutable=_NAMES | {"path", "description"},
        takes={**_iam_name(128), "policy": _JSON},
        conflicts=(_NAMES,),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Facts(
        source="iam/role_policy_attachment.go", immutable=frozenset({"role", "policy_arn"})
    ),
    "aws:iam/role:Role": Facts(
        source="iam/role.go",
        immutable=_NAMES | {"path"},
        takes={
            **_iam_name(64),
            "assume_role_policy": _JSON,
            "description": Takes(length=(0, 1_000), pattern=r"[^\u201c\u2018]*"),
            "managed_policy_arns": _ARN,
            "max_session_duration": Takes(least=3_600, most=43_200),
            "path": Takes(length=(0, 512)),
            "permissions_boundary": _ARN,
        },
        conflicts=(_NAMES,),
    ),
    "aws:iam/rolePolicy:RolePolicy": Facts(
        source="iam/role_policy.go",
        immutable=_NAMES | {"role"},
        # The name of a role, never its ARN.
        takes={**_iam_name(128), "policy": _JSON, "role": Takes(length=(1, 128), pattern=r"(?!arn:).*[\w+=,.@-].*")},
        conflicts=(_NAMES,),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Facts(
        source="cloudwatch/metric_alarm.go",
        immutable=frozenset({"name", "region"}),
        takes={
            "alarm_actions": _ACTION,
            "alarm_description": _LONG,
            "comparison_operator": Takes(
                among=(
                    *("GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "GreaterThanUpperThreshold"),
                    *("LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold"),
                    *("LessThanOrEqualToThreshold", "LessThanThreshold"),
                )
            ),
            "datapoints_to_alarm": Takes(least=1),
            "evaluate_low_sample_count_percentiles": Takes(among=("evaluate", "ignore"), caseless=True),
            "evaluation_periods": Takes(least=1),
            "extended_statistic": Takes(pattern=_PERCENTILE),
            "insufficient_data_actions": Takes(pattern=_ACTION.pattern, items=5),
            "metric_name": _TEXT,
            "metric_queries.expression": Takes(length=(1, 1_024)),
            "metric_queries.id": _TEXT,
            "metric_queries.metric.metric_name": _TEXT,
            "metric_queries.metric.namespace": _TEXT,
            "metric_queries.metric.period": _PERIOD,
            "metric_queries.metric.stat": Takes(pattern=f"{'|'.join(_STATISTICS)}|{_PERCENTILE}"),
            "metric_queries.metric.unit": _UNIT,
            "metric_queries.period": _PERIOD,
            "name": _TEXT,
            "namespace": _TEXT,
            "ok_actions": Takes(pattern=_ACTION.pattern, items=5),
            "period": Takes(among=(10, 20, 30), step=60),
            "statistic": Takes(among=_STATISTICS),
            "threshold_metric_id": _TEXT,
            "treat_missing_data": Takes(among=("breaching", "notBreaching", "ignore", "missing"), caseless=True),
            "unit": _UNIT,
        },
        conflicts=(
            *(
                frozenset({"metric_queries", name})
                for name in ("dimensions", "extended_statistic", "metric_name", "namespace", "period", "statistic")
            ),
            frozenset({"extended_statistic", "statistic"}),
            frozenset({"threshold", "threshold_metric_id"}),
        ),
    ),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": Facts(
        source="cloudwatch/composite_alarm.go",
        immutable=frozenset({"actions_enabled", "alarm_name", "region"}),
        takes={
            "alarm_actions": Takes(pattern=_ARN.pattern, items=5),
            "alarm_description": _LONG,
            "alarm_name": Takes(length=(0, 255)),
            "alarm_rule": Takes(length=(1, 10_240)),
            "insufficient_data_actions": Takes(pattern=_ARN.pattern, items=5),
            "ok_actions": Takes(pattern=_ARN.pattern, items=5),
        },
    ),
    "aws:cloudwatch/dashboard:Dashboard": Facts(
        source="cloudwatch/dashboard.go",
        immutable=frozenset({"dashboard_name", "region"}),
        takes={"dashboard_body": _JSON, "dashboard_name": Takes(length=(0, 255), pattern=r"[0-9A-Za-z_-]+")},
    ),
    "aws:cloudwatch/logGroup:LogGroup": Facts(
        source="logs/group.go",
        immutable=_NAMES | {"log_group_class", "region"},
        takes={
            "log_group_class": Takes(among=("STANDARD", "INFREQUENT_ACCESS", "DELIVERY")),
            "name": Takes(length=(0, 512), pattern=_LOG_GROUP),
            "name_prefix": Takes(length=(0, 483), pattern=_LOG_GROUP),
            "retention_in_days": Takes(
                among=(
                    *(0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
                    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
                )
            ),
        },
        conflicts=(_NAMES,),
    ),
    "aws:s3/bucket:Bucket": Facts(
        source="s3/bucket.go",
        immutable=frozenset({"bucket", "bucket_namespace", "bucket_prefix", "object_lock_enabled", "region"}),
        takes={"bucket": Takes(length=(0, 63)), "bucket_prefix": Takes(length=(0, 37))},
        conflicts=(frozenset({"bucket", "bucket_prefix"}),),
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Facts(
        source="s3/bucket_public_access_block.go", immutable=frozenset({"bucket", "region"})
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Facts(
        source="s3/bucket_server_side_encryption_configuration.go",
        immutable=frozenset({"bucket", "expected_bucket_owner", "region"}),
        takes={
            "bucket": Takes(length=(1, 63)),
            "rules.apply_server_side_encryption_by_default.sse_algorithm": Takes(
                among=("AES256", "aws:backup", "aws:fsx", "aws:kms", "aws:kms:dsse")
            ),
        },
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Facts(
        source="s3/bucket_lifecycle_configuration.go",
        immutable=frozenset({"bucket", "expected_bucket_owner", "region"}),
        takes={
            "bucket": Takes(length=(1, 63)),
            "rules.expiration.days": Takes(least=0),
            "rules.id": Takes(length=(1, 255)),
            "rules.status": Takes(among=("Enabled", "Disabled")),
        },
    ),
    "aws:s3/bucketPolicy:BucketPolicy": Facts(
        source="s3/bucket_policy.go",
        immutable=frozenset({"bucket", "region"}),
        takes={"bucket": Takes(length=(1, 63)), "policy": _JSON},
    ),
    "aws:ssm/parameter:Parameter": Facts(
        source="ssm/parameter.go",
        immutable=frozenset({"data_type", "name", "region"}),
        takes={
            "allowed_pattern": _LONG,
            "data_type": Takes(among=("aws:ec2:image", "aws:ssm:integration", "text")),
            "description": _LONG,
            "name": Takes(length=(1, 2_048)),
            "tier": Takes(among=("Standard", "Advanced", "Intelligent-Tiering")),
            "type": Takes(among=("String", "StringList", "SecureString")),
        },
        conflicts=(frozenset({"insecure_value", "value", "value_wo"}),),
    ),
}
