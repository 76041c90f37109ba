"""The argument names of Terraform's provider hashicorp/google, by version and type, the newest version first.

tests/unit/plan/terraform_schemas.py writes this file from the schemas themselves. Behind a dot stand those inside of
another, ! behind those that are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["TABLES"]

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "8.7.0": {
        "google_project": """
            project_id
        """,
        "google_pubsub_topic": """
            deletion_policy ingestion_data_source_settings ingestion_data_source_settings.aws_kinesis
            ingestion_data_source_settings.aws_kinesis.aws_role_arn!
            ingestion_data_source_settings.aws_kinesis.consumer_arn!
            ingestion_data_source_settings.aws_kinesis.gcp_service_account!
            ingestion_data_source_settings.aws_kinesis.stream_arn! ingestion_data_source_settings.aws_msk
            ingestion_data_source_settings.aws_msk.aws_role_arn! ingestion_data_source_settings.aws_msk.cluster_arn!
            ingestion_data_source_settings.aws_msk.gcp_service_account!
            ingestion_data_source_settings.aws_msk.topic! ingestion_data_source_settings.azure_event_hubs
            ingestion_data_source_settings.azure_event_hubs.client_id
            ingestion_data_source_settings.azure_event_hubs.event_hub
            ingestion_data_source_settings.azure_event_hubs.gcp_service_account
            ingestion_data_source_settings.azure_event_hubs.namespace
            ingestion_data_source_settings.azure_event_hubs.resource_group
            ingestion_data_source_settings.azure_event_hubs.subscription_id
            ingestion_data_source_settings.azure_event_hubs.tenant_id ingestion_data_source_settings.cloud_storage
            ingestion_data_source_settings.cloud_storage.avro_format
            ingestion_data_source_settings.cloud_storage.bucket!
            ingestion_data_source_settings.cloud_storage.match_glob
            ingestion_data_source_settings.cloud_storage.minimum_object_create_time
            ingestion_data_source_settings.cloud_storage.pubsub_avro_format
            ingestion_data_source_settings.cloud_storage.text_format
            ingestion_data_source_settings.cloud_storage.text_format.delimiter
            ingestion_data_source_settings.confluent_cloud
            ingestion_data_source_settings.confluent_cloud.bootstrap_server!
            ingestion_data_source_settings.confluent_cloud.cluster_id
            ingestion_data_source_settings.confluent_cloud.gcp_service_account!
            ingestion_data_source_settings.confluent_cloud.identity_pool_id!
            ingestion_data_source_settings.confluent_cloud.topic!
            ingestion_data_source_settings.platform_logs_settings
            ingestion_data_source_settings.platform_logs_settings.severity kms_key_name labels
            message_retention_duration message_storage_policy message_storage_policy.allowed_persistence_regions!
            message_storage_policy.enforce_in_transit message_transforms message_transforms.ai_inference
            message_transforms.ai_inference.endpoint! message_transforms.ai_inference.service_account_email
            message_transforms.ai_inference.unstructured_inference
            message_transforms.ai_inference.unstructured_inference.parameters message_transforms.disabled
            message_transforms.javascript_udf message_transforms.javascript_udf.code!
            message_transforms.javascript_udf.function_name! name! project schema_settings schema_settings.encoding
            schema_settings.first_revision_id schema_settings.last_revision_id schema_settings.schema! tags
        """,
        "google_pubsub_subscription": """
            ack_deadline_seconds bigquery_config bigquery_config.drop_unknown_fields
            bigquery_config.service_account_email bigquery_config.table! bigquery_config.use_table_schema
            bigquery_config.use_topic_schema bigquery_config.write_metadata cloud_storage_config
            cloud_storage_config.avro_config cloud_storage_config.avro_config.use_topic_schema
            cloud_storage_config.avro_config.write_metadata cloud_storage_config.bucket!
            cloud_storage_config.filename_datetime_format cloud_storage_config.filename_prefix
            cloud_storage_config.filename_suffix cloud_storage_config.max_bytes cloud_storage_config.max_duration
            cloud_storage_config.max_messages cloud_storage_config.service_account_email
            cloud_storage_config.text_config dead_letter_policy dead_letter_policy.dead_letter_topic
            dead_letter_policy.max_delivery_attempts deletion_policy enable_exactly_once_delivery
            enable_message_ordering expiration_policy expiration_policy.ttl! filter labels
            message_retention_duration message_transforms message_transforms.ai_inference
            message_transforms.ai_inference.endpoint! message_transforms.ai_inference.service_account_email
            message_transforms.ai_inference.unstructured_inference
            message_transforms.ai_inference.unstructured_inference.parameters message_transforms.disabled
            message_transforms.javascript_udf message_transforms.javascript_udf.code!
            message_transforms.javascript_udf.function_name! name! project push_config push_config.attributes
            push_config.no_wrapper push_config.no_wrapper.write_metadata! push_config.oidc_token
            push_config.oidc_token.audience push_config.oidc_token.service_account_email! push_config.push_endpoint!
            retain_acked_messages retry_policy retry_policy.maximum_backoff retry_policy.minimum_backoff tags topic!
        """,
        "google_pubsub_topic_iam_member": """
            condition condition.description condition.expression! condition.title! member! project role! topic!
        """,
        "google_pubsub_subscription_iam_member": """
            condition condition.description condition.expression! condition.title! member! project role!
            subscription!
        """,
        "google_kms_crypto_key_iam_member": """
            condition condition.description condition.expression! condition.title! crypto_key_id! member! role!
        """,
        "google_cloud_run_v2_service_iam_member": """
            condition condition.description condition.expression! condition.title! location member! name! project
            role!
        """,
        "google_monitoring_notification_channel": """
            deletion_policy description display_name enabled force_delete labels project sensitive_labels
            sensitive_labels.auth_token sensitive_labels.auth_token_wo sensitive_labels.auth_token_wo_version
            sensitive_labels.password sensitive_labels.password_wo sensitive_labels.password_wo_version
            sensitive_labels.service_key sensitive_labels.service_key_wo sensitive_labels.service_key_wo_version
            type! user_labels
        """,
        "google_monitoring_alert_policy": """
            alert_strategy alert_strategy.auto_close alert_strategy.notification_channel_strategy
            alert_strategy.notification_channel_strategy.notification_channel_names
            alert_strategy.notification_channel_strategy.renotify_interval alert_strategy.notification_prompts
            alert_strategy.notification_rate_limit alert_strategy.notification_rate_limit.period combiner!
            conditions! conditions.condition_absent conditions.condition_absent.aggregations
            conditions.condition_absent.aggregations.alignment_period
            conditions.condition_absent.aggregations.cross_series_reducer
            conditions.condition_absent.aggregations.group_by_fields
            conditions.condition_absent.aggregations.per_series_aligner conditions.condition_absent.duration!
            conditions.condition_absent.filter conditions.condition_absent.trigger
            conditions.condition_absent.trigger.count conditions.condition_absent.trigger.percent
            conditions.condition_matched_log conditions.condition_matched_log.filter!
            conditions.condition_matched_log.label_extractors conditions.condition_monitoring_query_language
            conditions.condition_monitoring_query_language.duration!
            conditions.condition_monitoring_query_language.evaluation_missing_data
            conditions.condition_monitoring_query_language.query!
            conditions.condition_monitoring_query_language.trigger
            conditions.condition_monitoring_query_language.trigger.count
            conditions.condition_monitoring_query_language.trigger.percent
            conditions.condition_prometheus_query_language conditions.condition_prometheus_query_language.alert_rule
            conditions.condition_prometheus_query_language.disable_metric_validation
            conditions.condition_prometheus_query_language.duration
            conditions.condition_prometheus_query_language.evaluation_interval
            conditions.condition_prometheus_query_language.labels
            conditions.condition_prometheus_query_language.query!
            conditions.condition_prometheus_query_language.rule_group conditions.condition_sql
            conditions.condition_sql.boolean_test conditions.condition_sql.boolean_test.column!
            conditions.condition_sql.daily conditions.condition_sql.daily.execution_time
            conditions.condition_sql.daily.execution_time.hours
            conditions.condition_sql.daily.execution_time.minutes
            conditions.condition_sql.daily.execution_time.nanos
            conditions.condition_sql.daily.execution_time.seconds conditions.condition_sql.daily.periodicity!
            conditions.condition_sql.hourly conditions.condition_sql.hourly.minute_offset
            conditions.condition_sql.hourly.periodicity! conditions.condition_sql.minutes
            conditions.condition_sql.minutes.periodicity! conditions.condition_sql.query!
            conditions.condition_sql.row_count_test conditions.condition_sql.row_count_test.comparison!
            conditions.condition_sql.row_count_test.threshold! conditions.condition_threshold
            conditions.condition_threshold.aggregations conditions.condition_threshold.aggregations.alignment_period
            conditions.condition_threshold.aggregations.cross_series_reducer
            conditions.condition_threshold.aggregations.group_by_fields
            conditions.condition_threshold.aggregations.per_series_aligner
            conditions.condition_threshold.comparison! conditions.condition_threshold.denominator_aggregations
            conditions.condition_threshold.denominator_aggregations.alignment_period
            conditions.condition_threshold.denominator_aggregations.cross_series_reducer
            conditions.condition_threshold.denominator_aggregations.group_by_fields
            conditions.condition_threshold.denominator_aggregations.per_series_aligner
            conditions.condition_threshold.denominator_filter conditions.condition_threshold.duration!
            conditions.condition_threshold.evaluation_missing_data conditions.condition_threshold.filter
            conditions.condition_threshold.forecast_options
            conditions.condition_threshold.forecast_options.forecast_horizon!
            conditions.condition_threshold.threshold_value conditions.condition_threshold.trigger
            conditions.condition_threshold.trigger.count conditions.condition_threshold.trigger.percent
            conditions.display_name! deletion_policy display_name! documentation documentation.content
            documentation.links documentation.links.display_name documentation.links.url documentation.mime_type
            documentation.subject enabled notification_channels project severity user_labels
        """,
        "google_monitoring_dashboard": """
            dashboard_json! deletion_policy project
        """,
        "google_storage_bucket": """
            autoclass autoclass.enabled! autoclass.terminal_storage_class cors cors.max_age_seconds cors.method
            cors.origin cors.response_header custom_placement_config custom_placement_config.data_locations!
            default_event_based_hold deletion_policy enable_object_retention encryption
            encryption.customer_managed_encryption_enforcement_config
            encryption.customer_managed_encryption_enforcement_config.restriction_mode!
            encryption.customer_supplied_encryption_enforcement_config
            encryption.customer_supplied_encryption_enforcement_config.restriction_mode!
            encryption.default_kms_key_name encryption.google_managed_encryption_enforcement_config
            encryption.google_managed_encryption_enforcement_config.restriction_mode! force_destroy
            hierarchical_namespace hierarchical_namespace.enabled! ip_filter
            ip_filter.allow_all_service_agent_access ip_filter.allow_cross_org_vpcs ip_filter.mode!
            ip_filter.public_network_source ip_filter.public_network_source.allowed_ip_cidr_ranges!
            ip_filter.vpc_network_sources ip_filter.vpc_network_sources.allowed_ip_cidr_ranges!
            ip_filter.vpc_network_sources.network! labels lifecycle_rule lifecycle_rule.action!
            lifecycle_rule.action.storage_class lifecycle_rule.action.type! lifecycle_rule.condition!
            lifecycle_rule.condition.age lifecycle_rule.condition.created_before
            lifecycle_rule.condition.custom_time_before lifecycle_rule.condition.days_since_custom_time
            lifecycle_rule.condition.days_since_noncurrent_time lifecycle_rule.condition.matches_prefix
            lifecycle_rule.condition.matches_storage_class lifecycle_rule.condition.matches_suffix
            lifecycle_rule.condition.noncurrent_time_before lifecycle_rule.condition.num_newer_versions
            lifecycle_rule.condition.send_age_if_zero lifecycle_rule.condition.send_days_since_custom_time_if_zero
            lifecycle_rule.condition.send_days_since_noncurrent_time_if_zero
            lifecycle_rule.condition.send_num_newer_versions_if_zero lifecycle_rule.condition.size_above_bytes
            lifecycle_rule.condition.size_below_bytes lifecycle_rule.condition.with_state location! logging
            logging.log_bucket! logging.log_object_prefix name! project public_access_prevention requester_pays
            retention_policy retention_policy.is_locked retention_policy.retention_period! rpo soft_delete_policy
            soft_delete_policy.retention_duration_seconds storage_class uniform_bucket_level_access versioning
            versioning.enabled! website website.main_page_suffix website.not_found_page
        """,
        "google_storage_bucket_iam_member": """
            bucket! condition condition.description condition.expression! condition.title! member! role!
        """,
        "google_storage_project_service_account": """
            project user_project
        """,
        "google_secret_manager_secret": """
            annotations deletion_policy deletion_protection expire_time labels project replication! replication.auto
            replication.auto.customer_managed_encryption replication.auto.customer_managed_encryption.kms_key_name!
            replication.user_managed replication.user_managed.replicas!
            replication.user_managed.replicas.customer_managed_encryption
            replication.user_managed.replicas.customer_managed_encryption.kms_key_name!
            replication.user_managed.replicas.location! rotation rotation.next_rotation_time
            rotation.rotation_period secret_id! secret_type tags topics topics.name! ttl version_aliases
            version_destroy_ttl
        """,
        "google_secret_manager_secret_version": """
            deletion_policy enabled is_secret_data_base64 project secret! secret_data secret_data_wo
            secret_data_wo_version
        """,
        "google_secret_manager_secret_iam_member": """
            condition condition.description condition.expression! condition.title! member! project role! secret_id!
        """,
        "google_project_service_identity": """
            project service!
        """,
    },
    "6.50.0": {
        "google_project": """
            project_id
        """,
        "google_pubsub_topic": """
            ingestion_data_source_settings ingestion_data_source_settings.aws_kinesis
            ingestion_data_source_settings.aws_kinesis.aws_role_arn!
            ingestion_data_source_settings.aws_kinesis.consumer_arn!
            ingestion_data_source_settings.aws_kinesis.gcp_service_account!
            ingestion_data_source_settings.aws_kinesis.stream_arn! ingestion_data_source_settings.aws_msk
            ingestion_data_source_settings.aws_msk.aws_role_arn! ingestion_data_source_settings.aws_msk.cluster_arn!
            ingestion_data_source_settings.aws_msk.gcp_service_account!
            ingestion_data_source_settings.aws_msk.topic! ingestion_data_source_settings.azure_event_hubs
            ingestion_data_source_settings.azure_event_hubs.client_id
            ingestion_data_source_settings.azure_event_hubs.event_hub
            ingestion_data_source_settings.azure_event_hubs.gcp_service_account
            ingestion_data_source_settings.azure_event_hubs.namespace
            ingestion_data_source_settings.azure_event_hubs.resource_group
            ingestion_data_source_settings.azure_event_hubs.subscription_id
            ingestion_data_source_settings.azure_event_hubs.tenant_id ingestion_data_source_settings.cloud_storage
            ingestion_data_source_settings.cloud_storage.avro_format
            ingestion_data_source_settings.cloud_storage.bucket!
            ingestion_data_source_settings.cloud_storage.match_glob
            ingestion_data_source_settings.cloud_storage.minimum_object_create_time
            ingestion_data_source_settings.cloud_storage.pubsub_avro_format
            ingestion_data_source_settings.cloud_storage.text_format
            ingestion_data_source_settings.cloud_storage.text_format.delimiter
            ingestion_data_source_settings.confluent_cloud
            ingestion_data_source_settings.confluent_cloud.bootstrap_server!
            ingestion_data_source_settings.confluent_cloud.cluster_id
            ingestion_data_source_settings.confluent_cloud.gcp_service_account!
            ingestion_data_source_settings.confluent_cloud.identity_pool_id!
            ingestion_data_source_settings.confluent_cloud.topic!
            ingestion_data_source_settings.platform_logs_settings
            ingestion_data_source_settings.platform_logs_settings.severity kms_key_name labels
            message_retention_duration message_storage_policy message_storage_policy.allowed_persistence_regions!
            message_storage_policy.enforce_in_transit message_transforms message_transforms.disabled
            message_transforms.javascript_udf message_transforms.javascript_udf.code!
            message_transforms.javascript_udf.function_name! name! project schema_settings schema_settings.encoding
            schema_settings.schema!
        """,
        "google_pubsub_subscription": """
            ack_deadline_seconds bigquery_config bigquery_config.drop_unknown_fields
            bigquery_config.service_account_email bigquery_config.table! bigquery_config.use_table_schema
            bigquery_config.use_topic_schema bigquery_config.write_metadata cloud_storage_config
            cloud_storage_config.avro_config cloud_storage_config.avro_config.use_topic_schema
            cloud_storage_config.avro_config.write_metadata cloud_storage_config.bucket!
            cloud_storage_config.filename_datetime_format cloud_storage_config.filename_prefix
            cloud_storage_config.filename_suffix cloud_storage_config.max_bytes cloud_storage_config.max_duration
            cloud_storage_config.max_messages cloud_storage_config.service_account_email dead_letter_policy
            dead_letter_policy.dead_letter_topic dead_letter_policy.max_delivery_attempts
            enable_exactly_once_delivery enable_message_ordering expiration_policy expiration_policy.ttl! filter
            labels message_retention_duration message_transforms message_transforms.disabled
            message_transforms.javascript_udf message_transforms.javascript_udf.code!
            message_transforms.javascript_udf.function_name! name! project push_config push_config.attributes
            push_config.no_wrapper push_config.no_wrapper.write_metadata! push_config.oidc_token
            push_config.oidc_token.audience push_config.oidc_token.service_account_email! push_config.push_endpoint!
            retain_acked_messages retry_policy retry_policy.maximum_backoff retry_policy.minimum_backoff topic!
        """,
        "google_pubsub_topic_iam_member": """
            condition condition.description condition.expression! condition.title! member! project role! topic!
        """,
        "google_pubsub_subscription_iam_member": """
            condition condition.description condition.expression! condition.title! member! project role!
            subscription!
        """,
        "google_kms_crypto_key_iam_member": """
            condition condition.description condition.expression! condition.title! crypto_key_id! member! role!
        """,
        "google_cloud_run_v2_service_iam_member": """
            condition condition.description condition.expression! condition.title! location member! name! project
            role!
        """,
        "google_monitoring_notification_channel": """
            description display_name enabled force_delete labels project sensitive_labels
            sensitive_labels.auth_token sensitive_labels.password sensitive_labels.service_key type! user_labels
        """,
        "google_monitoring_alert_policy": """
            alert_strategy alert_strategy.auto_close alert_strategy.notification_channel_strategy
            alert_strategy.notification_channel_strategy.notification_channel_names
            alert_strategy.notification_channel_strategy.renotify_interval alert_strategy.notification_prompts
            alert_strategy.notification_rate_limit alert_strategy.notification_rate_limit.period combiner!
            conditions! conditions.condition_absent conditions.condition_absent.aggregations
            conditions.condition_absent.aggregations.alignment_period
            conditions.condition_absent.aggregations.cross_series_reducer
            conditions.condition_absent.aggregations.group_by_fields
            conditions.condition_absent.aggregations.per_series_aligner conditions.condition_absent.duration!
            conditions.condition_absent.filter conditions.condition_absent.trigger
            conditions.condition_absent.trigger.count conditions.condition_absent.trigger.percent
            conditions.condition_matched_log conditions.condition_matched_log.filter!
            conditions.condition_matched_log.label_extractors conditions.condition_monitoring_query_language
            conditions.condition_monitoring_query_language.duration!
            conditions.condition_monitoring_query_language.evaluation_missing_data
            conditions.condition_monitoring_query_language.query!
            conditions.condition_monitoring_query_language.trigger
            conditions.condition_monitoring_query_language.trigger.count
            conditions.condition_monitoring_query_language.trigger.percent
            conditions.condition_prometheus_query_language conditions.condition_prometheus_query_language.alert_rule
            conditions.condition_prometheus_query_language.disable_metric_validation
            conditions.condition_prometheus_query_language.duration
            conditions.condition_prometheus_query_language.evaluation_interval
            conditions.condition_prometheus_query_language.labels
            conditions.condition_prometheus_query_language.query!
            conditions.condition_prometheus_query_language.rule_group conditions.condition_sql
            conditions.condition_sql.boolean_test conditions.condition_sql.boolean_test.column!
            conditions.condition_sql.daily conditions.condition_sql.daily.execution_time
            conditions.condition_sql.daily.execution_time.hours
            conditions.condition_sql.daily.execution_time.minutes
            conditions.condition_sql.daily.execution_time.nanos
            conditions.condition_sql.daily.execution_time.seconds conditions.condition_sql.daily.periodicity!
            conditions.condition_sql.hourly conditions.condition_sql.hourly.minute_offset
            conditions.condition_sql.hourly.periodicity! conditions.condition_sql.minutes
            conditions.condition_sql.minutes.periodicity! conditions.condition_sql.query!
            conditions.condition_sql.row_count_test conditions.condition_sql.row_count_test.comparison!
            conditions.condition_sql.row_count_test.threshold! conditions.condition_threshold
            conditions.condition_threshold.aggregations conditions.condition_threshold.aggregations.alignment_period
            conditions.condition_threshold.aggregations.cross_series_reducer
            conditions.condition_threshold.aggregations.group_by_fields
            conditions.condition_threshold.aggregations.per_series_aligner
            conditions.condition_threshold.comparison! conditions.condition_threshold.denominator_aggregations
            conditions.condition_threshold.denominator_aggregations.alignment_period
            conditions.condition_threshold.denominator_aggregations.cross_series_reducer
            conditions.condition_threshold.denominator_aggregations.group_by_fields
            conditions.condition_threshold.denominator_aggregations.per_series_aligner
            conditions.condition_threshold.denominator_filter conditions.condition_threshold.duration!
            conditions.condition_threshold.evaluation_missing_data conditions.condition_threshold.filter
            conditions.condition_threshold.forecast_options
            conditions.condition_threshold.forecast_options.forecast_horizon!
            conditions.condition_threshold.threshold_value conditions.condition_threshold.trigger
            conditions.condition_threshold.trigger.count conditions.condition_threshold.trigger.percent
            conditions.display_name! display_name! documentation documentation.content documentation.links
            documentation.links.display_name documentation.links.url documentation.mime_type documentation.subject
            enabled notification_channels project severity user_labels
        """,
        "google_monitoring_dashboard": """
            dashboard_json! project
        """,
        "google_storage_bucket": """
            autoclass autoclass.enabled! autoclass.terminal_storage_class cors cors.max_age_seconds cors.method
            cors.origin cors.response_header custom_placement_config custom_placement_config.data_locations!
            default_event_based_hold enable_object_retention encryption encryption.default_kms_key_name!
            force_destroy hierarchical_namespace hierarchical_namespace.enabled! ip_filter
            ip_filter.allow_all_service_agent_access ip_filter.allow_cross_org_vpcs ip_filter.mode!
            ip_filter.public_network_source ip_filter.public_network_source.allowed_ip_cidr_ranges!
            ip_filter.vpc_network_sources ip_filter.vpc_network_sources.allowed_ip_cidr_ranges!
            ip_filter.vpc_network_sources.network! labels lifecycle_rule lifecycle_rule.action!
            lifecycle_rule.action.storage_class lifecycle_rule.action.type! lifecycle_rule.condition!
            lifecycle_rule.condition.age lifecycle_rule.condition.created_before
            lifecycle_rule.condition.custom_time_before lifecycle_rule.condition.days_since_custom_time
            lifecycle_rule.condition.days_since_noncurrent_time lifecycle_rule.condition.matches_prefix
            lifecycle_rule.condition.matches_storage_class lifecycle_rule.condition.matches_suffix
            lifecycle_rule.condition.noncurrent_time_before lifecycle_rule.condition.num_newer_versions
            lifecycle_rule.condition.send_age_if_zero lifecycle_rule.condition.send_days_since_custom_time_if_zero
            lifecycle_rule.condition.send_days_since_noncurrent_time_if_zero
            lifecycle_rule.condition.send_num_newer_versions_if_zero lifecycle_rule.condition.with_state location!
            logging logging.log_bucket! logging.log_object_prefix name! project public_access_prevention
            requester_pays retention_policy retention_policy.is_locked retention_policy.retention_period! rpo
            soft_delete_policy soft_delete_policy.retention_duration_seconds storage_class
            uniform_bucket_level_access versioning versioning.enabled! website website.main_page_suffix
            website.not_found_page
        """,
        "google_storage_bucket_iam_member": """
            bucket! condition condition.description condition.expression! condition.title! member! role!
        """,
        "google_storage_project_service_account": """
            project user_project
        """,
        "google_secret_manager_secret": """
            annotations deletion_protection expire_time labels project replication! replication.auto
            replication.auto.customer_managed_encryption replication.auto.customer_managed_encryption.kms_key_name!
            replication.user_managed replication.user_managed.replicas!
            replication.user_managed.replicas.customer_managed_encryption
            replication.user_managed.replicas.customer_managed_encryption.kms_key_name!
            replication.user_managed.replicas.location! rotation rotation.next_rotation_time
            rotation.rotation_period secret_id! tags topics topics.name! ttl version_aliases version_destroy_ttl
        """,
        "google_secret_manager_secret_version": """
            deletion_policy enabled is_secret_data_base64 secret! secret_data secret_data_wo secret_data_wo_version
        """,
        "google_secret_manager_secret_iam_member": """
            condition condition.description condition.expression! condition.title! member! project role! secret_id!
        """,
        "google_project_service_identity": """
            project service!
        """,
    },
}
