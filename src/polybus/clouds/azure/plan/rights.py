"""What each service may do on Azure: built-in roles, assigned on single entities alone.

A redriven message reaches a subscription through its topic (docs/wire.md), so who operates one may send there.
Reading counts through the management API needs Manage, which nobody gets. Source of the role ids: "Azure built-in
roles" in Microsoft's documentation.

Azure keeps one assignment for a principal, a role and a scope, and refuses a second, under whatever name: so each has
one owner, and goes with it. All that is assigned here is in the stack's own namespace, or on what it puts into a vault;
but for the right to read an App Configuration store, which is on the whole of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from polybus.clouds.azure.plan import allow as azure_allow
from polybus.clouds.azure.plan import bodies as azure_bodies
from polybus.clouds.azure.plan import published as azure_published
from polybus.clouds.azure.plan.namespace import Home, Principal, principal_of
from polybus.errors import ConfigError
from polybus.plan.entitled import Right
from polybus.plan.grants import merged
from polybus.plan.later import Text, once, spelled
from polybus.plan.values import Ref, Resource
from polybus.topology.model import Service

__all__ = ["RECEIVER", "SENDER", "entitled", "resources"]

SENDER = "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39"
RECEIVER = "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
CONFIG_READER = "516239f1-63e1-4d78-a4de-a74fb236a071"
_TITLES = {
    SENDER: "Azure Service Bus Data Sender",
    RECEIVER: "Azure Service Bus Data Receiver",
    SECRETS_USER: "Key Vault Secrets User",
    CONFIG_READER: "App Configuration Data Reader",
    azure_bodies.PUTTER: "Storage Blob Data Contributor",
    azure_bodies.GETTER: "Storage Blob Data Reader",
}
_ROLES = {
    SENDER: "sender",
    RECEIVER: "receiver",
    SECRETS_USER: "binding-reader",
    CONFIG_READER: "bindings-reader",
    azure_bodies.PUTTER: "putter",
    azure_bodies.GETTER: "getter",
}
_BODIES = ("bodies", ".bodies")  # the dot is in no name of a topology

# Names of assignments are UUIDs that we choose, so that the same topology gives the same ones. This is their namespace.
_ASSIGNMENTS = uuid.UUID("6f1c7a5e-58d5-4c0e-9f0c-3d6c1f1b2a77")


@dataclass(frozen=True, slots=True)
class _Named:
    """Names an assignment by whom it is for."""

    namespace: str
    what: str

    def __call__(self, id_: str) -> str:
        return str(uuid.uuid5(_ASSIGNMENTS, f"{self.namespace}/{id_.lower()}.{self.what}"))


def entitled(home: Home) -> dict[str, tuple[Right, ...]]:
    """Give what each service of the topology may do, each right once."""
    return {
        name: tuple(
            Right((_TITLES[role],), (_scope(home, entity),), _conditions(home, role, entity))
            for role, entity in dict.fromkeys(_rights(home, service))
        )
        for name, service in home.topology.services.items()
    }


def resources(home: Home) -> Iterator[Resource]:
    """Plan the role assignments of every service whose principal the stack config names, and of pushed-to functions."""
    who: dict[Text, Principal] = {}
    for right, entry in merged(_asked(home, who)).items():
        principal, role, entity = right
        yield _assignment(home, who[principal], role, entity, entry)


def _asked(home: Home, who: dict[Text, Principal]) -> Iterator[tuple[tuple[Text, str, tuple[str, str]], str]]:
    """Give every right with the entry that asks for it; the principals are noted in `who` by their id."""
    for name, principal in home.settings.principals.items():
        for role, entity in _rights(home, home.topology.services[name]):
            yield (_noted(who, principal_of(principal)), role, entity), f"$.services.{name}"
    for item in home.topology.subscriptions.values():
        if item.push is None or item.push.function is None:
            continue
        function = item.push.function
        if function not in home.settings.functions:
            configured = ", ".join(sorted(home.settings.functions)) or "none"
            raise ConfigError(
                f"at $.subscriptions.{item.name}.push.function: the stack config gives no managed identity of "
                f"{function!r}, which has to receive there; configured functions: {configured}"
            )
        principal = principal_of(home.settings.functions[function])
        yield (_noted(who, principal), RECEIVER, ("source", item.name)), f"$.subscriptions.{item.name}"
        if home.topology.large_bodies is not None:
            yield (_noted(who, principal), azure_bodies.GETTER, _BODIES), f"$.subscriptions.{item.name}"
    for principal, allow, name, entry in azure_allow.asked(home.topology):
        if "publish" in allow.actions:
            yield (_noted(who, principal), SENDER, ("target", name)), entry
        if "consume" in allow.actions:
            yield (_noted(who, principal), RECEIVER, ("source", name)), entry


def _noted(who: dict[Text, Principal], principal: Principal) -> Text:
    """Give a principal's id in one spelling; raises ConfigError where it is said to be of two types."""
    id_ = principal.id.lower() if isinstance(principal.id, str) else principal.id
    known = who.setdefault(id_, principal)
    if known.type != principal.type:
        raise ConfigError(f"azure principals: {principal.id} is said to be a {known.type} and a {principal.type}")
    return id_


def _rights(home: Home, service: Service) -> Iterator[tuple[str, tuple[str, str]]]:
    for name in service.publishes:
        yield SENDER, ("target", name)
    for name in service.consumes:
        yield RECEIVER, ("source", name)
    for name in service.operates:
        yield RECEIVER, ("source", name)
        subscription = home.topology.subscriptions.get(name)
        yield SENDER, ("target", subscription.topic if subscription else name)
    for role in azure_bodies.roles(home.topology, service):
        yield role, _BODIES
    store = azure_published.of(home.settings)
    if store is not None and store.kind == azure_published.KEY_VAULT:
        yield SECRETS_USER, ("binding", service.name)
    elif store is not None:
        yield CONFIG_READER, ("binding", "")  # a store has rights as a whole alone


def _scope(home: Home, entity: tuple[str, str]) -> str | Ref:
    side, name = entity
    if entity == _BODIES:
        return azure_bodies.CONTAINER
    store = azure_published.of(home.settings)
    if side == "binding" and store is not None:
        return azure_published.scope_of(store, name)
    return home.published_id(name) if side == "target" else home.consumed_id(name)


def _conditions(home: Home, role: str, entity: tuple[str, str]) -> dict[str, str]:
    if entity != _BODIES:
        return {}
    return {"condition": azure_bodies.condition(home.topology, role), "condition_version": "2.0"}


def _assignment(home: Home, principal: Principal, role: str, entity: tuple[str, str], entry: str) -> Resource:
    name, scope = entity[1], _scope(home, entity)
    # Who, what and on which: the same whichever services ask for it. The dot is in no name of a topology.
    logical = f"{spelled(principal.id).lower()}.{name}-{_ROLES[role]}"
    named = _Named(home.namespace_name, f"{name}-{_ROLES[role]}")
    subscription = f"/subscriptions/{home.settings.subscription_id}" if home.settings.subscription_id else ""
    properties = {
        "role_assignment_name": once(principal.id, named),
        "principal_id": principal.id,
        "principal_type": principal.type,
        "role_definition_id": f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        "scope": scope,
        **_conditions(home, role, entity),
    }
    return Resource("azure-native:authorization:RoleAssignment", logical, properties, "rights", entry)
