"""All that is Google Pub/Sub's own."""

from __future__ import annotations

from polybus.cloud import Cloud

__all__ = ["CLOUD"]

CLOUD = Cloud(
    name="gcp",
    title="Google Pub/Sub",
    driver="polybus.clouds.gcp.driver:driver",
    planning="polybus.clouds.gcp.plan.planning:PLANNING",
    provider="polybus.clouds.gcp.stack:PROVIDER",
    live="polybus.clouds.gcp.live:live",
    local="polybus.clouds.gcp.local:LOCAL",
    packages={"google": "google-cloud-pubsub", "grpc": "google-cloud-pubsub"},
    extra="gcp",
    loggers=("google", "grpc"),
    system="gcp_pubsub",
)
