"""How Azure realises a topology: everything that planning asks of it."""

from __future__ import annotations

from polybus.binding import Binding
from polybus.clouds.azure.limits import AZURE, SOURCES
from polybus.clouds.azure.plan import adopting, resources
from polybus.clouds.azure.plan.arguments import ARGUMENTS, SDK
from polybus.clouds.azure.plan.check import rules
from polybus.clouds.azure.plan.drift import DRIFT
from polybus.clouds.azure.plan.immutable import IMMUTABLE, UNANNOUNCED, replaces
from polybus.clouds.azure.plan.importing import HOMES, import_id
from polybus.clouds.azure.plan.mistakes import mistakes
from polybus.clouds.azure.plan.namespace import AzureSettings, Home, Principal
from polybus.clouds.azure.plan.policy import POLICY
from polybus.clouds.azure.plan.provider_facts import FACTS
from polybus.clouds.azure.plan.resources import AzurePlan
from polybus.clouds.azure.plan.rights import entitled
from polybus.clouds.azure.plan.tags import TAGS
from polybus.plan.planning import Entry, OwnName, Planning
from polybus.plan.table import anyone, stand_ins
from polybus.topology.model import Queue, Subscription, Topic, Topology

__all__ = ["PLANNING"]

_TOPIC, _QUEUE = "azure-native:servicebus:Topic", "azure-native:servicebus:Queue"
_SUBSCRIPTION = "azure-native:servicebus:Subscription"


def _sample(topology: Topology, stack: str) -> AzurePlan:
    identities = {name: Principal(shown) for name, shown in stand_ins(topology).items()}
    return resources.planned(topology, AzureSettings(stack=stack, functions=identities))


def _compared(topology: Topology, binding: Binding, stack: str) -> AzurePlan:
    settings = AzureSettings(
        stack=stack,
        namespace=str(binding.settings["namespace"]).partition(".")[0],
        sku="Premium",  # it takes what the other does and more; which one it is, is the stack's to say
        functions={name: Principal(who) for name, who in anyone(topology).items()},
    )
    return resources.planned(topology, settings)


def _pass_through(entry: Entry) -> str | None:
    if isinstance(entry, Subscription):
        return _SUBSCRIPTION
    if entry.existing is not None:
        return None
    return _TOPIC if isinstance(entry, Topic) else _QUEUE


PLANNING = Planning(
    settings=AzureSettings,
    plan=resources.plan,
    sample=_sample,
    binding_values=resources.binding_values,
    exports=resources.exports,
    rights=lambda plan: entitled(Home(plan.topology, plan.settings)),
    mistakes=mistakes,
    compared=_compared,
    provider="azure-native",
    import_id=import_id,
    standing=adopting.standing,
    forms=adopting.forms,
    homes=HOMES,
    rules=rules,
    sources=SOURCES,
    policy=POLICY,
    pass_through=_pass_through,
    sdk=SDK,
    arguments=ARGUMENTS,
    names={
        _TOPIC: OwnName("topic_name", AZURE.topic_name),
        _SUBSCRIPTION: OwnName("subscription_name", AZURE.subscription_name),
        _QUEUE: OwnName("queue_name", AZURE.queue_name),
    },
    immutable=IMMUTABLE,
    facts=FACTS,
    unannounced=UNANNOUNCED,
    replaces={"azure-native:servicebus:Namespace": replaces},
    retention={
        "azure-native:storage:ManagementPolicy": (
            "policy.rules[0].definition.actions.base_blob.delete.days_after_modification_greater_than"
        )
    },
    holds_letters=frozenset({_SUBSCRIPTION, _QUEUE}),
    place=lambda settings: {"azure-native:subscriptionId": settings.subscription_id},
    drift=DRIFT,
    adopted={Topic: _TOPIC, Queue: _QUEUE},
    ordered_by={_QUEUE: "requires_session"},
    tags=TAGS,
    bodies=True,
)
