"""What every stack of ours has to keep, as pure functions: run over plans in tests, over a stack by `stacks/policy/`.

A rule sees resources as a plan has them: types by the provider's tokens, properties by the provider SDK's Python
names. A property whose value isn't known yet is a `Ref`: it is set, and what it says is looked at once it is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from polybus.plan.values import Join, Json, Ref, Resource, refs

__all__ = ["RULES", "STACK_RULES", "Item", "Rule", "StackRule", "Violation", "item_of", "public_access", "violations"]

Properties: TypeAlias = Mapping[str, Any]

_EVERYONE = ("*", {"AWS": "*"}, {"AWS": ["*"]})
_DOCUMENTS = {
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:iam/policy:Policy": "policy",
}
_MEMBERS = (
    "gcp:pubsub/topicIAMMember:TopicIAMMember",
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember",
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember",
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
)
_NAMESPACE = "azure-native:servicebus:Namespace"
_QUEUE = "aws:sqs/queue:Queue"
_TOPIC = "aws:sns/topic:Topic"
_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"


@dataclass(frozen=True, slots=True)
class Item:
    """One resource; `refers` has the names of the resources that a property refers to."""

    type: str
    name: str
    properties: Properties
    refers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        """Give the name of the resource that a property refers to first."""
        return next(iter(self.refers.get(name, ())), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about single resources: `check` gives what is wrong with one, nothing where it isn't concerned."""

    name: str
    description: str
    check: Callable[[str, Properties], Iterable[str]]


@dataclass(frozen=True, slots=True)
class StackRule:
    """A rule about what resources are to each other: `check` gives the name of one and what is wrong with it."""

    name: str
    description: str
    check: Callable[[Sequence[Item]], Iterable[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a resource breaks, and how."""

    rule: str
    resource: str
    message: str


def item_of(resource: Resource) -> Item:
    """Give a plan's resource as rules see it."""
    found = {key: tuple(ref.resource for ref in refs(value)) for key, value in resource.properties.items()}
    return Item(resource.type, resource.name, resource.properties, found)


def violations(items: Sequence[Item], *, public: bool | None = None) -> list[Violation]:
    """List what any rule finds; `public` says whether public access is declared, None that either is."""
    found = [
        Violation(rule.name, item.name, message)
        for rule in (*RULES, public_access(public))
        for item in items
        for message in rule.check(item.type, item.properties)
    ]
    return found + [Violation(rule.name, *broken) for rule in STACK_RULES for broken in rule.check(items)]


def _encrypted(type_: str, properties: Properties) -> Iterator[str]:
    managed = properties.get("sqs_managed_sse_enabled")
    if type_ == _QUEUE and not properties.get("kms_master_key_id") and not managed:
        yield "the queue isn't encrypted at rest: set sqs_managed_sse_enabled or kms_master_key_id"
    if type_ == _TOPIC and not properties.get("kms_master_key_id") and not _for_alarms(properties):
        yield "the topic isn't encrypted at rest: set kms_master_key_id"


def _tls(type_: str, properties: Properties) -> Iterator[str]:
    if type_ in ("aws:sqs/queuePolicy:QueuePolicy", "aws:sns/topicPolicy:TopicPolicy"):
        statements = _statements(properties.get("policy"))
        if statements is not None and not any(_refuses_insecure(statement) for statement in statements):
            yield "no statement denies everyone what comes without TLS (aws:SecureTransport false)"
    if type_ == _NAMESPACE and properties.get("minimum_tls_version") not in ("1.2", "1.3"):
        yield f"minimum_tls_version is {properties.get('minimum_tls_version')!r}; allowed: 1.2, 1.3"
    if type_ == _SUBSCRIPTION and properties.get("protocol") == "http":
        yield "SNS delivers over plain HTTP; allowed: https"
    endpoint = (properties.get("push_config") or {}).get("push_endpoint", "https:")
    if isinstance(endpoint, str) and not endpoint.startswith("https:"):
        yield f"Pub/Sub pushes to {endpoint!r}; allowed: https"


def _refuses_insecure(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    everyone = statement.get("Principal") in _EVERYONE
    return statement.get("Effect") == "Deny" and everyone and str(condition).lower() == "false"


def _no_wildcards(type_: str, properties: Properties) -> Iterator[str]:
    for statement in _statements(properties.get(_DOCUMENTS.get(type_, ""))) or ():
        if statement.get("Effect") == "Allow":
            for part in ("Principal", "Action", "Resource", "NotPrincipal", "NotAction", "NotResource"):
                if part.startswith("Not") and part in statement:
                    yield f"a statement that allows has {part}: that is everything but a few"
                elif "*" in _text(statement.get(part)):
                    yield f"a statement that allows has a wildcard in {part}: {_text(statement[part])}"
    if type_ == "aws:lambda/permission:Permission":
        if "*" in _text(properties.get("principal")):
            yield "anyone may invoke the function"
        elif not properties.get("source_arn"):
            yield "any topic of anyone may invoke the function: set source_arn"
    if type_ in _MEMBERS and properties.get("member") in ("allUsers", "allAuthenticatedUsers"):
        yield f"{properties['member']} has {properties.get('role')}"


def _no_local_auth(type_: str, properties: Properties) -> Iterator[str]:
    if type_ == _NAMESPACE and properties.get("disable_local_auth") is not True:
        yield "connection strings work: set disable_local_auth"


def public_access(declared: bool | None = None) -> Rule:
    """Make the rule that public access is said, and is as `declared`; None accepts either."""

    def check(type_: str, properties: Properties) -> Iterator[str]:
        if type_ == _NAMESPACE:
            found = properties.get("public_network_access")
            allowed = {None: ("Enabled", "Disabled"), True: ("Enabled",), False: ("Disabled",)}[declared]
            if found not in allowed:
                yield f"public_network_access is {found!r}; declared: {' or '.join(allowed)}"

    return Rule("public-access", "Public access is as declared.", check)


def _dead_letters(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    yield from _aws_letters(items)
    yield from _gcp_letters(items)
    for item in items:
        consumed = item.type in ("azure-native:servicebus:Subscription", "azure-native:servicebus:Queue")
        if consumed and not item.properties.get("max_delivery_count"):
            yield item.name, "max_delivery_count isn't set: when a message is dead-lettered is left to a default"
        filters = item.properties.get("dead_lettering_on_filter_evaluation_exceptions")
        if item.type == "azure-native:servicebus:Subscription" and filters is not True:
            yield item.name, "what its filter fails on is lost: set dead_lettering_on_filter_evaluation_exceptions"


def _aws_letters(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    redrives = [item for item in items if item.type == "aws:sqs/redrivePolicy:RedrivePolicy"]
    subscriptions = [item for item in items if item.type == _SUBSCRIPTION]
    covered = {item.first("queue_url") for item in redrives}
    letters = {name for item in (*redrives, *subscriptions) for name in item.refers.get("redrive_policy", ())}
    for item in items:
        elsewhere = item.name in covered | letters or item.properties.get("redrive_policy")
        if item.type == _QUEUE and not elsewhere:
            yield item.name, "the queue has no redrive policy, and holds nobody's dead letters"
    alarms = {item.name for item in items if item.type == _TOPIC and _for_alarms(item.properties)}
    for item in subscriptions:
        if item.first("topic") not in alarms and not item.properties.get("redrive_policy"):
            yield item.name, "what SNS can't deliver is lost: set redrive_policy"


def _gcp_letters(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    subscriptions = [item for item in items if item.type == "gcp:pubsub/subscription:Subscription"]
    kept = {item.first("topic") for item in subscriptions}
    letters = {item.first("dead_letter_policy") for item in subscriptions} - {None}
    agents = [item for item in items if item.type in _MEMBERS and "gcp-sa-pubsub" in _text(item.properties["member"])]
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


def _tls_everywhere(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    held = {item.first("queue_url") for item in items if item.type == "aws:sqs/queuePolicy:QueuePolicy"}
    held |= {item.first("arn") for item in items if item.type == "aws:sns/topicPolicy:TopicPolicy"}
    for item in items:
        if item.type in (_QUEUE, _TOPIC) and item.name not in held and not _for_alarms(item.properties):
            yield item.name, "it has no access policy, so nothing refuses what comes without TLS"


RULES = (
    Rule("encryption", "Messages are encrypted at rest.", _encrypted),
    Rule("tls-only", "Nothing is sent or delivered without TLS.", _tls),
    Rule("no-wildcards", "No right is given to everyone, for everything or on everything.", _no_wildcards),
    Rule("no-local-auth", "Service Bus takes no connection strings.", _no_local_auth),
)
STACK_RULES = (
    StackRule("dead-letters", "Every consumer's dead letters have somewhere to go.", _dead_letters),
    StackRule("tls-everywhere", "Every queue and topic refuses what comes without TLS.", _tls_everywhere),
)


def _statements(value: Any) -> Sequence[Mapping[str, Any]] | None:
    """Give the statements of a policy document; None where there is none or it isn't known yet."""
    if isinstance(value, str) and value:
        value = json.loads(value)
    elif isinstance(value, Json):
        value = value.value
    if not isinstance(value, Mapping):
        return None
    found = value.get("Statement", ())
    return (found,) if isinstance(found, Mapping) else found


def _for_alarms(properties: Properties) -> bool:
    """Tell the topic of alarms, which holds no messages of the bus: CloudWatch may not use SNS's managed key."""
    return str(properties.get("name", "")).endswith("--alarms")


def _text(value: Any) -> str:
    if isinstance(value, Join):
        return "".join(_text(part) for part in value.parts)
    if isinstance(value, (Ref, str)):
        return str(value)
    return json.dumps(value, default=str)
