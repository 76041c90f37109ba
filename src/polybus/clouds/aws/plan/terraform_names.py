"""The argument names of Terraform's provider hashicorp/aws, by version and type, the newest version first.

tests/unit/plan/terraform_schemas.py writes this file from the schemas themselves. Behind a dot stand those inside of
another, ! behind those that are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["TABLES"]

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "6.69.1": {
        "aws_region": """
            endpoint name region
        """,
        "aws_caller_identity": """
        """,
        "aws_sns_topic": """
            application_failure_feedback_role_arn application_success_feedback_role_arn
            application_success_feedback_sample_rate archive_policy content_based_deduplication delivery_policy
            display_name fifo_throughput_scope fifo_topic firehose_failure_feedback_role_arn
            firehose_success_feedback_role_arn firehose_success_feedback_sample_rate http_failure_feedback_role_arn
            http_success_feedback_role_arn http_success_feedback_sample_rate kms_master_key_id
            lambda_failure_feedback_role_arn lambda_success_feedback_role_arn lambda_success_feedback_sample_rate
            maximum_message_size name name_prefix policy region signature_version sqs_failure_feedback_role_arn
            sqs_success_feedback_role_arn sqs_success_feedback_sample_rate tags tags_all tracing_config
        """,
        "aws_sns_topic_policy": """
            arn! policy! region
        """,
        "aws_sns_topic_subscription": """
            confirmation_timeout_in_minutes delivery_policy endpoint! endpoint_auto_confirms filter_policy
            filter_policy_scope protocol! raw_message_delivery redrive_policy region replay_policy
            subscription_role_arn topic_arn!
        """,
        "aws_sqs_queue": """
            content_based_deduplication deduplication_scope delay_seconds fifo_queue fifo_throughput_limit
            kms_data_key_reuse_period_seconds kms_master_key_id max_message_size message_retention_seconds name
            name_prefix policy receive_wait_time_seconds redrive_allow_policy redrive_policy region
            sqs_managed_sse_enabled tags tags_all visibility_timeout_seconds
        """,
        "aws_sqs_queue_policy": """
            policy! queue_url! region
        """,
        "aws_sqs_queue_redrive_policy": """
            queue_url! redrive_policy! region
        """,
        "aws_sqs_queue_redrive_allow_policy": """
            queue_url! redrive_allow_policy! region
        """,
        "aws_lambda_permission": """
            action! event_source_token function_name! function_url_auth_type invoked_via_function_url principal!
            principal_org_id qualifier region source_account source_arn statement_id statement_id_prefix
        """,
        "aws_iam_policy": """
            delay_after_policy_creation_in_ms description name name_prefix path policy! tags tags_all
        """,
        "aws_iam_role_policy_attachment": """
            policy_arn! role!
        """,
        "aws_iam_role": """
            assume_role_policy! description force_detach_policies inline_policy inline_policy.name
            inline_policy.policy managed_policy_arns max_session_duration name name_prefix path permissions_boundary
            tags tags_all
        """,
        "aws_iam_role_policy": """
            name name_prefix policy! role!
        """,
        "aws_cloudwatch_metric_alarm": """
            actions_enabled alarm_actions alarm_description alarm_name! comparison_operator datapoints_to_alarm
            dimensions evaluate_low_sample_count_percentiles evaluation_criteria
            evaluation_criteria.promql_criteria! evaluation_criteria.promql_criteria.pending_period
            evaluation_criteria.promql_criteria.query! evaluation_criteria.promql_criteria.recovery_period
            evaluation_interval evaluation_periods evaluation_window evaluation_window.wall_clock_window!
            evaluation_window.wall_clock_window.timezone extended_statistic insufficient_data_actions metric_name
            metric_query metric_query.account_id metric_query.expression metric_query.id! metric_query.label
            metric_query.metric metric_query.metric.dimensions metric_query.metric.metric_name!
            metric_query.metric.namespace metric_query.metric.period! metric_query.metric.stat!
            metric_query.metric.unit metric_query.period metric_query.return_data namespace ok_actions period region
            statistic tags tags_all threshold threshold_metric_id treat_missing_data unit warm_up_configuration
            warm_up_configuration.only_start_evaluating_after_warm_up_period_ends
            warm_up_configuration.warm_up_period_duration_in_minutes!
        """,
        "aws_cloudwatch_composite_alarm": """
            actions_enabled actions_suppressor actions_suppressor.alarm! actions_suppressor.extension_period!
            actions_suppressor.wait_period! alarm_actions alarm_description alarm_name! alarm_rule!
            insufficient_data_actions ok_actions region tags tags_all
        """,
        "aws_cloudwatch_log_group": """
            deletion_protection_enabled kms_key_id log_group_class name name_prefix region retention_in_days
            skip_destroy tags tags_all
        """,
        "aws_cloudwatch_dashboard": """
            dashboard_body! dashboard_name! region
        """,
        "aws_s3_bucket": """
            acceleration_status acl bucket bucket_namespace bucket_prefix cors_rule cors_rule.allowed_headers
            cors_rule.allowed_methods! cors_rule.allowed_origins! cors_rule.expose_headers cors_rule.max_age_seconds
            force_destroy grant grant.id grant.permissions! grant.type! grant.uri lifecycle_rule
            lifecycle_rule.abort_incomplete_multipart_upload_days lifecycle_rule.enabled! lifecycle_rule.expiration
            lifecycle_rule.expiration.date lifecycle_rule.expiration.days
            lifecycle_rule.expiration.expired_object_delete_marker lifecycle_rule.id
            lifecycle_rule.noncurrent_version_expiration lifecycle_rule.noncurrent_version_expiration.days
            lifecycle_rule.noncurrent_version_transition lifecycle_rule.noncurrent_version_transition.days
            lifecycle_rule.noncurrent_version_transition.storage_class! lifecycle_rule.prefix lifecycle_rule.tags
            lifecycle_rule.transition lifecycle_rule.transition.date lifecycle_rule.transition.days
            lifecycle_rule.transition.storage_class! logging logging.target_bucket! logging.target_prefix
            object_lock_configuration object_lock_configuration.object_lock_enabled object_lock_configuration.rule
            object_lock_configuration.rule.default_retention! object_lock_configuration.rule.default_retention.days
            object_lock_configuration.rule.default_retention.mode!
            object_lock_configuration.rule.default_retention.years object_lock_enabled policy region
            replication_configuration replication_configuration.role! replication_configuration.rules!
            replication_configuration.rules.delete_marker_replication_status
            replication_configuration.rules.destination!
            replication_configuration.rules.destination.access_control_translation
            replication_configuration.rules.destination.access_control_translation.owner!
            replication_configuration.rules.destination.account_id
            replication_configuration.rules.destination.bucket! replication_configuration.rules.destination.metrics
            replication_configuration.rules.destination.metrics.minutes
            replication_configuration.rules.destination.metrics.status
            replication_configuration.rules.destination.replica_kms_key_id
            replication_configuration.rules.destination.replication_time
            replication_configuration.rules.destination.replication_time.minutes
            replication_configuration.rules.destination.replication_time.status
            replication_configuration.rules.destination.storage_class replication_configuration.rules.filter
            replication_configuration.rules.filter.prefix replication_configuration.rules.filter.tags
            replication_configuration.rules.id replication_configuration.rules.prefix
            replication_configuration.rules.priority replication_configuration.rules.source_selection_criteria
            replication_configuration.rules.source_selection_criteria.sse_kms_encrypted_objects
            replication_configuration.rules.source_selection_criteria.sse_kms_encrypted_objects.enabled!
            replication_configuration.rules.status! request_payer server_side_encryption_configuration
            server_side_encryption_configuration.rule!
            server_side_encryption_configuration.rule.apply_server_side_encryption_by_default!
            server_side_encryption_configuration.rule.apply_server_side_encryption_by_default.kms_master_key_id
            server_side_encryption_configuration.rule.apply_server_side_encryption_by_default.sse_algorithm!
            server_side_encryption_configuration.rule.bucket_key_enabled tags tags_all versioning versioning.enabled
            versioning.mfa_delete website website.error_document website.index_document
            website.redirect_all_requests_to website.routing_rules
        """,
        "aws_s3_bucket_public_access_block": """
            block_public_acls block_public_policy bucket! ignore_public_acls region restrict_public_buckets
            skip_destroy
        """,
        "aws_s3_bucket_server_side_encryption_configuration": """
            bucket! expected_bucket_owner region rule! rule.apply_server_side_encryption_by_default
            rule.apply_server_side_encryption_by_default.kms_master_key_id
            rule.apply_server_side_encryption_by_default.sse_algorithm! rule.blocked_encryption_types
            rule.bucket_key_enabled
        """,
        "aws_s3_bucket_lifecycle_configuration": """
            bucket! expected_bucket_owner region rule rule.abort_incomplete_multipart_upload
            rule.abort_incomplete_multipart_upload.days_after_initiation rule.expiration rule.expiration.date
            rule.expiration.days rule.expiration.expired_object_delete_marker rule.filter rule.filter.and
            rule.filter.and.object_size_greater_than rule.filter.and.object_size_less_than rule.filter.and.prefix
            rule.filter.and.tags rule.filter.object_size_greater_than rule.filter.object_size_less_than
            rule.filter.prefix rule.filter.tag rule.filter.tag.key! rule.filter.tag.value! rule.id!
            rule.noncurrent_version_expiration rule.noncurrent_version_expiration.newer_noncurrent_versions
            rule.noncurrent_version_expiration.noncurrent_days! rule.noncurrent_version_transition
            rule.noncurrent_version_transition.newer_noncurrent_versions
            rule.noncurrent_version_transition.noncurrent_days! rule.noncurrent_version_transition.storage_class!
            rule.prefix rule.status! rule.transition rule.transition.date rule.transition.days
            rule.transition.storage_class! transition_default_minimum_object_size
        """,
        "aws_s3_bucket_policy": """
            bucket! policy! region
        """,
        "aws_ssm_parameter": """
            allowed_pattern arn data_type description insecure_value key_id name! overwrite region tags tags_all
            tier type! value value_wo value_wo_version
        """,
    },
    "5.100.0": {
        "aws_region": """
            endpoint name
        """,
        "aws_caller_identity": """
        """,
        "aws_sns_topic": """
            application_failure_feedback_role_arn application_success_feedback_role_arn
            application_success_feedback_sample_rate archive_policy content_based_deduplication delivery_policy
            display_name fifo_throughput_scope fifo_topic firehose_failure_feedback_role_arn
            firehose_success_feedback_role_arn firehose_success_feedback_sample_rate http_failure_feedback_role_arn
            http_success_feedback_role_arn http_success_feedback_sample_rate kms_master_key_id
            lambda_failure_feedback_role_arn lambda_success_feedback_role_arn lambda_success_feedback_sample_rate
            name name_prefix policy signature_version sqs_failure_feedback_role_arn sqs_success_feedback_role_arn
            sqs_success_feedback_sample_rate tags tags_all tracing_config
        """,
        "aws_sns_topic_policy": """
            arn! policy!
        """,
        "aws_sns_topic_subscription": """
            confirmation_timeout_in_minutes delivery_policy endpoint! endpoint_auto_confirms filter_policy
            filter_policy_scope protocol! raw_message_delivery redrive_policy replay_policy subscription_role_arn
            topic_arn!
        """,
        "aws_sqs_queue": """
            content_based_deduplication deduplication_scope delay_seconds fifo_queue fifo_throughput_limit
            kms_data_key_reuse_period_seconds kms_master_key_id max_message_size message_retention_seconds name
            name_prefix policy receive_wait_time_seconds redrive_allow_policy redrive_policy sqs_managed_sse_enabled
            tags tags_all visibility_timeout_seconds
        """,
        "aws_sqs_queue_policy": """
            policy! queue_url!
        """,
        "aws_sqs_queue_redrive_policy": """
            queue_url! redrive_policy!
        """,
        "aws_sqs_queue_redrive_allow_policy": """
            queue_url! redrive_allow_policy!
        """,
        "aws_lambda_permission": """
            action! event_source_token function_name! function_url_auth_type principal! principal_org_id qualifier
            source_account source_arn statement_id statement_id_prefix
        """,
        "aws_iam_policy": """
            description name name_prefix path policy! tags tags_all
        """,
        "aws_iam_role_policy_attachment": """
            policy_arn! role!
        """,
        "aws_iam_role": """
            assume_role_policy! description force_detach_policies inline_policy inline_policy.name
            inline_policy.policy managed_policy_arns max_session_duration name name_prefix path permissions_boundary
            tags tags_all
        """,
        "aws_iam_role_policy": """
            name name_prefix policy! role!
        """,
        "aws_cloudwatch_metric_alarm": """
            actions_enabled alarm_actions alarm_description alarm_name! comparison_operator! datapoints_to_alarm
            dimensions evaluate_low_sample_count_percentiles evaluation_periods! extended_statistic
            insufficient_data_actions metric_name metric_query metric_query.account_id metric_query.expression
            metric_query.id! metric_query.label metric_query.metric metric_query.metric.dimensions
            metric_query.metric.metric_name! metric_query.metric.namespace metric_query.metric.period!
            metric_query.metric.stat! metric_query.metric.unit metric_query.period metric_query.return_data
            namespace ok_actions period statistic tags tags_all threshold threshold_metric_id treat_missing_data
            unit
        """,
        "aws_cloudwatch_composite_alarm": """
            actions_enabled actions_suppressor actions_suppressor.alarm! actions_suppressor.extension_period!
            actions_suppressor.wait_period! alarm_actions alarm_description alarm_name! alarm_rule!
            insufficient_data_actions ok_actions tags tags_all
        """,
        "aws_cloudwatch_log_group": """
            kms_key_id log_group_class name name_prefix retention_in_days skip_destroy tags tags_all
        """,
        "aws_cloudwatch_dashboard": """
            dashboard_body! dashboard_name!
        """,
        "aws_s3_bucket": """
            acceleration_status acl bucket bucket_prefix cors_rule cors_rule.allowed_headers
            cors_rule.allowed_methods! cors_rule.allowed_origins! cors_rule.expose_headers cors_rule.max_age_seconds
            force_destroy grant grant.id grant.permissions! grant.type! grant.uri lifecycle_rule
            lifecycle_rule.abort_incomplete_multipart_upload_days lifecycle_rule.enabled! lifecycle_rule.expiration
            lifecycle_rule.expiration.date lifecycle_rule.expiration.days
            lifecycle_rule.expiration.expired_object_delete_marker lifecycle_rule.id
            lifecycle_rule.noncurrent_version_expiration lifecycle_rule.noncurrent_version_expiration.days
            lifecycle_rule.noncurrent_version_transition lifecycle_rule.noncurrent_version_transition.days
            lifecycle_rule.noncurrent_version_transition.storage_class! lifecycle_rule.prefix lifecycle_rule.tags
            lifecycle_rule.transition lifecycle_rule.transition.date lifecycle_rule.transition.days
            lifecycle_rule.transition.storage_class! logging logging.target_bucket! logging.target_prefix
            object_lock_configuration object_lock_configuration.object_lock_enabled object_lock_configuration.rule
            object_lock_configuration.rule.default_retention! object_lock_configuration.rule.default_retention.days
            object_lock_configuration.rule.default_retention.mode!
            object_lock_configuration.rule.default_retention.years object_lock_enabled policy
            replication_configuration replication_configuration.role! replication_configuration.rules!
            replication_configuration.rules.delete_marker_replication_status
            replication_configuration.rules.destination!
            replication_configuration.rules.destination.access_control_translation
            replication_configuration.rules.destination.access_control_translation.owner!
            replication_configuration.rules.destination.account_id
            replication_configuration.rules.destination.bucket! replication_configuration.rules.destination.metrics
            replication_configuration.rules.destination.metrics.minutes
            replication_configuration.rules.destination.metrics.status
            replication_configuration.rules.destination.replica_kms_key_id
            replication_configuration.rules.destination.replication_time
            replication_configuration.rules.destination.replication_time.minutes
            replication_configuration.rules.destination.replication_time.status
            replication_configuration.rules.destination.storage_class replication_configuration.rules.filter
            replication_configuration.rules.filter.prefix replication_configuration.rules.filter.tags
            replication_configuration.rules.id replication_configuration.rules.prefix
            replication_configuration.rules.priority replication_configuration.rules.source_selection_criteria
            replication_configuration.rules.source_selection_criteria.sse_kms_encrypted_objects
            replication_configuration.rules.source_selection_criteria.sse_kms_encrypted_objects.enabled!
            replication_configuration.rules.status! request_payer server_side_encryption_configuration
            server_side_encryption_configuration.rule!
            server_side_encryption_configuration.rule.apply_server_side_encryption_by_default!
            server_side_encryption_configuration.rule.apply_server_side_encryption_by_default.kms_master_key_id
            server_side_encryption_configuration.rule.apply_server_side_encryption_by_default.sse_algorithm!
            server_side_encryption_configuration.rule.bucket_key_enabled tags tags_all versioning versioning.enabled
            versioning.mfa_delete website website.error_document website.index_document
            website.redirect_all_requests_to website.routing_rules
        """,
        "aws_s3_bucket_public_access_block": """
            block_public_acls block_public_policy bucket! ignore_public_acls restrict_public_buckets
        """,
        "aws_s3_bucket_server_side_encryption_configuration": """
            bucket! expected_bucket_owner rule! rule.apply_server_side_encryption_by_default
            rule.apply_server_side_encryption_by_default.kms_master_key_id
            rule.apply_server_side_encryption_by_default.sse_algorithm! rule.bucket_key_enabled
        """,
        "aws_s3_bucket_lifecycle_configuration": """
            bucket! expected_bucket_owner rule rule.abort_incomplete_multipart_upload
            rule.abort_incomplete_multipart_upload.days_after_initiation rule.expiration rule.expiration.date
            rule.expiration.days rule.expiration.expired_object_delete_marker rule.filter rule.filter.and
            rule.filter.and.object_size_greater_than rule.filter.and.object_size_less_than rule.filter.and.prefix
            rule.filter.and.tags rule.filter.object_size_greater_than rule.filter.object_size_less_than
            rule.filter.prefix rule.filter.tag rule.filter.tag.key! rule.filter.tag.value! rule.id!
            rule.noncurrent_version_expiration rule.noncurrent_version_expiration.newer_noncurrent_versions
            rule.noncurrent_version_expiration.noncurrent_days! rule.noncurrent_version_transition
            rule.noncurrent_version_transition.newer_noncurrent_versions
            rule.noncurrent_version_transition.noncurrent_days! rule.noncurrent_version_transition.storage_class!
            rule.prefix rule.status! rule.transition rule.transition.date rule.transition.days
            rule.transition.storage_class! transition_default_minimum_object_size
        """,
        "aws_s3_bucket_policy": """
            bucket! policy!
        """,
        "aws_ssm_parameter": """
            allowed_pattern arn data_type description insecure_value key_id name! overwrite tags tags_all tier type!
            value value_wo value_wo_version
        """,
    },
}
