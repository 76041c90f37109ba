"""Services on Kubernetes, scaled by KEDA: by what waits and what is in flight, of each source that they consume.

Sources, of KEDA 2.20: [SO] "ScaledObject specification"; [SJ] "ScaledJob specification"; [AP] "Authentication
providers".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from polybus.plan.run.kubernetes import Access, account, binding, deployment, metadata, name_of, pod
from polybus.plan.run.model import Document, Platform, Scene, Source, Workload, Written

__all__ = ["OPERATOR", "Keda", "platform"]

OPERATOR = "system:serviceaccount:keda:keda-operator"
"""Who KEDA's operator is to the cluster, where its chart is installed as it stands [AP]."""

_POLLING, _COOLDOWN = 30, 300
"""Seconds between two looks while nothing runs, and from the last message to none running: KEDA's own [SO]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keda:
    """A cloud on Kubernetes.

    `trigger` gives a source's trigger without its authentication, `access` what makes a service's pods somebody,
    `authentication` the podIdentity by which KEDA counts a service's messages. `identities` gives what has to be set
    up in the cloud for these, and `notes` what else has to be said. `ways` are how pods may prove who they are.
    """

    trigger: Callable[[Scene, Workload, Source], Document]
    access: Callable[[Scene, Workload], Access]
    authentication: Callable[[Scene, Workload], Document]
    identities: Callable[[Scene], Iterable[Document]]
    notes: Callable[[Scene], Iterable[str]]
    ways: tuple[str, ...] = ()


def platform(keda: Keda) -> Platform:
    """Return KEDA as a platform of a cloud."""
    return Platform(write=partial(_write, keda), identities=keda.ways, kubernetes=True, jobs=True)


def _write(keda: Keda, scene: Scene) -> Written:
    written = Written()
    for workload in scene.workloads:
        written.add(workload.service.name, *_documents(keda, scene, workload))
    identities = list(keda.identities(scene))
    if identities:
        written.add_plain("identities", {"identities": identities})
    written.notes += keda.notes(scene)
    return written


def _documents(keda: Keda, scene: Scene, workload: Workload) -> Iterable[Document]:
    access = keda.access(scene, workload)
    yield account(scene, workload, access)
    read = binding(scene, workload)
    if read is not None:
        yield read
    jobs = scene.jobs and bool(workload.sources)
    if not jobs:
        yield deployment(scene, workload, access)
    if jobs or workload.scales:
        yield _authentication(scene, workload, keda.authentication(scene, workload))
        triggers = [
            {**keda.trigger(scene, workload, source), "authenticationRef": {"name": name_of(workload)}}
            for source in workload.sources
        ]
        yield _scaled_job(scene, workload, access, triggers) if jobs else _scaled(scene, workload, triggers)


def _authentication(scene: Scene, workload: Workload, identity: Document) -> Document:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": metadata(scene, workload),
        "spec": {"podIdentity": dict(identity)},
    }


def _scaled(scene: Scene, workload: Workload, triggers: list[dict[str, Any]]) -> Document:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(scene, workload),
        "spec": {
            "scaleTargetRef": {"name": name_of(workload)},
            **_bounds(workload),
            "cooldownPeriod": _COOLDOWN,
            "triggers": triggers,
        },
    }


def _scaled_job(scene: Scene, workload: Workload, access: Access, triggers: list[dict[str, Any]]) -> Document:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledJob",
        "metadata": metadata(scene, workload),
        "spec": {
            "jobTargetRef": {
                "backoffLimit": 0,  # what failed is in the queue still, so the next look starts another
                "template": pod(workload, access, restartPolicy="Never"),
            },
            **_bounds(workload),
            # Each job holds some of what is counted: this strategy takes those that run off what is wanted, which is
            # right where what is in flight is counted too [SJ]. Of two sources the fuller one decides.
            "scalingStrategy": {"strategy": "default", "multipleScalersCalculation": "max"},
            # A new version is for new jobs; those that run end by themselves [SJ].
            "rollout": {"strategy": "gradual"},
            "triggers": triggers,
        },
    }


def _bounds(workload: Workload) -> Mapping[str, int]:
    return {
        "pollingInterval": _POLLING,
        "minReplicaCount": workload.least,
        "maxReplicaCount": workload.most,
    }
