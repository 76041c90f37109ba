"""Which properties of a resource AWS doesn't change: another value means another resource.

Source: ForceNew in the schemas of terraform-provider-aws (sqs/queue.go, sns/topic.go, sns/topic_subscription.go and so
on), which pulumi-aws 7 bridges, and the argument `region`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["IMMUTABLE"]

IMMUTABLE: Mapping[str, frozenset[str]] = {
    type_: frozenset(names)
    for type_, names in {
        "aws:sns/topic:Topic": ("name", "name_prefix", "fifo_topic", "region"),
        "aws:sns/topicPolicy:TopicPolicy": ("arn", "region"),
        "aws:sns/topicSubscription:TopicSubscription": ("topic", "protocol", "endpoint", "region"),
        "aws:sqs/queue:Queue": ("name", "name_prefix", "fifo_queue", "region"),
        "aws:sqs/queuePolicy:QueuePolicy": ("queue_url", "region"),
        "aws:sqs/redrivePolicy:RedrivePolicy": ("queue_url", "region"),
        "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": ("queue_url", "region"),
        "aws:lambda/permission:Permission": (
            *("action", "event_source_token", "function", "function_url_auth_type", "principal", "principal_org_id"),
            *("qualifier", "source_account", "source_arn", "statement_id", "statement_id_prefix", "region"),
        ),
        "aws:iam/policy:Policy": ("name", "name_prefix", "path", "description"),
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("role", "policy_arn"),
        "aws:cloudwatch/metricAlarm:MetricAlarm": ("name", "region"),
        "aws:cloudwatch/compositeAlarm:CompositeAlarm": ("alarm_name", "region"),
        "aws:cloudwatch/logGroup:LogGroup": ("name", "name_prefix", "log_group_class", "region"),
        "aws:iam/role:Role": ("name", "name_prefix", "path"),
        "aws:iam/rolePolicy:RolePolicy": ("name", "name_prefix", "role"),
        "aws:cloudwatch/dashboard:Dashboard": ("dashboard_name", "region"),
        "aws:ssm/parameter:Parameter": ("name", "region"),
    }.items()
}
