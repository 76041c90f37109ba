"""Service Bus on its local server, for Pulumi's engine: made by `local`, read and removed by the library's client."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from polybus.clouds.azure.local import ATTRIBUTES, NAMESPACE, Realiser
from polybus.provision.laptop.cloud import Inputs, Laptop, attempt

__all__ = ["LAPTOP"]


class _Stand:
    ENTITIES: Mapping[str, tuple[str, ...]] = {
        "azure-native:servicebus:Topic": ("topic", "topicName"),
        "azure-native:servicebus:Subscription": ("subscription", "topicName", "subscriptionName"),
        "azure-native:servicebus:Queue": ("queue", "queueName"),
        "azure-native:servicebus:DefaultRule": ("rule", "topicName", "subscriptionName", "ruleName"),
    }

    def __init__(self, config: Inputs) -> None:
        from azure.core.exceptions import ResourceNotFoundError
        from azure.core.pipeline.transport import RequestsTransport
        from azure.servicebus.management import ServiceBusAdministrationClient

        text, ca_file = os.environ["AZURE_SERVICEBUS_CONNECTION_STRING"], os.environ["AZURE_SERVICEBUS_CA_FILE"]
        self._realiser = Realiser(connection_string=text, ca_file=ca_file)
        self.make = self._realiser.create
        self._client: Any = ServiceBusAdministrationClient.from_connection_string(
            text, transport=RequestsTransport(connection_verify=ca_file), retry_total=0
        )
        self._gone = (ResourceNotFoundError,)

    def record(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        """Name it as a resource of the group that everything local is in."""
        return self._realiser.record(type_, name, inputs)

    def read(self, type_: str, identity: str, made: Inputs) -> dict[str, Any] | None:
        if type_ == "azure-native:authorization:RoleAssignment":
            return {} if self._there(made["scope"]) else None
        if type_ not in self.ENTITIES:
            return {} if made else _imported(type_, identity)
        kind, *keys = self.ENTITIES[type_]
        names = _names(identity)
        try:
            entity = getattr(self._client, f"get_{kind}")(*names)
        except self._gone:
            return None
        found = dict(zip(keys, names, strict=True))
        if not made:
            found |= {"id": f"{NAMESPACE}/{_below(identity)}", **_within(identity)}
        if kind == "rule":
            action = getattr(entity.action, "sql_expression", None)
            acting = {"action": {"sqlExpression": action}} if action else {}
            return {**found, "sqlFilter": {"sqlExpression": entity.filter.sql_expression}, **acting}
        values = {ours: getattr(entity, theirs) for ours, theirs in ATTRIBUTES[type_].items()}
        # An entity without a flag doesn't say of it; without a text, such as where it forwards to, it has none.
        unset = {ours for ours, value in made.items() if not isinstance(value, bool)}
        return found | {ours: value for ours, value in values.items() if value is not None or ours in unset}

    def _there(self, scope: str) -> bool:
        """Say whether what a right is on is there: with an entity its rights are gone."""
        names = _names(scope)
        types = {("queues", 1): "Queue", ("topics", 1): "Topic", ("topics", 2): "Subscription"}
        kind = types.get((scope.split("/")[-2 * len(names)], len(names))) if names else None
        return kind is None or self.read(f"azure-native:servicebus:{kind}", scope, {}) is not None

    def remove(self, type_: str, made: Inputs) -> None:
        if type_ in self.ENTITIES:
            kind, *keys = self.ENTITIES[type_]
            names = [made.get(key, "$Default") for key in keys]
            attempt(lambda: getattr(self._client, f"delete_{kind}")(*names), self._gone)


def _names(identity: str) -> list[str]:
    """Return the names below the namespace in a resource's id: .../namespaces/N/topics/NAME/subscriptions/NAME."""
    return _below(identity).split("/")[1::2]


def _below(identity: str) -> str:
    return re.sub(r".*/namespaces/[^/]+/?", "", identity)


def _within(identity: str) -> dict[str, str]:
    """Return the properties that name what a resource is in, by its id; itself where it is one of them."""
    kinds = {"resourceGroupName": "resourceGroups", "namespaceName": "namespaces"}
    found = {name: re.search(rf"/{kind}/([^/]+)", identity) for name, kind in kinds.items()}
    return {name: match[1] for name, match in found.items() if match}


def _imported(type_: str, identity: str) -> dict[str, str]:
    """Return what an id says of a resource that is only recorded."""
    name = identity.rpartition("/")[2]
    return {"id": f"{NAMESPACE}/{type_}/{name}", "name": name, **_within(identity)}


def _served(type_: str, inputs: Inputs) -> bool:
    return type_ in _Stand.ENTITIES


# The binding stays as it is: the connection string in the environment leads to the server, whatever it names.
LAPTOP = Laptop(package="azure-native", served=_served, connect=_Stand, binding=lambda binding, environment: binding)
