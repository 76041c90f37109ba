"""The argument names of the resources that pass-through tables reach, by type, from the provider's SDK.

tests/unit/plan/test_options.py compares it with the SDK that is installed, and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ARGUMENTS", "SDK"]

SDK: Final = ("pulumi_aws", "7.51.1")

_NAMES: Final[Mapping[str, str]] = {
    "aws:sns/topic:Topic": """
        application_failure_feedback_role_arn application_success_feedback_role_arn
        application_success_feedback_sample_rate archive_policy content_based_deduplication delivery_policy
        display_name fifo_throughput_scope fifo_topic firehose_failure_feedback_role_arn
        firehose_success_feedback_role_arn firehose_success_feedback_sample_rate http_failure_feedback_role_arn
        http_success_feedback_role_arn http_success_feedback_sample_rate kms_master_key_id
        lambda_failure_feedback_role_arn lambda_success_feedback_role_arn lambda_success_feedback_sample_rate
        maximum_message_size name name_prefix policy region signature_version sqs_failure_feedback_role_arn
        sqs_success_feedback_role_arn sqs_success_feedback_sample_rate tags tracing_config
    """,
    "aws:sns/topicSubscription:TopicSubscription": """
        confirmation_timeout_in_minutes delivery_policy endpoint endpoint_auto_confirms filter_policy
        filter_policy_scope protocol raw_message_delivery redrive_policy region replay_policy subscription_role_arn
        topic
    """,
    "aws:sqs/queue:Queue": """
        content_based_deduplication deduplication_scope delay_seconds fifo_queue fifo_throughput_limit
        kms_data_key_reuse_period_seconds kms_master_key_id max_message_size message_retention_seconds name
        name_prefix policy receive_wait_time_seconds redrive_allow_policy redrive_policy region
        sqs_managed_sse_enabled tags visibility_timeout_seconds
    """,
}

ARGUMENTS: Final[Mapping[str, frozenset[str]]] = {type_: frozenset(text.split()) for type_, text in _NAMES.items()}
