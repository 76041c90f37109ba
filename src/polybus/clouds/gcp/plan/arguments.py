"""The argument names of the resources that pass-through tables reach, by type, from the provider's SDK.

tests/unit/plan/test_options.py compares it with the SDK that is installed, and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ARGUMENTS", "SDK"]

SDK: Final = ("pulumi_gcp", "10.2.0")

_NAMES: Final[Mapping[str, str]] = {
    "gcp:pubsub/subscription:Subscription": """
        ack_deadline_seconds bigquery_config bigquery_config.drop_unknown_fields
        bigquery_config.service_account_email bigquery_config.table bigquery_config.use_table_schema
        bigquery_config.use_topic_schema bigquery_config.write_metadata cloud_storage_config
        cloud_storage_config.avro_config cloud_storage_config.avro_config.use_topic_schema
        cloud_storage_config.avro_config.write_metadata cloud_storage_config.bucket
        cloud_storage_config.filename_datetime_format cloud_storage_config.filename_prefix
        cloud_storage_config.filename_suffix cloud_storage_config.max_bytes cloud_storage_config.max_duration
        cloud_storage_config.max_messages cloud_storage_config.service_account_email cloud_storage_config.state
        cloud_storage_config.text_config cloud_storage_config.text_config.state dead_letter_policy
        dead_letter_policy.dead_letter_topic dead_letter_policy.max_delivery_attempts deletion_policy
        enable_exactly_once_delivery enable_message_ordering expiration_policy expiration_policy.ttl filter labels
        message_retention_duration message_transforms message_transforms.ai_inference
        message_transforms.ai_inference.endpoint message_transforms.ai_inference.service_account_email
        message_transforms.ai_inference.unstructured_inference
        message_transforms.ai_inference.unstructured_inference.parameters message_transforms.disabled
        message_transforms.javascript_udf message_transforms.javascript_udf.code
        message_transforms.javascript_udf.function_name name project push_config push_config.attributes
        push_config.no_wrapper push_config.no_wrapper.write_metadata push_config.oidc_token
        push_config.oidc_token.audience push_config.oidc_token.service_account_email push_config.push_endpoint
        retain_acked_messages retry_policy retry_policy.maximum_backoff retry_policy.minimum_backoff tags topic
    """,
    "gcp:pubsub/topic:Topic": """
        deletion_policy ingestion_data_source_settings ingestion_data_source_settings.aws_kinesis
        ingestion_data_source_settings.aws_kinesis.aws_role_arn
        ingestion_data_source_settings.aws_kinesis.consumer_arn
        ingestion_data_source_settings.aws_kinesis.gcp_service_account
        ingestion_data_source_settings.aws_kinesis.stream_arn ingestion_data_source_settings.aws_msk
        ingestion_data_source_settings.aws_msk.aws_role_arn ingestion_data_source_settings.aws_msk.cluster_arn
        ingestion_data_source_settings.aws_msk.gcp_service_account ingestion_data_source_settings.aws_msk.topic
        ingestion_data_source_settings.azure_event_hubs ingestion_data_source_settings.azure_event_hubs.client_id
        ingestion_data_source_settings.azure_event_hubs.event_hub
        ingestion_data_source_settings.azure_event_hubs.gcp_service_account
        ingestion_data_source_settings.azure_event_hubs.namespace
        ingestion_data_source_settings.azure_event_hubs.resource_group
        ingestion_data_source_settings.azure_event_hubs.subscription_id
        ingestion_data_source_settings.azure_event_hubs.tenant_id ingestion_data_source_settings.cloud_storage
        ingestion_data_source_settings.cloud_storage.avro_format ingestion_data_source_settings.cloud_storage.bucket
        ingestion_data_source_settings.cloud_storage.match_glob
        ingestion_data_source_settings.cloud_storage.minimum_object_create_time
        ingestion_data_source_settings.cloud_storage.pubsub_avro_format
        ingestion_data_source_settings.cloud_storage.text_format
        ingestion_data_source_settings.cloud_storage.text_format.delimiter
        ingestion_data_source_settings.confluent_cloud
        ingestion_data_source_settings.confluent_cloud.bootstrap_server
        ingestion_data_source_settings.confluent_cloud.cluster_id
        ingestion_data_source_settings.confluent_cloud.gcp_service_account
        ingestion_data_source_settings.confluent_cloud.identity_pool_id
        ingestion_data_source_settings.confluent_cloud.topic ingestion_data_source_settings.platform_logs_settings
        ingestion_data_source_settings.platform_logs_settings.severity kms_key_name labels
        message_retention_duration message_storage_policy message_storage_policy.allowed_persistence_regions
        message_storage_policy.enforce_in_transit message_transforms message_transforms.ai_inference
        message_transforms.ai_inference.endpoint message_transforms.ai_inference.service_account_email
        message_transforms.ai_inference.unstructured_inference
        message_transforms.ai_inference.unstructured_inference.parameters message_transforms.disabled
        message_transforms.javascript_udf message_transforms.javascript_udf.code
        message_transforms.javascript_udf.function_name name project schema_settings schema_settings.encoding
        schema_settings.first_revision_id schema_settings.last_revision_id schema_settings.schema tags
    """,
}

ARGUMENTS: Final[Mapping[str, frozenset[str]]] = {type_: frozenset(text.split()) for type_, text in _NAMES.items()}
