"""Where services on Pub/Sub run: Kubernetes with KEDA, as on GKE, and Cloud Run.

Sources: [KW] "GCP Workload Identity" of KEDA 2.20's documentation; [WI] "Authenticate to Google Cloud APIs from GKE
workloads".
"""

from __future__ import annotations

from collections.abc import Iterator

from polybus.clouds.gcp.plan import cloudrun
from polybus.clouds.gcp.plan.counting import ACCOUNT, VIEWER, email, find, mistaken, project, running_as, trigger
from polybus.plan.run.keda import Keda, platform
from polybus.plan.run.kubernetes import Access, name_of
from polybus.plan.run.model import Document, Running, Scene, Source, Workload, blank

__all__ = ["RUNNING"]


def _trigger(scene: Scene, workload: Workload, source: Source) -> Document:
    return trigger(source, workload.messages)


def _access(scene: Scene, workload: Workload) -> Access:
    return Access(
        annotations={"iam.gke.io/gcp-service-account": email(scene.plan, workload)},
        variables={"GOOGLE_CLOUD_PROJECT": project(scene.plan)},
    )


def _authentication(scene: Scene, workload: Workload) -> Document:
    return {"provider": "gcp"}


def _identities(scene: Scene) -> Iterator[Document]:
    """Give each service account once, with the accounts of Kubernetes that may be it [WI]."""
    pool = f"{ACCOUNT}{blank('GKE_PROJECT')}.svc.id.goog"
    for account, workloads in running_as(scene).items():
        yield {
            "serviceAccount": account,
            "services": [workload.service.name for workload in workloads],
            "role": "roles/iam.workloadIdentityUser",
            "members": [f"{pool}[{scene.namespace}/{name_of(workload)}]" for workload in workloads],
        }
    if any(workload.sources for workload in scene.workloads):
        yield {"project": project(scene.plan), "role": VIEWER, "members": [_operator()]}


def _operator() -> str:
    return f"{ACCOUNT}{blank('KEDA_SERVICE_ACCOUNT')}"


def _notes(scene: Scene) -> Iterator[str]:
    if any(workload.scales for workload in scene.workloads):
        yield (
            "KEDA reads Pub/Sub's counts from Cloud Monitoring, which has them some minutes late, by a scaler that it "
            "calls deprecated, and keeps as long as Google keeps its query language"
        )
    yield from mistaken(scene)


KEDA = Keda(trigger=_trigger, access=_access, authentication=_authentication, identities=_identities, notes=_notes)

RUNNING = Running(platforms={"keda": platform(KEDA), "cloudrun": cloudrun.PLATFORM}, find=find)
