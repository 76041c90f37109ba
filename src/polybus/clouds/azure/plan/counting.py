"""How what waits on Service Bus is counted by what scales a service, and by what right.

Sources: [KB] "Azure Service Bus" of KEDA 2.20's documentation; [DO] "Azure Service Bus Data Owner", Azure built-in
roles.
"""

from __future__ import annotations

from collections.abc import Callable

from polybus.clouds.azure.plan.namespace import AzurePlan, Home
from polybus.plan.run.model import Document, Source, blank
from polybus.plan.values import Ref

__all__ = ["DATA_OWNER", "find", "namespace_id", "trigger"]

DATA_OWNER = "Azure Service Bus Data Owner"
"""What counts take: Service Bus tells them to whoever manages, and Data Receiver does not [KB, DO]."""

# KEDA's names for azure-native's names of its clouds [KB].
_CLOUDS = {"public": "AzurePublicCloud", "usgovernment": "AzureUSGovernmentCloud", "china": "AzureChinaCloud"}

_NAMES = {
    "azure-native:resources:ResourceGroup": "resource_group_name",
    "azure-native:servicebus:Namespace": "namespace_name",
    "azure-native:storage:StorageAccount": "account_name",
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
