"""Where services on Service Bus run: Kubernetes with KEDA, as on AKS, and Container Apps.

Sources: [KB] "Azure Service Bus" and [KW] "Azure AD Workload Identity" of KEDA 2.20's documentation; [WI] "Use
Microsoft Entra Workload ID with AKS"; [LA] "Service account labels and annotations", Azure AD Workload Identity; [DO]
"Azure Service Bus Data Owner", Azure built-in roles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from polybus.clouds.azure.plan.namespace import AzurePlan, Home
from polybus.plan.run.keda import OPERATOR, Keda, platform
from polybus.plan.run.kubernetes import Access, name_of
from polybus.plan.run.model import Document, Running, Scene, Source, Workload, blank
from polybus.plan.values import Ref

__all__ = ["DATA_OWNER", "RUNNING", "find", "namespace_id", "trigger"]

DATA_OWNER = "Azure Service Bus Data Owner"
"""What counts take: Service Bus tells them to whoever manages, and Data Receiver does not [KB, DO]."""

# The names of KEDA and of Entra ID for azure-native's names of its clouds [KB, WI].
_CLOUDS = {"public": "AzurePublicCloud", "usgovernment": "AzureUSGovernmentCloud", "china": "AzureChinaCloud"}
_AUDIENCES = {
    "public": "api://AzureADTokenExchange",
    "usgovernment": "api://AzureADTokenExchangeUSGov",
    "china": "api://AzureADTokenExchangeChina",
}

_NAMES = {
    "azure-native:resources:ResourceGroup": "resource_group_name",
    "azure-native:servicebus:Namespace": "namespace_name",
    "azure-native:servicebus:Topic": "topic_name",
    "azure-native:servicebus:Queue": "queue_name",
    "azure-native:servicebus:Subscription": "subscription_name",
}


def find(plan: AzurePlan) -> Callable[[Ref], str]:
    """Return a function that gives the name of a resource: all of them are planned."""
    made = {resource.name: resource for resource in plan.resources}

    def found(ref: Ref) -> str:
        resource = made[ref.resource]
        return {"name": str(resource.properties[_NAMES[resource.type]])}[ref.output]

    return found


def trigger(plan: AzurePlan, source: Source, messages: int) -> Document:
    """Give KEDA's trigger for a queue or subscription, without its authentication.

    `ActiveMessageCount`, which it reads, has locked messages in it: a message is active, deferred or scheduled, and one
    that is handled is the first of these ("Message sequencing and timestamps", `ServiceBusMessageState`).
    """
    topic, _, subscription = source.address.partition("/Subscriptions/")
    entity = {"topicName": topic, "subscriptionName": subscription} if subscription else {"queueName": topic}
    cloud = plan.settings.environment or "public"
    metadata = {
        **entity,
        "namespace": Home(plan.topology, plan.settings).namespace_name,
        "messageCount": str(messages),
        **({} if cloud == "public" else {"cloud": _CLOUDS[cloud]}),
    }
    return {"type": "azure-servicebus", "name": source.name, "metadata": metadata}


def namespace_id(plan: AzurePlan) -> str:
    """Give the resource id of the namespace."""
    home = Home(plan.topology, plan.settings)
    subscription = plan.settings.subscription_id or blank("AZURE_SUBSCRIPTION_ID")
    group = home.resource_group
    name = find(plan)(group) if isinstance(group, Ref) else str(group)
    return (
        f"/subscriptions/{subscription}/resourceGroups/{name}/providers/Microsoft.ServiceBus/namespaces/"
        f"{home.namespace_name}"
    )


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

RUNNING = Running(platforms={"keda": platform(KEDA)}, find=find)
