"""Service Bus through pulumi-azure-native."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from polybus.clouds.azure.plan.namespace import AzureSettings, CustomerKey, Diagnostics, Principal
from polybus.clouds.azure.plan.planning import PLANNING
from polybus.provision.cloud import Provider
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk

__all__ = ["PROVIDER"]

_KEYS = {
    "resourceGroup": "a resource group that is there; without it one is created",
    "namespace": "the name of the namespace, unique in the world",
    "sku": "Standard or Premium",
    "capacity": "messaging units of a Premium namespace",
    "zoneRedundant": "whether the namespace spans zones",
    "publicAccess": "whether the namespace is reached from the internet",
    "subnet": "the resource id of a subnet for a private endpoint",
    "privateDnsZone": "the resource id of the private DNS zone in which the endpoint gets its name",
    "customerKey": "vaultUri, keyName and identity of a customer-managed key",
    "transport": "amqp, or websocket for services that reach port 443 alone",
    "proxy": "the URL of an HTTP proxy, through which the WebSockets of services go",
    "caFile": "a file of certificates, where services run, of an authority of your own",
    "bindings": "the resource id of a key vault or App Configuration store, to put each service's binding into it",
    "diagnostics": "workspace and storage, the resource ids of where the namespace's logs go, and logs, a list of them",
    "principals": "the object id, or id and type, of each service in Entra ID",
    "functions": "the object id, or id and type, of the managed identity of each function that a push names",
}
# What azure-native reads where the stack's configuration doesn't say which cloud it is.
_ENVIRONMENT = "ARM_ENVIRONMENT"
_PRINCIPAL = 'an object id, or {"id": ..., "type": "ServicePrincipal", "User" or "Group"}'


def _settings(config: StackConfig) -> AzureSettings:
    location = config.of("azure-native", "location")
    if location is None and config.text("namespace") is None:
        raise config.missing("namespace", "name it, or set azure-native:location, which the derived name has in it")
    return AzureSettings(
        stack=config.stack,
        location=location,
        resource_group=config.text("resourceGroup"),
        namespace=config.text("namespace"),
        subscription_id=config.of("azure-native", "subscriptionId"),
        environment=config.of("azure-native", "environment") or os.environ.get(_ENVIRONMENT) or None,
        sku="Premium" if config.one_of("sku", ("Standard", "Premium")) == "Premium" else "Standard",
        capacity=config.integer("capacity"),
        zone_redundant=config.boolean("zoneRedundant"),
        public_access=config.boolean("publicAccess"),
        subnet=config.text("subnet"),
        private_dns_zone=config.text("privateDnsZone"),
        customer_key=_customer_key(config),
        transport=config.one_of("transport", ("amqp", "websocket")),
        proxy=config.text("proxy"),
        ca_file=config.text("caFile"),
        tags=config.texts_by_name("tags"),
        principals=_principals(config, "principals"),
        functions=_principals(config, "functions"),
        bindings=config.text("bindings"),
        diagnostics=_diagnostics(config),
    )


def _customer_key(config: StackConfig) -> CustomerKey | None:
    given = config.texts_by_name("customerKey")
    if not given:
        return None
    if set(given) != {"vaultUri", "keyName", "identity"}:
        raise config.refused("customerKey", dict(given), "vaultUri, keyName and identity, all three")
    return CustomerKey(given["vaultUri"], given["keyName"], given["identity"])


def _diagnostics(config: StackConfig) -> Diagnostics | None:
    given = config.table("diagnostics")
    if not given:
        return None
    logs = given.get("logs", list(Diagnostics().logs))
    places = {key: value for key, value in given.items() if key != "logs"}
    texts = isinstance(logs, list) and all(isinstance(item, str) for item in (*logs, *places.values()))
    if not texts or not logs or not places or not set(places) <= {"workspace", "storage"}:
        raise config.refused(
            "diagnostics", dict(given), "workspace or storage, or both, and logs, a list of categories"
        )
    return Diagnostics(**places, logs=tuple(logs))


def _principals(config: StackConfig, key: str) -> Mapping[str, Principal]:
    return {name: _principal(config, f"{key}.{name}", value) for name, value in config.table(key).items()}


def _principal(config: StackConfig, path: str, value: Any) -> Principal:
    fields = {"id": value} if isinstance(value, str) else value
    texts = isinstance(fields, dict) and all(isinstance(item, str) for item in fields.values())
    if not texts or "id" not in fields or not set(fields) <= {"id", "type"}:
        raise config.refused(path, value, _PRINCIPAL)
    return Principal(**fields)


_FIRST = """\
azure-native:location: westeurope
# Premium, for a private endpoint (polybus:subnet) and messages above 256 KB.
# polybus:sku: Premium
# The object id of each service's managed identity in Entra ID, which gets its roles.
# polybus:principals:
#   billing: 00000000-0000-0000-0000-000000000000
"""


def _first(bus: str) -> tuple[str, str]:
    return "azure-native:location: westeurope\n", _FIRST


PROVIDER = Provider(
    name="azure",
    planning=PLANNING,
    sdk=Sdk("pulumi_azure_native", "azure-stack"),
    settings=_settings,
    keys=_KEYS,
    who="principals",
    inputs=frozenset(
        {
            "location",
            "resource_group",
            "subnet",
            "private_dns_zone",
            "customer_key",
            "principals",
            "functions",
            "diagnostics",
        }
    ),
    first=_first,
)
