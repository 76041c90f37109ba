"""All that is Azure Service Bus's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybus.cloud import Cloud
from polybus.lazy import imported_at_first_use

if TYPE_CHECKING:
    from polybus.clouds.azure.plan.namespace import AzureSettings, CustomerKey, Diagnostics, Principal

__all__ = ["CLOUD", "AzureSettings", "CustomerKey", "Diagnostics", "Principal"]

CLOUD = Cloud(
    name="azure",
    title="Azure Service Bus",
    driver="polybus.clouds.azure.driver:driver",
    planning="polybus.clouds.azure.plan.planning:PLANNING",
    provider="polybus.clouds.azure.stack:PROVIDER",
    live="polybus.clouds.azure.live:live",
    local="polybus.clouds.azure.local:LOCAL",
    laptop="polybus.clouds.azure.laptop:LAPTOP",
    reference="polybus.clouds.azure.reference:read",
    schemes=("keyvault", "appconfig"),
    terraform="polybus.clouds.azure.plan.terraform:TERRAFORM",
    running="polybus.clouds.azure.plan.running:RUNNING",
    runs_on=("keda", "containerapps"),
    packages={"azure": "azure-servicebus", "aiohttp": "aiohttp"},
    extra="azure",
    loggers=("aiohttp", "azure"),
    system="servicebus",
    no_delay_on=("ordered topics", "ordered queues"),
    function="an Azure Functions resource id",
    platforms={
        "WEBSITE_SITE_NAME": "Azure App Service",
        "FUNCTIONS_WORKER_RUNTIME": "Azure Functions",
        "CONTAINER_APP_NAME": "Azure Container Apps",
        "CONTAINER_APP_JOB_NAME": "Azure Container Apps",
    },
)

__getattr__ = imported_at_first_use(
    "polybus.clouds.azure",
    {
        "AzureSettings": "plan.namespace",
        "CustomerKey": "plan.namespace",
        "Diagnostics": "plan.namespace",
        "Principal": "plan.namespace",
    },
)
