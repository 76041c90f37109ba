"""Which properties of a resource Google doesn't change: another value means another resource.

Source: ForceNew in the schemas of terraform-provider-google, which pulumi-gcp 10 bridges.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["IMMUTABLE"]

IMMUTABLE: Mapping[str, frozenset[str]] = {
    type_: frozenset(names)
    for type_, names in {
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
        "gcp:projects/serviceIdentity:ServiceIdentity": ("project", "service"),
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": ("crypto_key_id", "role", "member"),
        "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": ("name", "location", "project", "role", "member"),
        "gcp:monitoring/notificationChannel:NotificationChannel": ("project",),
        "gcp:monitoring/alertPolicy:AlertPolicy": ("project",),
        "gcp:monitoring/dashboard:Dashboard": ("project",),
        "gcp:secretmanager/secret:Secret": ("secret_id", "project", "replication"),
        "gcp:secretmanager/secretVersion:SecretVersion": ("secret", "secret_data"),
        "gcp:secretmanager/secretIamMember:SecretIamMember": ("secret_id", "project", "role", "member"),
    }.items()
}
