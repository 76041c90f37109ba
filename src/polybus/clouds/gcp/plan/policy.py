"""What of Pub/Sub's resources breaks the rules that every stack keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polybus.plan.policy_rules import Item, Policy, Properties, text_of

__all__ = ["POLICY"]

_MEMBERS = (
    "gcp:pubsub/topicIAMMember:TopicIAMMember",
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember",
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember",
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
    "gcp:storage/bucketIAMMember:BucketIAMMember",
)


def _tls(type_: str, properties: Properties) -> Iterator[str]:
    endpoint = (properties.get("push_config") or {}).get("push_endpoint", "https:")
    if isinstance(endpoint, str) and not endpoint.startswith("https:"):
        yield f"Pub/Sub pushes to {endpoint!r}; allowed: https"


def _no_wildcards(type_: str, properties: Properties) -> Iterator[str]:
    if type_ in _MEMBERS and properties.get("member") in ("allUsers", "allAuthenticatedUsers"):
        yield f"{properties['member']} has {properties.get('role')}"


def _dead_letters(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    subscriptions = [item for item in items if item.type == "gcp:pubsub/subscription:Subscription"]
    kept = {item.first("topic") for item in subscriptions}
    letters = {item.first("dead_letter_policy") for item in subscriptions} - {None}
    agents = [item for item in items if item.type in _MEMBERS and "gcp-sa-pubsub" in text_of(item.properties["member"])]
    granted = {item.first("topic") or item.first("subscription") for item in agents}
    for item in subscriptions:
        target = item.first("dead_letter_policy")
        if not item.properties.get("dead_letter_policy"):
            if item.first("topic") not in letters:
                yield item.name, "the subscription has no dead_letter_policy, and holds nobody's dead letters"
        elif target is not None:
            if target not in kept:
                yield item.name, f"the dead letters' topic {target} has no subscription: letters are lost"
            if target not in granted or item.name not in granted:
                yield item.name, f"the Pub/Sub service agent may not forward to {target}: letters stay"


def _bodies(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """Look at buckets of polybus's alone: a program may have others, such as a website's."""
    for item in items:
        if item.type != "gcp:storage/bucket:Bucket" or "polybus-bus" not in (item.properties.get("labels") or {}):
            continue
        if item.properties.get("public_access_prevention") != "enforced":
            yield item.name, "public access isn't prevented: set public_access_prevention to enforced"
        if not item.properties.get("uniform_bucket_level_access"):
            yield item.name, "an object may have rights of its own: set uniform_bucket_level_access"


POLICY = Policy(tls_only=_tls, no_wildcards=_no_wildcards, dead_letters=_dead_letters, bodies=_bodies)
