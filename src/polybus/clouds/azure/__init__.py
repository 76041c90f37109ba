"""All that is Azure Service Bus's own."""

from __future__ import annotations

from polybus.cloud import Cloud

__all__ = ["CLOUD"]

CLOUD = Cloud(
    name="azure",
    title="Azure Service Bus",
    driver="polybus.clouds.azure.driver:driver",
    planning="polybus.clouds.azure.plan.planning:PLANNING",
    provider="polybus.clouds.azure.stack:PROVIDER",
    live="polybus.clouds.azure.live:live",
    local="polybus.clouds.azure.local:LOCAL",
    packages={"azure": "azure-servicebus", "aiohttp": "aiohttp"},
    extra="azure",
    loggers=("aiohttp", "azure"),
    system="servicebus",
)
