"""The Service Bus namespace that holds a bus, what the stack config says of it, and where things in it are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from polybus.clouds.azure.limits import AZURE
from polybus.clouds.azure.plan.tags import TAGS
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan.later import Later, Text, once
from polybus.plan.names import physical_name, short_hash
from polybus.plan.rules import published
from polybus.plan.settings import NOTHING
from polybus.plan.tags import tags_of
from polybus.plan.values import Join, Ref, Resource
from polybus.topology.model import Topology
from polybus.topology.quantities import format_size

__all__ = [
    "AzurePlan",
    "AzureSettings",
    "CustomerKey",
    "Diagnostics",
    "Home",
    "Principal",
    "namespace_resources",
    "principal_of",
]

# By azure-native's own names of its clouds ("Sovereign clouds" and "Azure endpoints" in Microsoft's documentation).
DOMAINS = {
    "public": "servicebus.windows.net",
    "usgovernment": "servicebus.usgovcloudapi.net",
    "china": "servicebus.chinacloudapi.cn",
}

_LONGEST_GROUP = 90  # characters of a resource group's name ("Naming rules and restrictions for Azure resources")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a service or function is: the object id in Entra ID, and its type."""

    id: Text
    type: str = "ServicePrincipal"


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A key of yours in a key vault, and the user-assigned identity (its resource id) that may use it."""

    vault_uri: Text
    key_name: Text
    identity: Text


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Where the namespace's logs go, by resource id, and which: of what was managed, and of what was refused."""

    workspace: Text | None = None
    storage: Text | None = None
    logs: tuple[str, ...] = ("OperationalLogs", "DiagnosticErrorLogs")


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """What the stack config says.

    `resource_group` is one that is there; without it one is created. `namespace` overrides the derived name, which
    has to be unique in the world; the derived one has `location` in it, so set either: to set `location` later would
    replace the namespace. `environment` is azure-native's own setting: None or "public", "usgovernment" or "china",
    which have other host names. `subnet` is the resource id of a subnet for a private endpoint, which closes public
    access unless `public_access` says otherwise; `private_dns_zone` is that of the zone by which clients find it.
    `transport`, `proxy` and `ca_file` tell services how to reach the namespace, as the binding's settings of these
    names. `principals` names the services, `functions` the managed identities of the functions that push names; an
    object id alone is that of a service principal. `bindings` is the resource id of a key vault or an App Configuration
    store, into which each service's binding is put, beside the outputs. `diagnostics` sends the namespace's logs.

    In a Pulumi program the resource group, the location, the subnet, the zone, and what the key, the principals and the
    functions have may be outputs. With a location that is one, `namespace` has to be given.
    """

    stack: str = ""
    location: Text | None = None
    resource_group: Text | None = None
    namespace: str | None = None
    subscription_id: str | None = None
    environment: str | None = None
    sku: Literal["Standard", "Premium"] = "Standard"
    capacity: int | None = None
    zone_redundant: bool | None = None
    public_access: bool | None = None
    subnet: Text | None = None
    private_dns_zone: Text | None = None
    customer_key: CustomerKey | None = None
    transport: str | None = None
    proxy: str | None = None
    ca_file: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    principals: Mapping[str, Principal | Text] = field(default_factory=lambda: NOTHING)
    functions: Mapping[str, Principal | Text] = field(default_factory=lambda: NOTHING)
    bindings: str | None = None
    diagnostics: Diagnostics | None = None

    @property
    def network(self) -> dict[str, str]:
        """Give the settings of the binding by which services find their way to the namespace."""
        given = {"transport": self.transport, "proxy": self.proxy, "ca_file": self.ca_file}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def premium(self) -> bool:
        return self.sku == "Premium"


@dataclass(frozen=True, slots=True)
class AzurePlan:
    """The resources, in an order in which they can be created."""

    topology: Topology
    settings: AzureSettings
    resources: tuple[Resource, ...]


class Home:
    """Where the entities of one topology are in Azure."""

    def __init__(self, topology: Topology, settings: AzureSettings) -> None:
        self.topology = topology
        self.settings = settings
        self.tags = tags_of(topology, settings.stack, settings.tags, TAGS)
        self.namespace_name = settings.namespace or _derived(topology, settings)
        self._hold_rules()

    @property
    def resource_group(self) -> Text | Ref:
        return self.settings.resource_group or Ref("resource-group", "name")

    @property
    def namespace(self) -> Ref:
        return Ref("namespace", "name")

    @property
    def inside(self) -> dict[str, Any]:
        """Give the arguments that place an entity in the namespace."""
        return {"namespace_name": self.namespace, "resource_group_name": self.resource_group}

    @property
    def located(self) -> dict[str, Any]:
        """Give the arguments that place a resource in the resource group."""
        location = {"location": self.settings.location} if self.settings.location else {}
        return {"resource_group_name": self.resource_group, **location, "tags": self.tags}

    @property
    def domain(self) -> str:
        """Give what the host names of namespaces end with in this cloud."""
        return DOMAINS[self.settings.environment or "public"]

    @property
    def host(self) -> Join:
        """Give the host name of the namespace."""
        return Join((self.namespace, f".{self.domain}"))

    def topic(self, name: str) -> str | Ref:
        """Give the physical name of a topic."""
        existing = self.topology.topics[name].existing
        return existing.rsplit("/", 1)[-1] if existing else Ref(f"{name}-topic", "name")

    def queue(self, name: str) -> str | Ref:
        """Give the physical name of a queue."""
        existing = self.topology.queues[name].existing
        return existing.rsplit("/", 1)[-1] if existing else Ref(f"{name}-queue", "name")

    def published_id(self, name: str) -> str | Ref:
        """Give the resource id of a topic or queue."""
        if name in self.topology.topics:
            return self.topology.topics[name].existing or Ref(f"{name}-topic", "id")
        return self.topology.queues[name].existing or Ref(f"{name}-queue", "id")

    def consumed_id(self, name: str) -> str | Ref:
        """Give the resource id of a subscription or queue."""
        return Ref(f"{name}-subscription", "id") if name in self.topology.subscriptions else self.published_id(name)

    def _hold_rules(self) -> None:
        cloud = self.settings.environment
        if cloud is not None and cloud not in DOMAINS:
            raise ConfigError(f"azure-native:environment: found {cloud!r}; allowed: {', '.join(DOMAINS)}")
        rule, name = AZURE.namespace_name, self.namespace_name
        if not rule.accepts(name):
            raise ConfigError(f"azure namespace: found {name!r}; allowed: {rule.allowed}")
        for section, entries in (("topics", self.topology.topics), ("queues", self.topology.queues)):
            for entry in entries.values():
                path = f"{self.topology.source}: at $.{section}.{entry.name}"
                if entry.existing and f"/namespaces/{name.lower()}/" not in entry.existing.lower():
                    raise ConfigError(f"{path}.existing: azure: it has to be in the namespace of the stack, {name}")
                size = entry.max_message_size
                if size is not None and size > AZURE.default_message_bytes and not self.settings.premium:
                    most = format_size(AZURE.default_message_bytes)
                    problem = f"azure: found {format_size(size)}; the {self.settings.sku} namespace allows {most}"
                    raise UnsupportedFeature(f'{path}.max_message_size: {problem}; instead: sku = "Premium"')
        zone = self.settings.private_dns_zone
        if zone is not None:
            once(zone, partial(_held_zone, self.domain))
        if zone is not None and self.settings.subnet is None:
            raise ConfigError("azure privateDnsZone: it is of a private endpoint; set subnet too")
        if not self.settings.premium and (self.settings.subnet or self.settings.customer_key or self.settings.capacity):
            what = "a private endpoint, a customer-managed key and capacity"
            raise UnsupportedFeature(f'azure: {what} need a Premium namespace; instead: sku = "Premium"')
        self._hold_capacity()

    def _hold_capacity(self) -> None:
        units = self.settings.capacity or 1
        if units not in AZURE.units:
            allowed = ", ".join(str(unit) for unit in AZURE.units)
            raise ConfigError(f"azure capacity: found {units}; allowed: {allowed} messaging units")
        number, most = len(published(self.topology)), AZURE.most_of(units if self.settings.premium else None)
        if number > most:
            what = f"Premium namespace of capacity {units}" if self.settings.premium else "Standard namespace"
            limit = f"azure: found {number} topics and queues; a {what} holds {most}"
            raise UnsupportedFeature(f"{self.topology.source}: at $: {limit}; instead: more capacity, or two buses")


def _held_zone(domain: str, zone: str) -> str:
    if "/privatednszones/" not in zone.lower():
        allowed = f"the resource id of a zone, .../privateDnsZones/privatelink.{domain}"
        raise ConfigError(f"azure privateDnsZone: found {zone!r}; allowed: {allowed}")
    return zone


def principal_of(given: Principal | Text) -> Principal:
    """Give who a service or function is, of which the object id alone may be given."""
    return given if isinstance(given, Principal) else Principal(given)


def _derived(topology: Topology, settings: AzureSettings) -> str:
    """Name a namespace by what can't change without it: the bus, the stack and the location, which can't move either.

    Nothing that is merely another way to say the same (a subscription's id, a resource group) may be in it: to say it
    later would replace the namespace, and lose what waits there.
    """
    if isinstance(settings.location, Later):
        raise ConfigError("azure namespace: not set; with a location that is an output it has no derived name")
    whole = "/".join((topology.name, settings.stack, _location(settings)))
    readable = re.sub(r"[_.]", "-", "-".join(part for part in (topology.name, settings.stack) if part).lower())
    return f"{readable[:40].rstrip('-')}-{short_hash(whole)}"


def _location(settings: AzureSettings) -> str:
    """Write a location in the one form of its spellings: "West Europe" is westeurope; "" where it isn't known."""
    return settings.location.replace(" ", "").lower() if isinstance(settings.location, str) else ""


def _group_name(bus: str, settings: AzureSettings) -> str:
    """Name a resource group, which is one of its subscription's whatever its location is, and in no case of its own."""
    place = _location(settings) or (short_hash(settings.stack) if settings.stack.endswith(".") else "")
    suffix = f"-{place}" if place else ""  # no group's name ends with a dot
    return physical_name(bus, settings.stack, longest=_LONGEST_GROUP, suffix=suffix, caseless=True)


def namespace_resources(home: Home) -> Iterator[Resource]:
    """Plan the resource group, unless one is given, the namespace, and its private endpoint."""
    settings, entry = home.settings, "$.bus"
    if settings.resource_group is None:
        name = _group_name(home.topology.name, settings)
        group = {"resource_group_name": name, "location": settings.location, "tags": home.tags}
        type_ = "azure-native:resources:ResourceGroup"
        yield Resource(type_, "resource-group", group, "resource group", entry)
    open_ = settings.public_access if settings.public_access is not None else settings.subnet is None
    properties = {
        "namespace_name": home.namespace_name,
        **home.located,
        "sku": {
            "name": settings.sku,
            "tier": settings.sku,
            **({"capacity": settings.capacity or 1} if settings.premium else {}),
        },
        "disable_local_auth": True,
        "minimum_tls_version": "1.2",
        "zone_redundant": settings.zone_redundant,
        "public_network_access": "Enabled" if open_ else "Disabled",
        **_encryption(settings.customer_key),
    }
    type_ = "azure-native:servicebus:Namespace"
    yield Resource(type_, "namespace", properties, "namespace", entry, keeps_messages=True)
    if settings.subnet is not None:
        link = {
            "name": home.namespace_name,
            "group_ids": ["namespace"],
            "private_link_service_id": Ref("namespace", "id"),
        }
        endpoint = {
            "private_endpoint_name": f"{home.namespace_name}-endpoint",
            **home.located,
            "subnet": {"id": settings.subnet},
            "private_link_service_connections": [link],
        }
        type_ = "azure-native:network:PrivateEndpoint"
        yield Resource(type_, "private-endpoint", endpoint, "private endpoint", entry)
    if settings.private_dns_zone is not None:
        zone = once(settings.private_dns_zone, partial(_held_zone, home.domain))
        zones = {
            "private_dns_zone_group_name": "default",  # an endpoint has one at most
            "private_endpoint_name": Ref("private-endpoint", "name"),
            "resource_group_name": home.resource_group,
            "private_dns_zone_configs": [{"name": "servicebus", "private_dns_zone_id": zone}],
        }
        type_ = "azure-native:network:PrivateDnsZoneGroup"
        yield Resource(type_, "private-endpoint-dns", zones, "private endpoint", entry)


def _encryption(key: CustomerKey | None) -> dict[str, Any]:
    if key is None:
        return {}
    vault = {
        "key_name": key.key_name,
        "key_vault_uri": key.vault_uri,
        "identity": {"user_assigned_identity": key.identity},
    }
    return {
        "identity": {"type": "UserAssigned", "user_assigned_identities": [key.identity]},
        "encryption": {"key_source": "Microsoft.KeyVault", "key_vault_properties": [vault]},
    }
