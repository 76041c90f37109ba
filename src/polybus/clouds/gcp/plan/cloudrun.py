"""Services on Cloud Run: worker pools for what pulls, services for pushes, each as `gcloud run ... replace` takes it.

Worker pools have as many instances as they are told, and don't scale by themselves. What does is Google's autoscaler
for external metrics (CREMA), a Cloud Run service that asks KEDA's scalers: its configuration is written beside them.

Sources: [V1] run.googleapis.com v1, revision 20261031; [CC] "Container runtime contract"; [CPU] "Configure CPU limits
for worker pools"; [MS] "Manual scaling for worker pools", whose instance count is an annotation in YAML; [CR] CREMA's
own documentation of its configuration and rights (GoogleCloudPlatform/cloud-run-external-metrics-autoscaling); [ENV]
"Quotas and limits", of environment variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from polybus.clouds.gcp.plan.counting import VIEWER, email, mistaken, project, running_as, trigger
from polybus.clouds.gcp.plan.invokers import service_of
from polybus.errors import ConfigError
from polybus.plan.run.asked import DEFAULT
from polybus.plan.run.model import HEALTH_PORT, Document, Platform, Scene, Workload, Written, blank
from polybus.topology.quantities import format_duration

__all__ = ["PLATFORM"]

_NAME = 49
"""Characters of a name: less than 50 ("Cloud Run Admin API", of services)."""

_KILL_AFTER = 10.0
"""Seconds between SIGTERM and SIGKILL, which can't be changed [CC]."""

_ROOM = 2.0
"""Seconds of these for giving back what isn't handled, and for leaving, where nothing hangs: less than 1 s of CPU, on
the whole core that a worker pool has at least, and 1 s for the answers of Pub/Sub."""

_VARIABLE = 32_768
"""Bytes of a variable [ENV]."""

_LONGEST = 3_600
"""Seconds that a request may take [V1]."""

# MiB that worker pools may have with so many cores, from and to [CPU].
_SIZES: Final[Mapping[int, tuple[int, int]]] = {
    1: (512, 4_096),
    2: (512, 8_192),
    4: (2_048, 16_384),
    6: (4_096, 24_576),
    8: (4_096, 32_768),
}

_POLLING = 30
"""Seconds between two looks of the autoscaler: KEDA's own. Cloud Monitoring has counts of whole minutes."""


def _write(scene: Scene) -> Written:
    written = Written()
    for workload in scene.workloads:
        _hold_grace(workload)
        if workload.pushed:
            written.add(f"{workload.service.name}.service", _service(scene, workload))
        if workload.sources or not workload.pushed:
            written.add(f"{workload.service.name}.worker-pool", _pool(scene, workload))
    scaled = [workload for workload in scene.workloads if workload.scales]
    if scaled:
        written.add("crema", _autoscaler(scene, scaled))
        written.add_plain("identities", {"identities": list(_identities(scene, scaled))})
    written.notes += _notes(scene, scaled)
    return written


def _hold_grace(workload: Workload) -> None:
    most = _KILL_AFTER - _ROOM
    if workload.grace > most:
        raise ConfigError(
            f"{workload.service.name}: grace: found {format_duration(workload.grace)}; Cloud Run kills "
            f"{_KILL_AFTER:g} s after the signal to end, and giving back takes up to {_ROOM:g} s; instead: --grace "
            f"{format_duration(most)} at most, or `polybus export keda`"
        )


def _pool(scene: Scene, workload: Workload) -> Document:
    return {
        "apiVersion": "run.googleapis.com/v1",
        "kind": "WorkerPool",
        "metadata": {
            "name": workload.name(_NAME),
            "namespace": project(scene.plan),
            "labels": {"cloud.googleapis.com/location": blank("CLOUD_RUN_REGION")},
            "annotations": {  # [MS]
                "run.googleapis.com/scalingMode": "manual",
                "run.googleapis.com/manualInstanceCount": str(workload.least),
            },
        },
        "spec": {
            "template": {
                "spec": {"serviceAccountName": email(scene.plan, workload), "containers": [_worker(scene, workload)]}
            }
        },
    }


def _worker(scene: Scene, workload: Workload) -> Document:
    def probe(path: str, every: int, failures: int) -> Document:
        asked = {"path": path, "port": HEALTH_PORT}
        return {"httpGet": asked, "periodSeconds": every, "timeoutSeconds": 5, "failureThreshold": failures}

    return {
        **_container(scene, workload),
        "command": list(workload.command),
        # A new revision's instances count as started once they are ready: two minutes for that. None is asked later
        # whether it is ready, since nothing is sent to it.
        "startupProbe": probe("/ready", 5, 24),
        "livenessProbe": probe("/live", 10, 3),
    }


def _container(scene: Scene, workload: Workload) -> Document:
    variables = {"POLYBUS_BINDING": _binding(workload), "GOOGLE_CLOUD_PROJECT": project(scene.plan)}
    cores, memory = _size(workload)
    return {
        "name": "service",
        "image": workload.image,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "resources": {"limits": {"cpu": str(cores), "memory": f"{memory}Mi"}},
    }


def _binding(workload: Workload) -> str:
    text = workload.reference or workload.binding.to_compact_json()
    if len(text.encode()) > _VARIABLE:
        raise ConfigError(
            f"{workload.service.name}: a binding of {len(text.encode()):,} bytes; Cloud Run takes {_VARIABLE:,} in a "
            "variable; instead: bindings = secretmanager in the stack's configuration"
        )
    return text


def _size(workload: Workload) -> tuple[int, int]:
    """Return the cores and MiB of the smallest instance that has what is asked for."""
    for cores, (least, most) in _SIZES.items():
        memory = max(workload.memory, least)
        if cores >= math.ceil(workload.cpu) and memory <= most:
            return cores, memory
    most_cores = max(_SIZES)
    raise ConfigError(
        f"{workload.service.name}: found cpu {workload.cpu:g} and memory {workload.memory}MiB; Cloud Run has up to "
        f"{most_cores} cores and {_SIZES[most_cores][1]}MiB"
    )


def _service(scene: Scene, workload: Workload) -> Document:
    """Give the service behind pushes: an ASGI app of `polybus.serverless.cloud_run`, for as long as a lease is."""
    name, region = _address(scene, workload)
    asgi = workload.blank("asgi")
    lease = max(math.ceil(item.lease) for item in workload.pushed)
    command = ["uvicorn", asgi, "--host", "0.0.0.0", "--port", str(HEALTH_PORT)]  # noqa: S104 - where it is asked [CC]
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": project(scene.plan),
            "labels": {"cloud.googleapis.com/location": region},
        },
        "spec": {
            "template": {
                "metadata": {
                    "annotations": {
                        "autoscaling.knative.dev/minScale": str(workload.least),
                        "autoscaling.knative.dev/maxScale": str(workload.most),
                    }
                },
                "spec": {
                    "serviceAccountName": email(scene.plan, workload),
                    "timeoutSeconds": min(lease, _LONGEST),
                    "containers": [
                        {
                            **_container(scene, workload),
                            "command": [*command, "--timeout-graceful-shutdown", str(math.ceil(workload.grace))],
                            "ports": [{"containerPort": HEALTH_PORT}],
                        }
                    ],
                },
            }
        },
    }


def _address(scene: Scene, workload: Workload) -> tuple[str, str]:
    """Return the name and region that the address says which the stack pushes to, else the usual ones."""
    said = service_of(scene.plan.settings.functions.get(workload.service.name))
    return said or (workload.name(_NAME), blank("CLOUD_RUN_REGION"))


def _autoscaler(scene: Scene, scaled: list[Workload]) -> Document:
    """Give CREMA's configuration, of KEDA's own objects [CR]."""
    where = f"projects/{project(scene.plan)}/locations/{blank('CLOUD_RUN_REGION')}/workerpools"

    def triggers(workload: Workload) -> list[dict[str, Any]]:
        found = (trigger(source, workload.messages) for source in workload.sources)
        return [{**one, "authenticationRef": {"name": "polybus"}} for one in found]

    return {
        "apiVersion": "crema/v1",
        "kind": "CremaConfig",
        "spec": {
            "pollingInterval": _POLLING,
            "triggerAuthentications": [{"metadata": {"name": "polybus"}, "spec": {"podIdentity": {"provider": "gcp"}}}],
            "scaledObjects": [
                {
                    "spec": {
                        "scaleTargetRef": {"name": f"{where}/{workload.name(_NAME)}"},
                        "minReplicaCount": workload.least,
                        "maxReplicaCount": workload.most,
                        "triggers": triggers(workload),
                    }
                }
                for workload in scaled
            ],
        },
    }


def _identities(scene: Scene, scaled: list[Workload]) -> Iterator[Document]:
    """Give what the autoscaler's service account has to be granted [CR]."""
    member = f"serviceAccount:{blank('CREMA_SERVICE_ACCOUNT')}"
    for role in ("roles/parametermanager.parameterViewer", VIEWER):
        yield {"project": project(scene.plan), "role": role, "members": [member]}
    for workload in scaled:
        yield {"workerPool": workload.name(_NAME), "role": "roles/run.developer", "members": [member]}
    wanted = {workload.service.name for workload in scaled}
    for account, workloads in running_as(scene).items():
        if any(workload.service.name in wanted for workload in workloads):
            yield {"serviceAccount": account, "role": "roles/iam.serviceAccountUser", "members": [member]}


def _notes(scene: Scene, scaled: list[Workload]) -> Iterator[str]:
    if scaled:
        yield (
            "worker pools don't scale by themselves: crema.yaml is for Google's autoscaler for external metrics, a "
            "service of its own; without it they have the instances that they begin with"
        )
    if any(not workload.pushed or workload.sources for workload in scene.workloads):
        yield (
            f"Cloud Run kills {_KILL_AFTER:g} s after the signal to end: a drain that hangs is cut off, and what was "
            "held comes again when its lease ends"
        )
    for workload in scene.workloads:
        if workload.pushed and service_of(scene.plan.settings.functions.get(workload.service.name)) is None:
            yield (
                f"{workload.service.name}: the stack's configuration doesn't say which Cloud Run service its pushes go "
                f"to; this one is called {workload.name(_NAME)}"
            )
    yield from mistaken(scene)


# Five of the ten seconds are the handlers' own. A worker pool has a core and 512 MiB at least [CPU].
PLATFORM = Platform(write=_write, defaults=replace(DEFAULT, grace=5.0, cpu=1.0))
