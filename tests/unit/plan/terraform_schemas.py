"""Writes the tables of the names that Terraform's providers take, from what others publish of them; no test.

    python -m tests.unit.plan.terraform_schemas CLOUD FILE...

A FILE is a wheel of a package `cdktn-provider-*` or `cdktf-cdktf-provider-*` (PyPI), which is generated from the schema
of one version of a provider, or what `terraform providers schema -json` prints of aws 5.100.0; the newest comes first.
Only names are taken: each argument, those inside of another behind it and a dot, with ! behind those that are required.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polybus

Names = Mapping[str, list[str]]

# What Terraform itself takes in each resource, what every old provider takes, and timeouts: none of it is planned.
_META = frozenset(
    ("connection", "count", "depends_on", "for_each", "id", "lifecycle", "provider", "provisioners", "timeouts")
)


def of_schema(schema: Mapping[str, Any], provider: str, types: list[str]) -> Names:
    """Read the real provider's own schema."""
    found = schema["provider_schemas"][f"registry.terraform.io/{provider}"]
    every = {**found["data_source_schemas"], **found["resource_schemas"]}
    return {type_: sorted(_of_block(every[type_]["block"], "")) for type_ in types}


def _of_block(block: Mapping[str, Any], within: str) -> Iterator[str]:
    for name, given in block.get("attributes", {}).items():
        if (within or name not in _META) and (given.get("optional") or given.get("required")):
            yield f"{within}{name}{'!' * bool(given.get('required'))}"
    for name, given in block.get("block_types", {}).items():
        if within or name not in _META:
            yield f"{within}{name}{'!' * (given.get('min_items', 0) > 0)}"
            yield from _of_block(given["block"], f"{within}{name}.")


def of_wheel(wheel: Path, types: Mapping[str, str]) -> Names:
    """Read the classes that were generated; `types` says where each type's module is in the package."""
    with zipfile.ZipFile(wheel) as packed:
        folder = re.sub(r"-.*", "", wheel.name)
        texts = {type_: packed.read(f"{folder}/{module}/__init__.py").decode() for type_, module in types.items()}
    return {type_: sorted(_of_module(text)) for type_, text in texts.items()}


def version_of(wheel: Path) -> str:
    """Return the version of the provider that a wheel was generated from."""
    with zipfile.ZipFile(wheel) as packed:
        [name] = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
        found = re.search(r"provider version (\d+\.\d+\.\d+)", packed.read(name).decode())
    assert found is not None
    return found[1]


def _of_module(text: str) -> Iterator[str]:
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    [top] = [name for name in classes if name.endswith("Config") and "TerraformMetaArguments" in _bases(classes[name])]
    yield from _of_class(classes, top, "")


def _bases(node: ast.ClassDef) -> str:
    return " ".join(ast.unparse(base) for base in node.bases)


def _of_class(classes: Mapping[str, ast.ClassDef], name: str, within: str) -> Iterator[str]:
    made = next(node for node in classes[name].body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    real = dict(re.findall(r":param (\w+):.*?/docs/[\w-]+/\w+#(\w+) ", ast.get_docstring(made) or ""))
    for argument, default in zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True):
        own = real.get(argument.arg, argument.arg)
        if not within and own in _META:
            continue
        yield f"{within}{own}{'!' * (default is None)}"
        inside = [found for found in re.findall(r"\w+", ast.unparse(argument.annotation or made)) if found in classes]
        if inside:
            yield from _of_class(classes, inside[0], f"{within}{own}.")


_OLDEST = "5.100.0"  # whose schema the JSON file is

_HEAD = '''"""The argument names of Terraform's provider {provider}, by version and type, the newest version first.

tests/unit/plan/terraform_schemas.py writes this file from the schemas themselves. Behind a dot stand those inside of
another, ! behind those that are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

'''


def _table(version: str, names: Names) -> list[str]:
    lines = [f'    "{version}": {{']
    for type_, found in names.items():
        wrapped = textwrap.wrap(" ".join(found), width=104, break_long_words=False, break_on_hyphens=False)
        lines += [f'        "{type_}": """', *(f"            {line}" for line in wrapped), '        """,']
    return [*lines, "    },"]


# Each type's module in the wheel is its name without the provider's; those that are only read have another.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "aws": (
        "aws_region",
        "aws_caller_identity",
        "aws_sns_topic",
        "aws_sns_topic_policy",
        "aws_sns_topic_subscription",
        "aws_sqs_queue",
        "aws_sqs_queue_policy",
        "aws_sqs_queue_redrive_policy",
        "aws_sqs_queue_redrive_allow_policy",
        "aws_lambda_permission",
        "aws_iam_policy",
        "aws_iam_role_policy_attachment",
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_cloudwatch_metric_alarm",
        "aws_cloudwatch_composite_alarm",
        "aws_cloudwatch_log_group",
        "aws_cloudwatch_dashboard",
        "aws_s3_bucket",
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_lifecycle_configuration",
        "aws_s3_bucket_policy",
        "aws_ssm_parameter",
    ),
    "gcp": (
        "google_project",
        "google_pubsub_topic",
        "google_pubsub_subscription",
        "google_pubsub_topic_iam_member",
        "google_pubsub_subscription_iam_member",
        "google_kms_crypto_key_iam_member",
        "google_cloud_run_v2_service_iam_member",
        "google_monitoring_notification_channel",
        "google_monitoring_alert_policy",
        "google_monitoring_dashboard",
        "google_storage_bucket",
        "google_storage_bucket_iam_member",
        "google_storage_project_service_account",
        "google_secret_manager_secret",
        "google_secret_manager_secret_version",
        "google_secret_manager_secret_iam_member",
    ),
    "azure": ("azapi_resource", "azapi_update_resource"),
}
_BETA = ("google_project_service_identity",)  # in wheels of the beta provider alone
_READ = frozenset({"aws_region", "aws_caller_identity", "google_project", "google_storage_project_service_account"})


def main(cloud: str, *files: str) -> None:
    types = {type_: f"data_{type_}" if type_ in _READ else type_.partition("_")[2] for type_ in _TYPES[cloud]}
    tables: dict[str, dict[str, list[str]]] = {}
    for file in map(Path, files):
        if file.suffix == ".json":
            tables[_OLDEST] = dict(of_schema(json.loads(file.read_text()), "hashicorp/aws", list(types)))
        else:
            wanted = {type_: type_ for type_ in _BETA} if "google_beta" in file.name else types
            tables.setdefault(version_of(file), {}).update(of_wheel(file, wanted))
    provider = {"aws": "hashicorp/aws", "gcp": "hashicorp/google", "azure": "azure/azapi"}[cloud]
    lines = [_HEAD.format(provider=provider) + '__all__ = ["TABLES"]', ""]
    lines += ["TABLES: Final[Mapping[str, Mapping[str, str]]] = {"]
    for version, found in tables.items():
        lines += _table(version, found)
    folder = Path(polybus.__file__).parent / "clouds" / cloud / "plan"
    (folder / "terraform_names.py").write_text("\n".join([*lines, "}"]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
