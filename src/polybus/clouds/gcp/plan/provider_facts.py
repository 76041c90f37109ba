"""What pulumi-gcp says of the types of resources that plans have, before Google is asked.

Source: the schemas of terraform-provider-google 7, which pulumi-gcp bridges (ForceNew, ValidateFunc, ConflictsWith,
MaxItems), each in the file under google/services that `source` names; members of policies, with their conditions, in
google/tpgiamresource/resource_iam_member.go. Ranges and names of Pub/Sub are left to the API, and so to `OwnName`s and
to the local server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from polybus.plan.facts import Facts, Takes

__all__ = ["FACTS"]

_COMPARISON = Takes(among=tuple(f"COMPARISON_{name}" for name in ("GT", "GE", "LT", "LE", "EQ", "NE")))
_MISSING = Takes(among=("", *(f"EVALUATION_MISSING_DATA_{name}" for name in ("INACTIVE", "ACTIVE", "NO_OP"))))
_PERCENTILES = tuple(f"PERCENTILE_{name}" for name in ("99", "95", "50", "05"))
_STATISTICS = ("NONE", "MEAN", "MIN", "MAX", "SUM", "STDDEV", "COUNT", "COUNT_TRUE", "COUNT_FALSE", "FRACTION_TRUE")
_REDUCER = Takes(among=("", *(f"REDUCE_{name}" for name in (*_STATISTICS, *_PERCENTILES))))
_ALIGNERS = (*_STATISTICS, *_PERCENTILES, "DELTA", "RATE", "INTERPOLATE", "NEXT_OLDER", "PERCENT_CHANGE")
_ALIGNER = Takes(among=("", *(f"ALIGN_{name}" for name in _ALIGNERS)))


def _aggregated(*paths: str) -> dict[str, Takes]:
    return {
        **{f"{path}.cross_series_reducer": _REDUCER for path in paths},
        **{f"{path}.per_series_aligner": _ALIGNER for path in paths},
    }


def _member(source: str, *named_by: str) -> Facts:
    """Give what is said of one member of a policy."""
    who = "projectOwners|projectReaders|projectWriters|allUsers|allAuthenticatedUsers"
    return Facts(
        source=source,
        immutable=frozenset({*named_by, "role", "member", "condition"}),
        takes={"member": Takes(pattern=rf"(?!deleted).*(.+:.+|{who}).*")},
    )


FACTS: Final[Mapping[str, Facts]] = {
    "gcp:pubsub/topic:Topic": Facts(
        source="pubsub/resource_pubsub_topic.go",
        immutable=frozenset({"name", "project", "tags"}),
        takes={
            "ingestion_data_source_settings.platform_logs_settings.severity": Takes(
                among=("", "SEVERITY_UNSPECIFIED", "DISABLED", "DEBUG", "INFO", "WARNING", "ERROR")
            ),
            "schema_settings.encoding": Takes(among=("", "ENCODING_UNSPECIFIED", "JSON", "BINARY")),
        },
    ),
    "gcp:pubsub/subscription:Subscription": Facts(
        source="pubsub/resource_pubsub_subscription.go",
        immutable=frozenset({"name", "project", "topic", "filter", "enable_message_ordering", "tags"}),
        takes={"filter": Takes(pattern=r"[\s\S]{0,256}")},
        conflicts=(frozenset({"bigquery_config", "cloud_storage_config", "push_config"}),),
    ),
    "gcp:pubsub/topicIAMMember:TopicIAMMember": _member("pubsub/iam_pubsub_topic.go", "topic", "project"),
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": _member(
        "pubsub/iam_pubsub_subscription.go", "subscription", "project"
    ),
    "gcp:projects/serviceIdentity:ServiceIdentity": Facts(
        source="resourcemanager/resource_project_service_identity.go", immutable=frozenset({"project", "service"})
    ),
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": _member("kms/iam_kms_crypto_key.go", "crypto_key_id"),
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": _member(
        "cloudrunv2/iam_cloud_run_v2_service.go", "name", "location", "project"
    ),
    "gcp:monitoring/notificationChannel:NotificationChannel": Facts(
        source="monitoring/resource_monitoring_notification_channel.go", immutable=frozenset({"project"})
    ),
    "gcp:monitoring/alertPolicy:AlertPolicy": Facts(
        source="monitoring/resource_monitoring_alert_policy.go",
        immutable=frozenset({"project"}),
        takes={
            "alert_strategy.notification_prompts": Takes(
                among=("NOTIFICATION_PROMPT_UNSPECIFIED", "OPENED", "CLOSED"),
            ),
            "combiner": Takes(among=("AND", "OR", "AND_WITH_MATCHING_RESOURCE")),
            "conditions.condition_monitoring_query_language.evaluation_missing_data": _MISSING,
            "conditions.condition_sql.row_count_test.comparison": _COMPARISON,
            "conditions.condition_threshold.comparison": _COMPARISON,
            "conditions.condition_threshold.evaluation_missing_data": _MISSING,
            **_aggregated(
                "conditions.condition_absent.aggregations",
                "conditions.condition_threshold.aggregations",
                "conditions.condition_threshold.denominator_aggregations",
            ),
            "severity": Takes(among=("", "CRITICAL", "ERROR", "WARNING")),
        },
    ),
    "gcp:monitoring/dashboard:Dashboard": Facts(
        source="monitoring/resource_monitoring_dashboard.go",
        immutable=frozenset({"project"}),
        takes={"dashboard_json": Takes(json=True)},
    ),
    "gcp:storage/bucket:Bucket": Facts(
        source="storage/resource_storage_bucket.go",
        immutable=frozenset(
            {
                "custom_placement_config",
                "enable_object_retention",
                "hierarchical_namespace",
                "location",
                "name",
                "project",
            }
        ),
        takes={
            "lifecycle_rules.action.type": Takes(among=("Delete", "SetStorageClass", "AbortIncompleteMultipartUpload")),
            "public_access_prevention": Takes(among=("enforced", "inherited")),
        },
    ),
    "gcp:storage/bucketIAMMember:BucketIAMMember": _member("storage/iam_storage_bucket.go", "bucket"),
    "gcp:secretmanager/secret:Secret": Facts(
        source="secretmanager/resource_secret_manager_secret.go",
        immutable=frozenset({"secret_id", "project", "replication", "tags"}),
    ),
    "gcp:secretmanager/secretVersion:SecretVersion": Facts(
        source="secretmanager/resource_secret_manager_secret_version.go",
        immutable=frozenset({"secret", "project", "secret_data", "secret_data_wo_version", "is_secret_data_base64"}),
        conflicts=(frozenset({"secret_data", "secret_data_wo"}),),
    ),
    "gcp:secretmanager/secretIamMember:SecretIamMember": _member(
        "secretmanager/iam_secret_manager_secret.go", "secret_id", "project"
    ),
}
