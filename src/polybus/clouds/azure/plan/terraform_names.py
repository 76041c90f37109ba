"""The argument names of Terraform's provider azure/azapi, by version and type, the newest version first.

tests/unit/plan/terraform_schemas.py writes this file from the schemas themselves. Behind a dot stand those inside of
another, ! behind those that are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["TABLES"]

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "2.13.0": {
        "azapi_resource": """
            body create_headers create_query_parameters delete_headers delete_query_parameters identity
            identity.identity_ids identity.type! ignore_body_changes ignore_casing ignore_missing_property
            ignore_null_property ignore_other_items_in_list list_unique_id_property location locks name parent_id
            read_headers read_query_parameters replace_triggers_external_values replace_triggers_refs
            response_export_values retry retry.error_message_regex! retry.interval_seconds
            retry.max_interval_seconds retry.multiplier retry.randomization_factor schema_validation_enabled
            sensitive_body sensitive_body_version tags type! update_headers update_query_parameters
        """,
        "azapi_update_resource": """
            body ignore_casing ignore_missing_property ignore_other_items_in_list list_unique_id_property locks name
            parent_id read_headers read_override read_override.action! read_override.method! read_query_parameters
            replace_triggers_external_values resource_id response_export_values retry retry.error_message_regex!
            retry.interval_seconds retry.max_interval_seconds retry.multiplier retry.randomization_factor
            sensitive_body sensitive_body_version type! update_headers update_query_parameters
        """,
    },
}
