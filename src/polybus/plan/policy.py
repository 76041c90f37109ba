"""What every stack of ours has to keep, as pure functions: run over plans in tests, over a stack by `stacks/policy/`.

A rule sees resources as a plan has them: types by the provider's tokens, properties by the provider SDK's Python
names. A property whose value isn't known yet is a `Ref`: it is set, and what it says is looked at once it is known.
What breaks a rule on a cloud is the cloud's to say, by `Planning.policy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polybus.plan.planning import planning_of
from polybus.plan.policy_rules import Check, Item, Policy, Properties, StackCheck
from polybus.plan.values import Resource, refs
from polybus.registry import offering

__all__ = ["Item", "Rule", "StackRule", "Violation", "item_of", "public_access", "rules", "stack_rules", "violations"]

_RULES = {
    "encryption": "Messages are encrypted at rest.",
    "tls-only": "Nothing is sent or delivered without TLS.",
    "no-wildcards": "No right is given to everyone, for everything or on everything.",
    "no-local-auth": "Nobody comes in by a connection string.",
}
_STACK_RULES = {
    "dead-letters": "Every consumer's dead letters have somewhere to go.",
    "tls-everywhere": "Every queue and topic refuses what comes without TLS.",
    "bodies": "Large bodies are nobody else's to read, and not without TLS.",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about single resources: `check` gives what is wrong with one, nothing where it isn't concerned."""

    name: str
    description: str
    check: Check


@dataclass(frozen=True, slots=True)
class StackRule:
    """A rule about what resources are to each other: `check` gives the name of one and what is wrong with it."""

    name: str
    description: str
    check: StackCheck


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


def rules() -> list[Rule]:
    """List the rules about single resources, of all clouds together; `public_access` is another."""
    policies = _policies()

    def rule(name: str, description: str) -> Rule:
        checks: list[Check] = [getattr(policy, name.replace("-", "_")) for policy in policies]

        def check(type_: str, properties: Properties) -> Iterator[str]:
            for each in checks:
                yield from each(type_, properties)

        return Rule(name, description, check)

    return [rule(*each) for each in _RULES.items()]


def stack_rules() -> list[StackRule]:
    """List the rules about what resources are to each other, of all clouds together."""
    policies = _policies()

    def rule(name: str, description: str) -> StackRule:
        checks: list[StackCheck] = [getattr(policy, name.replace("-", "_")) for policy in policies]

        def check(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
            for each in checks:
                yield from each(items)

        return StackRule(name, description, check)

    return [rule(*each) for each in _STACK_RULES.items()]


def public_access(declared: bool | None = None) -> Rule:
    """Make the rule that public access is said, and is as `declared`; None accepts either."""
    policies = _policies()

    def check(type_: str, properties: Properties) -> Iterator[str]:
        for policy in policies:
            yield from policy.public_access(type_, properties, declared)

    return Rule("public-access", "Public access is as declared.", check)


def violations(items: Sequence[Item], *, public: bool | None = None) -> list[Violation]:
    """List what any rule finds; `public` says whether public access is declared, None that either is."""
    found = [
        Violation(rule.name, item.name, message)
        for rule in (*rules(), public_access(public))
        for item in items
        for message in rule.check(item.type, item.properties)
    ]
    return found + [Violation(rule.name, *broken) for rule in stack_rules() for broken in rule.check(items)]


def _policies() -> list[Policy]:
    return [planning_of(cloud).policy for cloud in offering("planning")]
