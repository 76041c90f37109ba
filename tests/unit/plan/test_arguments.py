"""Every property of every plan is an argument that the provider's SDK knows by that name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.namespace import CustomerKey, Diagnostics
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.values import Resource
from polybus.topology.file import loads

COMMON = """
[bus]
name = "shop"
[topics.orders]
ordered = true
[topics.news]
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[subscriptions.call]
topic = "news"
push = { function = "mailer" }
[queues.jobs]
[queues.steps]
ordered = true
[services.work]
publishes = ["orders", "jobs"]
consumes = ["billing", "steps"]
operates = ["billing", "jobs"]
[alarms]
notify = { email = "ops@example.com", topic = "%s" }
"""
BODIES = 'large_bodies = { over = "100KiB" }\n'
HTTPS = '[subscriptions.hook]\ntopic = "news"\npush = { https = "https://example.com/in", raw = true }\n'
FORWARD = '[subscriptions.on]\ntopic = "news"\npush = { forward = "jobs" }\n'
ALERTS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/actionGroups/a"


def resources() -> Iterator[Resource]:
    key = CustomerKey(
        "https://v.vault.azure.net",
        "key",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
    )
    yield from aws.plan(
        loads(BODIES + COMMON % "arn:aws:sns:r:1:ops" + HTTPS + FORWARD, source="x"),
        aws.AwsSettings(
            stack="dev",
            kms_key="arn:aws:kms:r:1:key/k",
            roles={"work": "r"},
            functions={"mailer": "arn:aws:lambda:eu-west-1:111122223333:function:l"},
            composite_alarms="service",
            delivery_logs=10,
        ),
    ).resources
    yield from azure.plan(
        loads(COMMON % ALERTS + FORWARD, source="x"),
        azure.AzureSettings(
            stack="dev",
            location="westeurope",
            sku="Premium",
            subnet="/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/x",
            private_dns_zone="/subscriptions/s/privateDnsZones/privatelink.servicebus.windows.net",
            customer_key=key,
            principals={"work": azure.Principal("00000000-0000-0000-0000-000000000001")},
            functions={"mailer": azure.Principal("00000000-0000-0000-0000-000000000002")},
            bindings="/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v",
            diagnostics=Diagnostics(
                workspace="/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w",
                storage="/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a",
            ),
        ),
    ).resources
    store = "/subscriptions/s/resourceGroups/g/providers/Microsoft.AppConfiguration/configurationStores/c"
    yield from azure.plan(
        loads(BODIES + COMMON % ALERTS, source="x"),
        azure.AzureSettings(
            location="westeurope",
            sku="Premium",
            customer_key=key,
            principals={"work": azure.Principal("00000000-0000-0000-0000-000000000001")},
            functions={"mailer": azure.Principal("00000000-0000-0000-0000-000000000002")},
            bindings=store,
        ),
    ).resources
    yield from gcp.plan(
        loads(BODIES + COMMON % "projects/p/topics/ops" + HTTPS, source="x"),
        gcp.GcpSettings(
            bodies_location="EU",
            stack="dev",
            project="p",
            regions=("europe-west1",),
            kms_key="projects/p/locations/europe/keyRings/r/cryptoKeys/k",
            push_account="push@p",
            members={"work": "serviceAccount:w"},
            functions={"mailer": "https://mailer-12.europe-west1.run.app"},
        ),
    ).resources


def class_of(type_: str) -> Any:
    """Find the SDK's class: `aws:sqs/queue:Queue` is `pulumi_aws.sqs.Queue`."""
    package, module, name = type_.split(":")
    module = {"lambda": "lambda_"}.get(module.split("/")[0], module.split("/")[0])
    return getattr(importlib.import_module(f"pulumi_{package.replace('-', '_')}.{module}"), name)


# The SDKs themselves warn, at import, of modules of theirs that moved.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("type_", sorted({resource.type for resource in resources() if resource.kind != "lookup"}))
def test_arguments_are_the_provider_s(type_: str) -> None:
    known = set(inspect.signature(class_of(type_)._internal_init).parameters)
    for resource in resources():
        if resource.type == type_:
            assert set(resource.properties) <= known, set(resource.properties) - known
