"""Where services on Pub/Sub run: Kubernetes with KEDA, as on GKE, and Cloud Run.

Sources: [KP] "Google Cloud Platform Pub/Sub" and [KW] "GCP Workload Identity" of KEDA 2.20's documentation; [WI]
"Authenticate to Google Cloud APIs from GKE workloads".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from polybus.clouds.gcp.plan.resources import GcpPlan
from polybus.plan.run.keda import Keda, platform
from polybus.plan.run.kubernetes import Access, name_of
from polybus.plan.run.model import Document, Running, Scene, Source, Workload, blank
from polybus.plan.values import Ref, is_mark

__all__ = ["RUNNING", "email", "find", "project"]

_ACCOUNT = "serviceAccount:"

_IDS = {
    "gcp:pubsub/topic:Topic": ("topics", "name"),
    "gcp:pubsub/subscription:Subscription": ("subscriptions", "name"),
    "gcp:secretmanager/secret:Secret": ("secrets", "secret_id"),
}


def project(plan: GcpPlan) -> str:
    """Give the project of a plan."""
    return plan.settings.project or blank("GOOGLE_CLOUD_PROJECT")


def email(plan: GcpPlan, workload: Workload) -> str:
    """Give the e-mail of the service account that a service runs as; what is no service account can't run it."""
    given = plan.settings.members.get(workload.service.name)
    if isinstance(given, str) and (given.startswith(_ACCOUNT) or is_mark(given)):
        return given.removeprefix(_ACCOUNT)
    return workload.blank("service account")


def find(plan: GcpPlan) -> Callable[[Ref], str]:
    """Return a function that gives the id or the name of a topic, a subscription or a secret."""
    made = {resource.name: resource for resource in plan.resources}

    def found(ref: Ref) -> str:
        resource = made[ref.resource]
        folder, argument = _IDS[resource.type]
        name = str(resource.properties[argument])
        return {"name": name, "id": f"projects/{project(plan)}/{folder}/{name}"}[ref.output]

    return found


def trigger(source: Source, messages: int) -> Document:
    """Give KEDA's trigger for a subscription: what isn't acked counts, whether it was delivered or not [KP].

    `num_undelivered_messages` are the "unacknowledged messages" of a subscription (Google Cloud metrics).
    """
    metadata = {
        "subscriptionName": source.address,
        "mode": "NumUndeliveredMessages",
        "value": str(messages),
        "valueIfNull": "0",  # nothing is told of a subscription that had no message yet
    }
    return {"type": "gcp-pubsub", "name": source.name, "metadata": metadata}


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
    running: dict[str, list[Workload]] = {}
    for workload in scene.workloads:
        running.setdefault(email(scene.plan, workload), []).append(workload)
    pool = f"{_ACCOUNT}{blank('GKE_PROJECT')}.svc.id.goog"
    for account, workloads in running.items():
        yield {
            "serviceAccount": account,
            "services": [workload.service.name for workload in workloads],
            "role": "roles/iam.workloadIdentityUser",
            "members": [f"{pool}[{scene.namespace}/{name_of(workload)}]" for workload in workloads],
        }
    if any(workload.sources for workload in scene.workloads):
        # Cloud Monitoring has the counts; who may read one metric of a project may read all [KW].
        yield {"project": project(scene.plan), "role": "roles/monitoring.viewer", "members": [_operator()]}


def _operator() -> str:
    return f"{_ACCOUNT}{blank('KEDA_SERVICE_ACCOUNT')}"


def _notes(scene: Scene) -> Iterator[str]:
    if any(workload.scales for workload in scene.workloads):
        yield (
            "KEDA reads Pub/Sub's counts from Cloud Monitoring, which has them some minutes late, by a scaler that it "
            "calls deprecated, and keeps as long as Google keeps its query language"
        )
    for workload in scene.workloads:
        given = scene.plan.settings.members.get(workload.service.name)
        if isinstance(given, str) and not given.startswith(_ACCOUNT) and not is_mark(given):
            yield f"{workload.service.name} is {given} in the stack's configuration, which no process runs as"


KEDA = Keda(trigger=_trigger, access=_access, authentication=_authentication, identities=_identities, notes=_notes)

RUNNING = Running(platforms={"keda": platform(KEDA)}, find=find)
