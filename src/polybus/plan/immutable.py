"""Which properties of a resource no cloud changes: another value means another resource.

Sources: for pulumi-aws 7 and pulumi-gcp 10 ForceNew in the schemas of terraform-provider-aws (sqs/queue.go,
sns/topic.go, sns/topic_subscription.go and so on) and terraform-provider-google, which they bridge, and the argument
`region`; for pulumi-azure-native 3 path parameters, `location`, and what provider/pkg/gen/replacement.go lists.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["immutable", "unannounced"]

_INSIDE = ("namespace_name", "resource_group_name")

_IMMUTABLE: Mapping[str, frozenset[str]] = {
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
        "aws:cloudwatch/dashboard:Dashboard": ("dashboard_name", "region"),
        "azure-native:resources:ResourceGroup": ("resource_group_name", "location"),
        "azure-native:servicebus:Namespace": (*_INSIDE, "location"),
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
        "azure-native:network:PrivateDnsZoneGroup": (
            "private_dns_zone_group_name",
            "private_endpoint_name",
            "resource_group_name",
        ),
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
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": ("crypto_key_id", "role", "member"),
        "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": ("name", "location", "project", "role", "member"),
        "gcp:monitoring/notificationChannel:NotificationChannel": ("project",),
        "gcp:monitoring/alertPolicy:AlertPolicy": ("project",),
        "gcp:monitoring/dashboard:Dashboard": ("project",),
    }.items()
}


# Service Bus refuses it ("can only be set at the time of creating", learn.microsoft.com "enable-message-sessions"), and
# forceNewMap has it for queues and topics alone.
_UNANNOUNCED: Mapping[str, frozenset[str]] = {"azure-native:servicebus:Subscription": frozenset({"requires_session"})}


def immutable(type_: str) -> frozenset[str]:
    """Give the properties that a type of resource keeps for its life; raises KeyError for a type that no plan has."""
    return _IMMUTABLE[type_]


def unannounced(type_: str) -> frozenset[str]:
    """Give those of them that the provider takes for changeable: it would try, and the cloud refuse."""
    return _UNANNOUNCED.get(type_, frozenset())
