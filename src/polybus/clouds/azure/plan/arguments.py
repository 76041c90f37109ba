"""The argument names of the resources that pass-through tables reach, by type, from the provider's SDK.

tests/unit/plan/test_options.py compares it with the SDK that is installed, and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ARGUMENTS", "SDK"]

SDK: Final = ("pulumi_azure_native", "3.29.0")

_NAMES: Final[Mapping[str, str]] = {
    "azure-native:servicebus:Queue": """
        auto_delete_on_idle dead_lettering_on_message_expiration default_message_time_to_live
        duplicate_detection_history_time_window enable_batched_operations enable_express enable_partitioning
        forward_dead_lettered_messages_to forward_to lock_duration max_delivery_count max_message_size_in_kilobytes
        max_size_in_megabytes namespace_name queue_name requires_duplicate_detection requires_session
        resource_group_name status user_metadata
    """,
    "azure-native:servicebus:Subscription": """
        auto_delete_on_idle client_affine_properties client_affine_properties.client_id
        client_affine_properties.is_durable client_affine_properties.is_shared
        dead_lettering_on_filter_evaluation_exceptions dead_lettering_on_message_expiration
        default_message_time_to_live duplicate_detection_history_time_window enable_batched_operations
        forward_dead_lettered_messages_to forward_to is_client_affine lock_duration max_delivery_count
        namespace_name requires_session resource_group_name status subscription_name topic_name user_metadata
    """,
    "azure-native:servicebus:Topic": """
        auto_delete_on_idle default_message_time_to_live duplicate_detection_history_time_window
        enable_batched_operations enable_express enable_partitioning max_message_size_in_kilobytes
        max_size_in_megabytes namespace_name requires_duplicate_detection resource_group_name status
        support_ordering topic_name user_metadata
    """,
}

ARGUMENTS: Final[Mapping[str, frozenset[str]]] = {type_: frozenset(text.split()) for type_, text in _NAMES.items()}
