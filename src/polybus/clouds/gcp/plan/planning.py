"""How Google realises a topology: everything that planning asks of it."""

from __future__ import annotations

from polybus.binding import Binding
from polybus.clouds.gcp.limits import GCP, SOURCES
from polybus.clouds.gcp.plan import adopting, bodies, resources
from polybus.clouds.gcp.plan.arguments import ARGUMENTS, SDK
from polybus.clouds.gcp.plan.check import rules
from polybus.clouds.gcp.plan.drift import DRIFT
from polybus.clouds.gcp.plan.immutable import IMMUTABLE
from polybus.clouds.gcp.plan.importing import import_id
from polybus.clouds.gcp.plan.mistakes import mistakes
from polybus.clouds.gcp.plan.policy import POLICY
from polybus.clouds.gcp.plan.provider_facts import FACTS
from polybus.clouds.gcp.plan.resources import GcpPlan, GcpSettings
from polybus.clouds.gcp.plan.rights import entitled
from polybus.clouds.gcp.plan.tags import TAGS
from polybus.plan.planning import Entry, OwnName, Planning
from polybus.plan.table import anyone, stand_ins, text_of
from polybus.plan.values import Resource
from polybus.topology.model import Queue, Topic, Topology

__all__ = ["PLANNING"]

_TOPIC, _SUBSCRIPTION = "gcp:pubsub/topic:Topic", "gcp:pubsub/subscription:Subscription"
_BUCKET = "gcp:storage/bucket:Bucket"


def _sample(topology: Topology, stack: str) -> GcpPlan:
    return resources.plan(
        topology, GcpSettings(stack=stack, functions=stand_ins(topology), bodies_location=bodies.STAND_IN)
    )


def _compared(topology: Topology, binding: Binding, stack: str) -> GcpPlan:
    project, functions = binding.settings.get("project"), anyone(topology)
    return resources.plan(
        topology, GcpSettings(stack=stack, project=project, functions=functions, bodies_location=bodies.STAND_IN)
    )


def _stand_in(resource: Resource, output: str) -> str:
    if resource.type == _BUCKET:
        return text_of(resource.properties["name"], whole=True).replace("${project.number}", "123456789012")
    name = str(resource.properties.get("name", resource.name))
    if output != "id":
        return name
    # Projects' ids have 6 to 30 characters.
    folder = "topics" if resource.type == _TOPIC else "subscriptions"
    return f"projects/{resource.properties.get('project') or 'a-project-of-20-chars'}/{folder}/{name}"


def _pass_through(entry: Entry) -> str | None:
    if isinstance(entry, Topic):
        return _TOPIC if entry.existing is None else None
    return _SUBSCRIPTION  # of an adopted queue's topic too


PLANNING = Planning(
    settings=GcpSettings,
    plan=resources.plan,
    sample=_sample,
    binding_values=resources.binding_values,
    exports=resources.exports,
    rights=lambda plan: entitled(plan.topology),
    mistakes=mistakes,
    compared=_compared,
    provider="gcp",
    import_id=import_id,
    standing=adopting.standing,
    forms=adopting.forms,
    stand_in=_stand_in,
    rules=rules,
    sources=SOURCES,
    policy=POLICY,
    pass_through=_pass_through,
    sdk=SDK,
    arguments=ARGUMENTS,
    names={_TOPIC: OwnName("name", GCP.topic_name), _SUBSCRIPTION: OwnName("name", GCP.subscription_name)},
    immutable=IMMUTABLE,
    facts=FACTS,
    retention={_SUBSCRIPTION: "message_retention_duration", _BUCKET: "lifecycle_rules[0].condition.age"},
    place=lambda settings: {"gcp:project": settings.project},
    drift=DRIFT,
    adopted={Topic: _TOPIC, Queue: _TOPIC},
    tags=TAGS,
    bodies=True,
)
