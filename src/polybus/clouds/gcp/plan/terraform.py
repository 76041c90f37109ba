"""Pub/Sub and what is beside it for Terraform's provider hashicorp/google; pulumi-gcp bridges its beta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.clouds.gcp.plan.terraform_names import TABLES
from polybus.plan.terraform.bridged import Bridge, Names, Type
from polybus.plan.terraform.model import Terraform

__all__ = ["BRIDGE", "TERRAFORM"]

_NAMED = {"id": "id", "name": "name"}

BRIDGE = Bridge(
    provider="google",
    types={
        "gcp:organizations/getProject:getProject": Type(
            "google_project", outputs={name: name for name in ("id", "number", "project_id")}, data=True
        ),
        # Which Google gives out with its beta provider alone.
        "gcp:projects/serviceIdentity:ServiceIdentity": Type(
            "google_project_service_identity",
            outputs={name: name for name in ("id", "email", "member")},
            provider="google-beta",
        ),
        "gcp:pubsub/topic:Topic": Type("google_pubsub_topic", outputs=_NAMED),
        "gcp:pubsub/subscription:Subscription": Type("google_pubsub_subscription", outputs=_NAMED),
        "gcp:pubsub/topicIAMMember:TopicIAMMember": Type("google_pubsub_topic_iam_member"),
        "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": Type("google_pubsub_subscription_iam_member"),
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": Type("google_kms_crypto_key_iam_member"),
        "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": Type("google_cloud_run_v2_service_iam_member"),
        "gcp:monitoring/notificationChannel:NotificationChannel": Type(
            "google_monitoring_notification_channel", outputs=_NAMED
        ),
        "gcp:monitoring/alertPolicy:AlertPolicy": Type("google_monitoring_alert_policy", outputs=_NAMED),
        "gcp:monitoring/dashboard:Dashboard": Type("google_monitoring_dashboard"),
        "gcp:storage/bucket:Bucket": Type(
            "google_storage_bucket",
            renamed={
                "lifecycle_rules": "lifecycle_rule",
                "lifecycle_rules.condition.matches_prefixes": "matches_prefix",
            },
            outputs=_NAMED,
        ),
        "gcp:storage/bucketIAMMember:BucketIAMMember": Type("google_storage_bucket_iam_member"),
        "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": Type(
            "google_storage_project_service_account",
            outputs={name: name for name in ("id", "email_address", "member")},
            data=True,
        ),
        "gcp:secretmanager/secret:Secret": Type(
            "google_secret_manager_secret", outputs={name: name for name in ("id", "name", "secret_id")}
        ),
        "gcp:secretmanager/secretVersion:SecretVersion": Type("google_secret_manager_secret_version", outputs=_NAMED),
        "gcp:secretmanager/secretIamMember:SecretIamMember": Type("google_secret_manager_secret_iam_member"),
    },
    names=tuple(Names(version, table) for version, table in TABLES.items()),
)


def _configured(settings: GcpSettings) -> Mapping[str, Any]:
    found = {"project": settings.project, "universe_domain": settings.universe_domain}
    return {name: value for name, value in found.items() if value}


TERRAFORM = Terraform(
    provider="google",
    source="hashicorp/google",
    newest=BRIDGE.names[0].version,
    oldest=BRIDGE.names[-1].version,
    translate=BRIDGE.translate,
    outputs=BRIDGE.outputs(),
    others={"google-beta": "hashicorp/google-beta"},
    # "Could not delete ... because it is still being referenced by ...", hashicorp/terraform-provider-google#10337.
    last=frozenset({"gcp:monitoring/notificationChannel:NotificationChannel"}),
    configured=_configured,
)
