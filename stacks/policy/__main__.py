"""The policy pack: `pulumi up --policy-pack policy`. Its rules are plan/policy.py's, which tests run over plans."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polybus.plan.policy import Item, Rule, StackRule, public_access, rules, stack_rules
from polybus.plan.values import Ref

# In the pack's own environment alone: see requirements.txt.
policy: Any = importlib.import_module("pulumi_policy")
Unknown: type[Exception] = importlib.import_module("pulumi_policy.proxy").UnknownValueError

Report = Callable[..., None]


def snake(name: str) -> str:
    """Turn a property's name as the engine has it into the Python SDK's."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def read(properties: Mapping[str, Any], resource: str) -> dict[str, Any]:
    """Give a resource's inputs by the SDK's names; what a preview doesn't know yet becomes a reference."""
    found: dict[str, Any] = {}
    for name in properties:
        try:
            found[snake(name)] = plain(properties[name])
        except Unknown:
            found[snake(name)] = Ref(resource, name)
    return found


def plain(value: Any) -> Any:
    """Copy a value with the SDK's names in it, touching all of it: an unknown part makes the whole unknown."""
    if isinstance(value, Mapping):
        return {snake(key): plain(value[key]) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def of_resource(rule: Rule) -> Any:
    """Make a policy of a rule about single resources."""

    def validate(args: Any, report: Report) -> None:
        for message in rule.check(args.resource_type, read(args.props, args.name)):
            report(message)

    return policy.ResourceValidationPolicy(name=rule.name, description=rule.description, validate=validate)


def of_stack(rule: StackRule) -> Any:
    """Make a policy of a rule about what resources are to each other."""

    def validate(args: Any, report: Report) -> None:
        for urn, message in rule.check([item(resource) for resource in args.resources]):
            report(message, urn)

    return policy.StackValidationPolicy(name=rule.name, description=rule.description, validate=validate)


def item(resource: Any) -> Item:
    """Give a resource as rules see it, known by its URN."""
    refers = {
        snake(name): tuple(target.urn for target in targets) for name, targets in resource.property_dependencies.items()
    }
    return Item(resource.resource_type, resource.urn, read(resource.props, resource.urn), refers)


def of_public_access() -> Any:
    """Make the policy that asks its configuration what was declared; without any, it has to be said at all."""
    rule = public_access()

    def validate(args: Any, report: Report) -> None:
        declared = public_access(args.get_config().get("declared"))
        for message in declared.check(args.resource_type, read(args.props, args.name)):
            report(message)

    schema = policy.PolicyConfigSchema(properties={"declared": {"type": "boolean"}})
    return policy.ResourceValidationPolicy(
        name=rule.name, description=rule.description, validate=validate, config_schema=schema
    )


policy.PolicyPack(
    name="polybus",
    enforcement_level=policy.EnforcementLevel.MANDATORY,
    policies=[
        *(of_resource(rule) for rule in rules()),
        of_public_access(),
        *(of_stack(rule) for rule in stack_rules()),
    ],
)
