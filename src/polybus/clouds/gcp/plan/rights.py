"""What each service may do on Google Cloud: IAM members on single topics and subscriptions, never on the project.

The Pub/Sub service agent needs two grants for each dead-letter policy: to publish there, and to ack at the source
("Handle message failures", Google Cloud documentation), and with a customer-managed key one on the key. A redriven
message reaches a subscription through its topic (docs/wire.md), so who operates one may publish there.

The predefined roles, on single resources, come to these permissions ("Access control", Pub/Sub documentation):
publisher is pubsub.topics.publish alone; subscriber is pubsub.subscriptions.consume, which is pulling, acking and
extending, and seeking too, so that who consumes may purge; viewer is reading the subscription's description. No custom
role could have less than consume and still receive.

What is granted on something that isn't the stack's own (a key, a topic that something else made) stays there when the
stack goes. Google counts no owners: of two stacks that granted the same, the end of one would take it from both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.clouds.gcp.plan import allow as gcp_allow
from polybus.clouds.gcp.plan import bodies as gcp_bodies
from polybus.plan.entitled import Right
from polybus.plan.grants import merged
from polybus.plan.later import Text, spelled
from polybus.plan.names import short_hash
from polybus.plan.rules import consumed
from polybus.plan.values import Join, Ref, Resource
from polybus.topology.model import Service, Topology

__all__ = [
    "AGENT",
    "KEY_GRANT",
    "PUBLISHER",
    "SUBSCRIBER",
    "VIEWER",
    "Agents",
    "Grant",
    "entitled",
    "key_grant",
    "resources",
    "topic_member",
    "topic_of",
]

PUBLISHER = "roles/pubsub.publisher"
SUBSCRIBER = "roles/pubsub.subscriber"
VIEWER = "roles/pubsub.viewer"
KEY_USER = "roles/cloudkms.cryptoKeyEncrypterDecrypter"

# What others are let in for: on a topic the subscriber may attach subscriptions of its own to it.
_ACTIONS = {
    "publish": (PUBLISHER, "topic"),
    "subscribe": (SUBSCRIBER, "topic"),
    "consume": (SUBSCRIBER, "subscription"),
}

# The dot is in no name of a topology.
KEY_GRANT = "bus.key-agent"
AGENT = "bus.pubsub-agent"


@dataclass(frozen=True, slots=True)
class Agents:
    """The Pub/Sub service agent as a member, and what has to be there before it may be named."""

    pubsub: Join | Ref
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """A role for a member; `kind` and `entry` are the resource's, `after` what has to be there before."""

    role: str
    member: Text | Join | Ref
    kind: str
    entry: str
    after: tuple[str, ...] = ()


def topic_of(topology: Topology, name: str) -> str | Ref:
    """Give the resource name of a topic, or of a queue's topic: `projects/<project>/topics/<topic>`."""
    entry = topology.topics.get(name) or topology.queues[name]
    return entry.existing or Ref(f"{name}-topic", "id")


def entitled(topology: Topology) -> dict[str, tuple[Right, ...]]:
    """Give what each service of the topology may do, each right once."""
    return {
        name: (
            *(
                Right((role,), (_on(topology, kind, on),))
                for role, kind, on in dict.fromkeys(_rights(topology, service))
            ),
            *gcp_bodies.rights(topology, service),
        )
        for name, service in topology.services.items()
    }


def _on(topology: Topology, kind: str, name: str) -> str | Ref:
    if kind == "topic":
        return topic_of(topology, name)
    return Ref(f"{name}-{kind}", "id")


def key_grant(kms_key: Text, agents: Agents) -> Resource:
    """Plan the right of the Pub/Sub service agent to a key: without it, topics with the key can't be made or used.

    Other stacks of the project may use the key, and messages that are encrypted with it may still wait.
    """
    properties = {"crypto_key_id": kms_key, "role": KEY_USER, "member": agents.pubsub}
    type_ = "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember"
    return Resource(type_, KEY_GRANT, properties, "access", "$.bus", after=agents.after, stays=True)


def topic_member(logical: str, topic: str | Ref, inside: Mapping[str, Any], grant: Grant) -> Resource:
    """Plan a right on a topic.

    A topic by its full name is not the stack's own, so the right stays there. The name says the project too: beside
    another one the provider would take the right for changed at every update, and give it anew.
    """
    foreign = isinstance(topic, str)
    properties = {**({} if foreign else inside), "topic": topic, "role": grant.role, "member": grant.member}
    type_ = "gcp:pubsub/topicIAMMember:TopicIAMMember"
    return Resource(type_, logical, properties, grant.kind, grant.entry, after=grant.after, stays=foreign)


def resources(
    topology: Topology, members: Mapping[str, Text], agents: Agents, inside: Mapping[str, Any]
) -> Iterator[Resource]:
    """Plan the service agent's grants, then the rights of every service whose member the stack config names."""
    for item in consumed(topology):
        section = "subscriptions" if item.name in topology.subscriptions else "queues"
        entry, letters = f"$.{section}.{item.name}", f"{item.name}-dead-letters"
        publish = Grant(PUBLISHER, agents.pubsub, "access", entry, agents.after)
        yield topic_member(f"{letters}-agent", Ref(f"{letters}-topic", "id"), inside, publish)
        consume = Grant(SUBSCRIBER, agents.pubsub, "access", entry, agents.after)
        yield _subscription_member(f"{item.name}-agent", f"{item.name}-subscription", inside, consume)
    for (member, right), entry in merged(_asked(topology, members)).items():
        yield _member(topology, inside, member, right, entry)


def _asked(topology: Topology, members: Mapping[str, Text]) -> Iterator[tuple[tuple[Text, tuple[str, str, str]], str]]:
    """Give every right and who has it, with the entry that asks for it."""
    for name, member in members.items():
        for right in _rights(topology, topology.services[name]):
            yield (member, right), f"$.services.{name}"
    for allow, name, entry in gcp_allow.asked(topology):
        for action in allow.actions:
            role, kind = _ACTIONS[action]
            yield (allow.principal, (role, kind, name)), entry


def _rights(topology: Topology, service: Service) -> Iterator[tuple[str, str, str]]:
    """Give a service's rights as role, kind of resource, and entry."""
    for name in service.publishes:
        yield PUBLISHER, "topic", name
    for name in service.consumes:
        yield SUBSCRIBER, "subscription", name
        yield PUBLISHER, "dead-letters-topic", name
    for name in service.operates:
        subscription = topology.subscriptions.get(name)
        yield VIEWER, "subscription", name
        yield VIEWER, "dead-letters", name
        yield SUBSCRIBER, "dead-letters", name
        yield PUBLISHER, "topic", subscription.topic if subscription else name


def _member(
    topology: Topology, inside: Mapping[str, Any], member: Text, right: tuple[str, str, str], entry: str
) -> Resource:
    role, kind, name = right
    # Who, what and on which: the same whichever services ask for it. The dot is in no name of a topology.
    logical = f"{_short(member)}.{name}-{kind}-{role.rpartition('.')[2]}"
    grant = Grant(role, member, "rights", entry)
    if kind == "topic":
        return topic_member(logical, topic_of(topology, name), inside, grant)
    if kind == "dead-letters-topic":
        return topic_member(logical, Ref(f"{name}-dead-letters-topic", "id"), inside, grant)
    return _subscription_member(logical, f"{name}-{kind}", inside, grant)


def _subscription_member(logical: str, subscription: str, inside: Mapping[str, Any], grant: Grant) -> Resource:
    """Plan a right on a subscription, by that one's logical name."""
    properties = {**inside, "subscription": Ref(subscription, "name"), "role": grant.role, "member": grant.member}
    type_ = "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember"
    return Resource(type_, logical, properties, grant.kind, grant.entry, after=grant.after)


def _short(member: Text) -> str:
    """Write a member as a part of a logical name: what it is called, and a hash of all of it."""
    if not isinstance(member, str):
        return spelled(member)
    called = re.sub(r"[^A-Za-z0-9-]", "-", member.rpartition(":")[2].partition("@")[0])
    return f"{called}-{short_hash(member)}"
