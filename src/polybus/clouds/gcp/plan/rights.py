"""What each service may do on Google Cloud: IAM members on single topics and subscriptions, never on the project.

The Pub/Sub service agent needs two grants for each dead-letter policy: to publish there, and to ack at the source
("Handle message failures", Google Cloud documentation), and with a customer-managed key one on the key. A redriven
message reaches a subscription through its topic (docs/wire.md), so who operates one may publish there.

The predefined roles, on single resources, come to these permissions ("Access control", Pub/Sub documentation):
publisher is pubsub.topics.publish alone; subscriber is pubsub.subscriptions.consume, which is pulling, acking and
extending, and seeking too, so that who consumes may purge; viewer is reading the subscription's description. No custom
role could have less than consume and still receive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polybus.plan.rules import consumed
from polybus.plan.values import Join, Ref, Resource
from polybus.topology.model import Service, Topology

__all__ = ["KEY_GRANT", "PUBLISHER", "SUBSCRIBER", "VIEWER", "key_grant", "resources", "topic_of"]

PUBLISHER = "roles/pubsub.publisher"
SUBSCRIBER = "roles/pubsub.subscriber"
VIEWER = "roles/pubsub.viewer"
KEY_USER = "roles/cloudkms.cryptoKeyEncrypterDecrypter"

KEY_GRANT = "bus.key-agent"  # the dot is in no name of a topology


def topic_of(topology: Topology, name: str) -> str | Ref:
    """Give the resource name of a topic, or of a queue's topic: `projects/<project>/topics/<topic>`."""
    entry = topology.topics.get(name) or topology.queues[name]
    return entry.existing or Ref(f"{name}-topic", "id")


def key_grant(kms_key: str, agent: Join) -> Resource:
    """Plan the right of the Pub/Sub service agent to a key: without it, topics with the key can't be made or used."""
    properties = {"crypto_key_id": kms_key, "role": KEY_USER, "member": agent}
    return Resource("gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember", KEY_GRANT, properties, "access", "$.bus")


def resources(
    topology: Topology, members: Mapping[str, str], agent: Join, inside: Mapping[str, Any]
) -> Iterator[Resource]:
    """Plan the service agent's grants, then the rights of every service whose member the stack config names."""
    for item in consumed(topology):
        section = "subscriptions" if item.name in topology.subscriptions else "queues"
        entry, letters = f"$.{section}.{item.name}", f"{item.name}-dead-letters"
        publish = {**inside, "topic": Ref(f"{letters}-topic", "id"), "role": PUBLISHER, "member": agent}
        yield Resource("gcp:pubsub/topicIAMMember:TopicIAMMember", f"{letters}-agent", publish, "access", entry)
        source = {
            **inside,
            "subscription": Ref(f"{item.name}-subscription", "name"),
            "role": SUBSCRIBER,
            "member": agent,
        }
        type_ = "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember"
        yield Resource(type_, f"{item.name}-agent", source, "access", entry)
    for name, member in members.items():
        rights = dict.fromkeys(_rights(topology, topology.services[name]))
        yield from (_member(topology, inside, (name, member), right) for right in rights)


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
    topology: Topology, inside: Mapping[str, Any], who: tuple[str, str], right: tuple[str, str, str]
) -> Resource:
    service, member = who
    role, kind, name = right
    # The dot is in no name of a topology, so these are unique.
    logical = f"{service}.{name}-{kind}-{role.rpartition('.')[2]}"
    common = {**inside, "role": role, "member": member}
    entry = f"$.services.{service}"
    if kind in ("topic", "dead-letters-topic"):
        target = topic_of(topology, name) if kind == "topic" else Ref(f"{name}-dead-letters-topic", "id")
        type_ = "gcp:pubsub/topicIAMMember:TopicIAMMember"
        return Resource(type_, logical, {**common, "topic": target}, "rights", entry)
    type_ = "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember"
    return Resource(type_, logical, {**common, "subscription": Ref(f"{name}-{kind}", "name")}, "rights", entry)
