"""Services on Azure Container Apps: the app with its scale rules, as `az containerapp create --yaml` takes it.

Sources: [M] Microsoft.App 2026-07-01 in azure-mgmt-appcontainers 5.1; [S] "Set scaling rules in Azure Container Apps";
[L] "Application lifecycle management in Azure Container Apps"; [MI] "Managed identities in Azure Container Apps"; [C]
"Containers in Azure Container Apps", whose table has the sizes of the Consumption plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from polybus.clouds.azure.plan.counting import DATA_OWNER, namespace_id, trigger
from polybus.clouds.azure.plan.tags import TAGS
from polybus.errors import ConfigError
from polybus.plan.run.ending import hold, stop_seconds
from polybus.plan.run.model import HEALTH_PORT, Document, Platform, Scene, Workload, Written, blank, label_name
from polybus.plan.tags import tags_of

__all__ = ["PLATFORM"]

_KILL_AFTER = 600
"""Seconds of terminationGracePeriodSeconds at most [L]."""

_NAME = 32
"""Characters of an app's name ("Naming rules and restrictions for Azure resources", Microsoft.App)."""

_MOST = 1_000
"""Replicas of a revision at most [S]."""

# Cores in steps, with 2 GiB each, up to four cores [C].
_STEP, _CORES = 0.25, 4.0

# Seconds between two looks, and from the last message to the fewest replicas: its own [S].
_POLLING, _COOLDOWN = 30, 300

# Where Entra ID is in the other clouds, which a managed identity isn't told ("National clouds").
_AUTHORITIES = {"usgovernment": "login.microsoftonline.us", "china": "login.chinacloudapi.cn"}


def _write(scene: Scene) -> Written:
    written = Written()
    for workload in scene.workloads:
        hold(f"{workload.service.name}: grace", workload.grace, _KILL_AFTER, "Container Apps")
        if workload.most > _MOST:
            raise ConfigError(f"{workload.service.name}: found max {workload.most}; allowed: up to {_MOST:,}")
        written.add(workload.service.name, _app(scene, workload))
    if any(workload.scales for workload in scene.workloads):
        written.add_plain("identities", {"identities": [_scaler(scene)]})
        written.notes.append(
            f"Container Apps count by the identity SCALER_IDENTITY_ID, which needs {DATA_OWNER} on the namespace: "
            "Service Bus tells counts to whoever manages alone. The services' containers can't use it"
        )
    return written


def _scaler(scene: Scene) -> Document:
    role = {"role": DATA_OWNER, "scope": namespace_id(scene.plan)}
    return {"identity": blank("SCALER_IDENTITY_ID"), "roleAssignment": role}


def _app(scene: Scene, workload: Workload) -> Document:
    plan = scene.plan
    identities = list(_identities(workload))
    return {
        "name": workload.name(_NAME),
        "type": "Microsoft.App/containerApps",
        "location": str(plan.settings.location or blank("AZURE_LOCATION")),
        "tags": dict(tags_of(plan.topology, plan.settings.stack, plan.settings.tags, TAGS)),
        "identity": {
            "type": "UserAssigned",
            "userAssignedIdentities": {one["identity"]: {} for one in identities},
        },
        "properties": {
            "environmentId": blank("CONTAINERAPPS_ENVIRONMENT_ID"),
            # One revision at a time: the old one goes once the new one is ready.
            "configuration": {"activeRevisionsMode": "Single", "identitySettings": identities},
            "template": {
                "terminationGracePeriodSeconds": stop_seconds(workload.grace),
                "containers": [_container(scene, workload)],
                "scale": _scale(scene, workload),
            },
        },
    }


def _identities(workload: Workload) -> Iterator[dict[str, Any]]:
    """Give who the service is, and who counts for it: the platform alone may be that one [MI]."""
    yield {"identity": workload.blank("identity id"), "lifecycle": "Main"}
    if workload.scales:
        yield {"identity": blank("SCALER_IDENTITY_ID"), "lifecycle": "None"}


def _container(scene: Scene, workload: Workload) -> Document:
    cores, gibibytes = _size(workload)
    environment = scene.plan.settings.environment or "public"
    variables = {
        "POLYBUS_BINDING": workload.binding.to_compact_json(),
        "AZURE_CLIENT_ID": workload.blank("client id"),  # which of several identities azure-identity asks for
        **({"AZURE_AUTHORITY_HOST": _AUTHORITIES[environment]} if environment in _AUTHORITIES else {}),
    }
    return {
        "name": "service",
        "image": workload.image,
        "command": list(workload.command),
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "resources": {"cpu": cores, "memory": f"{gibibytes:g}Gi"},
        "probes": [
            _probe("Startup", "/live", 12, 10),  # two minutes, in at most ten tries [M]
            _probe("Liveness", "/live", 10, 3),
            _probe("Readiness", "/ready", 5, 3),
        ],
    }


def _probe(type_: str, path: str, every: int, failures: int) -> Document:
    asked = {"path": path, "port": HEALTH_PORT}
    return {
        "type": type_,
        "httpGet": asked,
        "periodSeconds": every,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _size(workload: Workload) -> tuple[float, float]:
    """Return the cores and GiB of the smallest size that has what is asked for."""
    steps = max(math.ceil(workload.cpu / _STEP), math.ceil(workload.memory / 1_024 / (2 * _STEP)))
    cores = steps * _STEP
    if cores > _CORES:
        raise ConfigError(
            f"{workload.service.name}: found cpu {workload.cpu:g} and memory {workload.memory}MiB; Container Apps have "
            f"up to {_CORES:g} cores and {2 * _CORES:g}GiB"
        )
    return cores, 2 * cores


def _scale(scene: Scene, workload: Workload) -> Document:
    if not workload.scales:
        return {"minReplicas": workload.least, "maxReplicas": max(workload.least, 1)}
    rules = []
    for source in workload.sources:
        counted = trigger(scene.plan, source, workload.messages)
        custom = {"type": counted["type"], "metadata": counted["metadata"], "identity": blank("SCALER_IDENTITY_ID")}
        rules.append({"name": label_name(source.name, longest=_NAME), "custom": custom})
    return {
        "minReplicas": workload.least,
        "maxReplicas": workload.most,
        "pollingInterval": _POLLING,
        "cooldownPeriod": _COOLDOWN,
        "rules": rules,
    }


PLATFORM = Platform(write=_write)
