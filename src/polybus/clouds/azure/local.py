"""Making a plan's resources on a local Service Bus server, from exactly what Pulumi's provider would get.

Inputs are Pulumi's: by type token, with camelCase keys. Entities are made by the library's administration client, so
that the server checks them as Azure does; one that is there already, from a run before, is changed to what the plan
says, and keeps its messages. What the server has nothing for (namespaces, role assignments, alerts) is in `recorded`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybus.plan.planning import Local, trusting
from polybus.plan.realising import camel, make_all
from polybus.plan.values import Json

if TYPE_CHECKING:
    from pathlib import Path

    from polybus.binding import Binding
    from polybus.clouds.azure.plan.resources import AzurePlan
    from polybus.localcloud.servicebus.server import ServiceBusServer
    from polybus.topology.model import Topology

__all__ = ["ATTRIBUTES", "LOCAL", "NAMESPACE", "Realiser", "camel", "realise"]

Inputs = Mapping[str, Any]
Outputs = dict[str, str]

_QUEUE = {
    "requiresSession": "requires_session",
    "lockDuration": "lock_duration",
    "maxDeliveryCount": "max_delivery_count",
    "defaultMessageTimeToLive": "default_message_time_to_live",
    "deadLetteringOnMessageExpiration": "dead_lettering_on_message_expiration",
    "requiresDuplicateDetection": "requires_duplicate_detection",
    "duplicateDetectionHistoryTimeWindow": "duplicate_detection_history_time_window",
    "enableBatchedOperations": "enable_batched_operations",
    "enablePartitioning": "enable_partitioning",
    "maxMessageSizeInKilobytes": "max_message_size_in_kilobytes",
    "maxSizeInMegabytes": "max_size_in_megabytes",
    "autoDeleteOnIdle": "auto_delete_on_idle",
    "forwardTo": "forward_to",
    "forwardDeadLetteredMessagesTo": "forward_dead_lettered_messages_to",
}
_TOPIC = {
    **{
        key: _QUEUE[key]
        for key in (
            "defaultMessageTimeToLive",
            "requiresDuplicateDetection",
            "duplicateDetectionHistoryTimeWindow",
            "enableBatchedOperations",
            "enablePartitioning",
            "maxMessageSizeInKilobytes",
            "maxSizeInMegabytes",
            "autoDeleteOnIdle",
        )
    },
    "supportOrdering": "support_ordering",
}
_SUBSCRIPTION = {
    **{
        key: _QUEUE[key]
        for key in (
            "requiresSession",
            "lockDuration",
            "maxDeliveryCount",
            "defaultMessageTimeToLive",
            "deadLetteringOnMessageExpiration",
            "enableBatchedOperations",
            "autoDeleteOnIdle",
            "forwardTo",
            "forwardDeadLetteredMessagesTo",
        )
    },
    "deadLetteringOnFilterEvaluationExceptions": "dead_lettering_on_filter_evaluation_exceptions",
}
ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "azure-native:servicebus:Topic": _TOPIC,
    "azure-native:servicebus:Subscription": _SUBSCRIPTION,
    "azure-native:servicebus:Queue": _QUEUE,
}
"""What the administration client calls the properties of entities, by type token."""

# AMQP without TLS, AMQP inside it, HTTPS and WebSockets, and the management API of Microsoft's emulator.
PLAIN, TLS, HTTPS, EMULATOR_HTTP = 5672, 5671, 443, 5300
NAMESPACE = "/subscriptions/local/resourceGroups/local/providers/Microsoft.ServiceBus/namespaces/local"
"""The resource id that everything local is below."""

_DEFAULT_RULE = "$Default"
_SERVICE = "azure-native:servicebus:"
# What only changes with the entity made anew, so that an update leaves it out.
_FIXED = frozenset({"requires_session", "requires_duplicate_detection", "enable_partitioning"})


class Realiser:
    """Creates resources one by one, in an order in which what they refer to is there.

    A `client` is an administration client that is connected already, wherever it leads.
    """

    def __init__(self, *, connection_string: str = "", ca_file: Path | str = "", client: Any = None) -> None:
        if client is None:
            from azure.core.pipeline.transport import RequestsTransport
            from azure.servicebus.management import ServiceBusAdministrationClient

            # The client of azure-servicebus 7.14 takes neither a certificate nor a transport: this needs 7.15.
            client = ServiceBusAdministrationClient.from_connection_string(
                connection_string, transport=RequestsTransport(connection_verify=str(ca_file)), retry_total=0
            )
        self._client = client
        self.recorded: list[tuple[str, str, dict[str, Any]]] = []
        self._makers: dict[str, Callable[[Inputs], Outputs]] = {
            "azure-native:servicebus:Topic": self._topic,
            "azure-native:servicebus:Subscription": self._subscription,
            "azure-native:servicebus:DefaultRule": self._default_rule,
            "azure-native:servicebus:Queue": self._queue,
        }

    def create(self, type_: str, name: str, inputs: Inputs) -> Outputs:
        """Make one resource and return its outputs, `id` and `name` among them.

        Raises KeyError for an entity that isn't known here, azure-core's HttpResponseError for what the server refuses.
        """
        if not type_.startswith(_SERVICE) or type_ == f"{_SERVICE}Namespace":
            return self.record(type_, name, inputs)
        return self._makers[type_](inputs)

    def record(self, type_: str, name: str, inputs: Inputs) -> Outputs:
        """Keep what the server has nothing for in `recorded`, and return its outputs."""
        self.recorded.append((type_, name, dict(inputs)))
        named = str(inputs.get(_name_key(type_), name))
        return {"id": _id(type_, named), "name": named}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _topic(self, given: Inputs) -> Outputs:
        name = given["topicName"]
        self._put("topic", (name,), _options(given, _TOPIC))
        return {"id": _id("topics", name), "name": name}

    def _queue(self, given: Inputs) -> Outputs:
        name = given["queueName"]
        self._put("queue", (name,), _options(given, _QUEUE))
        return {"id": _id("queues", name), "name": name}

    def _subscription(self, given: Inputs) -> Outputs:
        topic, name = given["topicName"], given["subscriptionName"]
        self._put("subscription", (topic, name), _options(given, _SUBSCRIPTION))
        return {"id": f"{_id('topics', topic)}/subscriptions/{name}", "name": name}

    def _put(self, kind: str, names: tuple[str, ...], options: dict[str, Any]) -> None:
        """Create an entity, or change the one of that name."""
        from azure.core.exceptions import ResourceExistsError

        try:
            getattr(self._client, f"create_{kind}")(*names, **options)
        except ResourceExistsError:
            found = getattr(self._client, f"get_{kind}")(*names)
            for key, value in options.items():
                if key not in _FIXED:
                    setattr(found, key, value)
            getattr(self._client, f"update_{kind}")(*names[:-1], found)

    def _default_rule(self, given: Inputs) -> Outputs:
        """Replace the filter that lets everything pass, with which Service Bus makes a subscription."""
        from azure.servicebus.management import SqlRuleAction, SqlRuleFilter

        if given["filterType"] != "SqlFilter":
            raise KeyError(given["filterType"])
        topic, name = given["topicName"], given["subscriptionName"]
        rule = self._client.get_rule(topic, name, _DEFAULT_RULE)
        rule.filter = SqlRuleFilter(given["sqlFilter"]["sqlExpression"])
        rule.action = SqlRuleAction(given["action"]["sqlExpression"]) if given.get("action") else None
        self._client.update_rule(topic, name, rule)
        return {"id": f"{_id('topics', topic)}/subscriptions/{name}/rules/{_DEFAULT_RULE}", "name": _DEFAULT_RULE}


def realise(plan: AzurePlan, *, connection_string: str, ca_file: Path | str) -> Binding:
    """Make everything in a plan on the server of `connection_string`, and return the binding of it.

    The binding names the planned namespace: AZURE_SERVICEBUS_CONNECTION_STRING in the environment leads to the server.
    """
    from polybus.clouds.azure.plan.resources import binding

    realiser = Realiser(connection_string=connection_string, ca_file=ca_file)
    return binding(plan, make_all(plan, realiser, camelled))


def camelled(value: Any) -> Any:
    """Return a property's value with the names of nested properties as Pulumi's engine has them."""
    if isinstance(value, Json):
        return value
    if isinstance(value, Mapping):
        return {camel(key): camelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [camelled(item) for item in value]
    return value


def _options(given: Inputs, names: Mapping[str, str]) -> dict[str, Any]:
    found = {names[key]: value for key, value in given.items() if key in names and value is not None}
    # Numbers reach providers as floats.
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in found.items()
    }


# Whose properties don't begin as they do.
_SHORT = {"azure-native:storage:StorageAccount": "Account", "azure-native:storage:BlobContainer": "Container"}


def _name_key(type_: str) -> str:
    """Return the property that names a resource: `namespaceName` of azure-native:servicebus:Namespace."""
    kind = _SHORT.get(type_) or type_.rpartition(":")[2]
    return f"{kind[0].lower()}{kind[1:]}Name"


def _id(kind: str, name: str) -> str:
    return f"{NAMESPACE}/{kind}/{name}"


def _server(host: str, port: int, data: Path | None) -> ServiceBusServer:
    from polybus.localcloud.servicebus.server import ServiceBusServer

    return ServiceBusServer(host=host, port=port, data=data)


def _plan(topology: Topology) -> AzurePlan:
    from polybus.clouds.azure.plan.resources import AzureSettings, plan

    return plan(topology, AzureSettings())


def _realise(plan: AzurePlan, server: ServiceBusServer) -> Binding:
    return realise(plan, connection_string=server.connection_string(), ca_file=server.certificate)


def _standard(host: str, data: Path | None) -> ServiceBusServer:
    from polybus.localcloud.servicebus.server import ServiceBusServer

    return ServiceBusServer(host=host, port=PLAIN, management_port=HTTPS, ports=(TLS, EMULATOR_HTTP), data=data)


def _switches(language: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    return trusting(
        language,
        environment["AZURE_SERVICEBUS_CA_FILE"],
        environment["AZURE_SERVICEBUS_CA_BUNDLE"],
        environment["AZURE_SERVICEBUS_TRUST_STORE"],
    )


def _secure(server: ServiceBusServer) -> None:
    """Do nothing: every port of it speaks TLS to who begins with that."""


LOCAL = Local(
    ("azure.servicebus", "aiohttp"),
    _server,
    _plan,
    _realise,
    patience=20.0,
    standard=_standard,
    switches=_switches,
    secure=_secure,
)
