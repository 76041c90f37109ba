"""Which properties of a resource no cloud changes: another value means another resource.

Source: the providers' schemas of pulumi-aws 7, pulumi-azure-native 3 and pulumi-gcp 10 (ForceNew of the Terraform
providers they bridge; path parameters and fixed properties of the Service Bus API), as reference/limits.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["immutable"]

_INSIDE = ("namespace_name", "resource_group_name")

_IMMUTABLE: Mapping[str, frozenset[str]] = {
    type_: frozenset(names)
    for type_, names in {
        "aws:sns/topic:Topic": ("name", "fifo_topic"),
        "aws:sns/topicPolicy:TopicPolicy": ("arn",),
        "aws:sns/topicSubscription:TopicSubscription": ("topic", "protocol", "endpoint"),
        "aws:sqs/queue:Queue": ("name", "fifo_queue"),
        "aws:sqs/queuePolicy:QueuePolicy": ("queue_url",),
        "aws:sqs/redrivePolicy:RedrivePolicy": ("queue_url",),
        "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": ("queue_url",),
        "aws:lambda/permission:Permission": ("action", "function", "principal", "source_arn"),
        "aws:iam/policy:Policy": ("name",),
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("role", "policy_arn"),
        "aws:cloudwatch/metricAlarm:MetricAlarm": ("name",),
        "aws:cloudwatch/dashboard:Dashboard": ("dashboard_name",),
        "azure-native:resources:ResourceGroup": ("resource_group_name", "location"),
        "azure-native:servicebus:Namespace": (*_INSIDE, "location", "zone_redundant"),
        "azure-native:servicebus:Topic": (
            "topic_name",
            *_INSIDE,
            "requires_duplicate_detection",
            "enable_partitioning",
        ),
        "azure-native:servicebus:Queue": (
            "queue_name",
            *_INSIDE,
            "requires_session",
            "requires_duplicate_detection",
            "enable_partitioning",
        ),
        "azure-native:servicebus:Subscription": ("subscription_name", "topic_name", *_INSIDE, "requires_session"),
        "azure-native:servicebus:DefaultRule": ("subscription_name", "topic_name", *_INSIDE),
        "azure-native:network:PrivateEndpoint": ("private_endpoint_name", "resource_group_name", "location", "subnet"),
        "azure-native:authorization:RoleAssignment": (
            "role_assignment_name",
            "scope",
            "principal_id",
            "role_definition_id",
        ),
        "azure-native:monitor:ActionGroup": ("action_group_name", "resource_group_name", "location"),
        "azure-native:monitor:MetricAlert": ("rule_name", "resource_group_name", "location"),
        "azure-native:portal:Dashboard": ("dashboard_name", "resource_group_name", "location"),
        "gcp:pubsub/topic:Topic": ("name", "project", "tags"),
        "gcp:pubsub/subscription:Subscription": (
            "name",
            "project",
            "topic",
            "filter",
            "enable_message_ordering",
            "tags",
        ),
        "gcp:pubsub/topicIAMMember:TopicIAMMember": ("topic", "project", "role", "member"),
        "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": ("subscription", "project", "role", "member"),
        "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": ("name", "location", "project", "role", "member"),
        "gcp:monitoring/notificationChannel:NotificationChannel": ("project",),
        "gcp:monitoring/alertPolicy:AlertPolicy": ("project",),
        "gcp:monitoring/dashboard:Dashboard": ("project",),
    }.items()
}


def immutable(type_: str) -> frozenset[str]:
    """Give the properties that a type of resource keeps for its life; raises KeyError for a type that no plan has."""
    return _IMMUTABLE[type_]
