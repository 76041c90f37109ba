"""Where services on Service Bus run: Kubernetes with KEDA, as on AKS, and Container Apps.

Sources: [KW] "Azure AD Workload Identity" of KEDA 2.20's documentation; [WI] "Use Microsoft Entra Workload ID with
AKS"; [LA] "Service account labels and annotations", Azure AD Workload Identity.
"""

from __future__ import annotations

from collections.abc import Iterator

from polybus.clouds.azure.plan import containerapps
from polybus.clouds.azure.plan.counting import DATA_OWNER, find, namespace_id, trigger
from polybus.plan.run.keda import OPERATOR, Keda, platform
from polybus.plan.run.kubernetes import Access, name_of
from polybus.plan.run.model import Document, Running, Scene, Source, Workload, blank

__all__ = ["RUNNING"]

# What tokens of Entra ID are for, by azure-native's names of its clouds [WI].
_AUDIENCES = {
    "public": "api://AzureADTokenExchange",
    "usgovernment": "api://AzureADTokenExchangeUSGov",
    "china": "api://AzureADTokenExchangeChina",
}


def _trigger(scene: Scene, workload: Workload, source: Source) -> Document:
    return trigger(scene.plan, source, workload.messages)


def _access(scene: Scene, workload: Workload) -> Access:
    """Have the webhook of Workload ID give the pod a token, and the variables that azure-identity reads [LA]."""
    return Access(
        annotations={"azure.workload.identity/client-id": workload.blank("client id")},
        labels={"azure.workload.identity/use": "true"},
    )


def _authentication(scene: Scene, workload: Workload) -> Document:
    """Count by KEDA's own identity: that of a service may receive, and not count."""
    return {"provider": "azure-workload"}


def _identities(scene: Scene) -> Iterator[Document]:
    """Give a federated credential a service (Microsoft.ManagedIdentity, federatedIdentityCredentials)."""
    for workload in scene.workloads:
        subject = f"system:serviceaccount:{scene.namespace}:{name_of(workload)}"
        yield {
            "clientId": workload.blank("client id"),
            "services": [workload.service.name],
            "federatedIdentityCredential": {"name": name_of(workload), "properties": _federated(scene, subject)},
        }
    if any(workload.sources for workload in scene.workloads):
        yield {
            "clientId": blank("KEDA_CLIENT_ID"),
            "federatedIdentityCredential": {"name": "keda-operator", "properties": _federated(scene, OPERATOR)},
            "roleAssignment": {"role": DATA_OWNER, "scope": namespace_id(scene.plan)},
        }


def _federated(scene: Scene, subject: str) -> Document:
    audience = _AUDIENCES[scene.plan.settings.environment or "public"]
    return {"issuer": blank("AKS_OIDC_ISSUER"), "subject": subject, "audiences": [audience]}


def _notes(scene: Scene) -> Iterator[str]:
    if any(workload.scales for workload in scene.workloads):
        yield (
            f"KEDA counts by its own identity, which needs {DATA_OWNER} on the namespace: Service Bus tells counts to "
            "whoever manages alone, and the stack gives that right to nobody"
        )


KEDA = Keda(trigger=_trigger, access=_access, authentication=_authentication, identities=_identities, notes=_notes)

RUNNING = Running(platforms={"keda": platform(KEDA), "containerapps": containerapps.PLATFORM}, find=find)
