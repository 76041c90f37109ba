"""All that is Google Pub/Sub's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybus.cloud import Cloud
from polybus.lazy import imported_at_first_use

if TYPE_CHECKING:
    from polybus.clouds.gcp.plan.resources import GcpSettings

__all__ = ["CLOUD", "GcpSettings"]

CLOUD = Cloud(
    name="gcp",
    title="Google Pub/Sub",
    driver="polybus.clouds.gcp.driver:driver",
    planning="polybus.clouds.gcp.plan.planning:PLANNING",
    provider="polybus.clouds.gcp.stack:PROVIDER",
    live="polybus.clouds.gcp.live:live",
    local="polybus.clouds.gcp.local:LOCAL",
    laptop="polybus.clouds.gcp.laptop:LAPTOP",
    reference="polybus.clouds.gcp.reference:read",
    schemes=("secretmanager",),
    terraform="polybus.clouds.gcp.plan.terraform:TERRAFORM",
    running="polybus.clouds.gcp.plan.running:RUNNING",
    runs_on=("keda", "cloudrun"),
    packages={"google": "google-cloud-pubsub", "grpc": "google-cloud-pubsub"},
    extra="gcp",
    loggers=("google", "grpc"),
    system="gcp_pubsub",
    function="a Cloud Run URL",
    platforms={
        "K_SERVICE": "Cloud Run",
        "CLOUD_RUN_JOB": "Cloud Run",
        "FUNCTION_TARGET": "Cloud Run functions",
        "GAE_SERVICE": "App Engine",
    },
)

__getattr__ = imported_at_first_use("polybus.clouds.gcp", {"GcpSettings": "plan.resources"})
