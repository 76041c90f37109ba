"""A service on Kubernetes: the Deployment or the Job's template, who it is there, and the binding that it reads.

Sources: [K8S] "Pod lifecycle", "Configure liveness, readiness and startup probes", "Pod security standards" (the
restricted one) and "ConfigMaps" of the Kubernetes documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polybus.plan.names import short_hash
from polybus.plan.run.ending import stop_seconds
from polybus.plan.run.model import HEALTH_PORT, Document, Scene, Workload

__all__ = ["Access", "account", "binding", "deployment", "name_of", "pod"]

_NAME = 63
"""Characters of a name where a DNS label is wanted, as of what a label's value is [K8S]."""

_USER = 65_532
"""A user that no image has for anything else: `nonroot` of the distroless images. Any but 0 does [K8S]."""

_FOLDER = "/etc/polybus"
_FILE = "binding.json"


@dataclass(frozen=True, slots=True)
class Access:
    """What makes a pod somebody whom the cloud knows: annotations of its account, labels of the pod, variables."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    account_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def name_of(workload: Workload) -> str:
    """Name all that a service has on Kubernetes."""
    return workload.name(_NAME)


def metadata(scene: Scene, workload: Workload, **more: Any) -> dict[str, Any]:
    """Give the metadata of one thing of a service."""
    found = {"name": name_of(workload), "namespace": scene.namespace, "labels": _labels(workload)}
    return {**found, **more}


def account(scene: Scene, workload: Workload, access: Access) -> Document:
    """Give the ServiceAccount that a service runs as."""
    labels = {**_labels(workload), **access.account_labels}
    annotations = {"annotations": dict(access.annotations)} if access.annotations else {}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(scene, workload, labels=labels, **annotations),
        "automountServiceAccountToken": False,  # nothing here calls Kubernetes itself
    }


def binding(scene: Scene, workload: Workload) -> Document | None:
    """Give the ConfigMap with a service's binding; None where the service reads it where the stack puts it."""
    if workload.reference:
        return None
    data = {_FILE: workload.binding.to_compact_json()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(scene, workload), "data": data}


def deployment(scene: Scene, workload: Workload, access: Access) -> Document:
    """Give the Deployment; how many replicas it has is not said where something scales it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(scene, workload),
        "spec": {
            **({} if workload.scales else {"replicas": workload.least}),
            "selector": {"matchLabels": {"app.kubernetes.io/instance": name_of(workload)}},
            # A new one has to be ready before an old one goes: what gets no way to the bus replaces nothing.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": pod(workload, access),
        },
    }


def pod(workload: Workload, access: Access, **more: Any) -> Document:
    """Give the template of a service's pods."""
    mounted = not workload.reference
    annotations = {"polybus/binding": short_hash(workload.binding.to_compact_json())} if mounted else {}
    return {
        "metadata": {
            "labels": {**_labels(workload), **access.labels},
            # A ConfigMap that changes starts nothing anew [K8S]: a template that changes does.
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {
            "serviceAccountName": name_of(workload),
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": stop_seconds(workload.grace),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(workload, access)],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                *([{"name": "binding", "configMap": {"name": name_of(workload)}}] if mounted else []),
            ],
            **more,
        },
    }


def _container(workload: Workload, access: Access) -> Document:
    variables = {"POLYBUS_BINDING": workload.reference or f"{_FOLDER}/{_FILE}", **access.variables}
    return {
        "name": "service",
        "image": workload.image,
        "command": list(workload.command),
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "ports": [{"name": "health", "containerPort": HEALTH_PORT}],
        **_probes(),
        # No limit of cores: a consumer that is slowed down loses its leases.
        "resources": {
            "requests": {"cpu": f"{math.ceil(workload.cpu * 1000)}m", "memory": f"{workload.memory}Mi"},
            "limits": {"memory": f"{workload.memory}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            *([] if workload.reference else [{"name": "binding", "mountPath": _FOLDER, "readOnly": True}]),
        ],
    }


def _probes() -> Document:
    """Give the probes: restarted by /live alone, and rolled out by /ready.

    The health server answers once the apps are imported: two minutes for that, where an image is cold and the cores
    are few. A probe's own default is to wait 1 s, in which a loop that is merely busy may not answer.
    """

    def probe(path: str, every: int, failures: int) -> Document:
        asked = {"path": path, "port": "health"}
        return {"httpGet": asked, "periodSeconds": every, "timeoutSeconds": 5, "failureThreshold": failures}

    return {
        "startupProbe": probe("/live", 5, 24),
        "livenessProbe": probe("/live", 10, 3),
        "readinessProbe": probe("/ready", 5, 3),
    }


def _labels(workload: Workload) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": workload.service.name,
        "app.kubernetes.io/instance": name_of(workload),
        "app.kubernetes.io/part-of": workload.bus,
    }
