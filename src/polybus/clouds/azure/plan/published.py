"""Each service's binding in a key vault or an App Configuration store that is there, where the stack asks for it.

The vault gives rights by Azure's roles, on the single secret. A store has rights as a whole alone: who reads one
binding there may read all that is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.clouds.azure.plan.namespace import AzureSettings
from polybus.plan.entities import service_bindings
from polybus.plan.names import physical_name, short_hash
from polybus.plan.values import Json, Ref, Resource
from polybus.topology.model import Topology

__all__ = ["APP_CONFIG", "KEY_VAULT", "STORES", "Store", "of", "references", "resources", "scope_of"]

KEY_VAULT, APP_CONFIG = "keyvault", "appconfig"

_KINDS = {"keyvault/vaults": KEY_VAULT, "appconfiguration/configurationstores": APP_CONFIG}
STORES = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/Microsoft\."
    r"(?P<kind>KeyVault/vaults|AppConfiguration/configurationStores)/(?P<name>[A-Za-z0-9-]+)",
    re.IGNORECASE,
)
_DOMAINS = {
    # "Azure Key Vault keys, secrets, and certificates overview"; "Azure App Configuration: Microsoft Entra".
    KEY_VAULT: {"public": "vault.azure.net", "usgovernment": "vault.usgovcloudapi.net", "china": "vault.azure.cn"},
    APP_CONFIG: {"public": "azconfig.io", "usgovernment": "azconfig.azure.us", "china": "azconfig.azure.cn"},
}
_LONGEST = 127  # characters of a secret's name, of A-Z a-z 0-9 and hyphens ("Naming rules", Azure Resource Manager)


@dataclass(frozen=True, slots=True)
class Store:
    """A vault or a store: its kind, its resource id, and what the id says."""

    kind: str
    id: str
    group: str
    name: str
    subscription: str


def of(settings: AzureSettings) -> Store | None:
    """Give where the stack puts bindings; None where it doesn't, or where the id is none that `STORES` takes."""
    found = STORES.fullmatch(settings.bindings or "")
    if found is None:
        return None
    return Store(_KINDS[found["kind"].lower()], found[0], found["group"], found["name"], found["subscription"])


def _name(namespace: str, service: str) -> str:
    """Name what holds a service's binding, in letters, digits and hyphens.

    The first part keeps off what others have in the vault, and the namespace is unique in the world. A name that had
    other characters gets a hash of what it was: else two of them could become one.
    """
    parts = ("polybus", namespace, service)
    whole = physical_name(*parts, longest=_LONGEST, caseless=True)
    plain = re.sub(r"[^A-Za-z0-9-]", "-", whole)
    return whole if plain == whole else f"{plain[: _LONGEST - 9]}-{short_hash('/'.join(parts))}"


def resources(
    topology: Topology, namespace: str, store: Store, values: Mapping[str, Any], tags: Mapping[str, str]
) -> Iterator[Resource]:
    """Plan one secret or key-value a service, of the whole binding's values."""
    for service, binding in service_bindings(topology, values).items():
        name, entry, physical = f"{service}.binding", f"$.services.{service}", _name(namespace, service)
        content: dict[str, Any] = {"value": Json(binding), "content_type": "application/json"}
        if store.kind == KEY_VAULT:
            place = {"vault_name": store.name, "resource_group_name": store.group, "secret_name": physical}
            secret = {**place, "properties": content, "tags": dict(tags)}
            yield Resource("azure-native:keyvault:Secret", name, secret, "binding", entry)
        else:
            place = {"config_store_name": store.name, "resource_group_name": store.group, "key_value_name": physical}
            yield Resource("azure-native:appconfiguration:KeyValue", name, {**place, **content}, "binding", entry)


def scope_of(store: Store, service: str) -> str | Ref:
    """Give what a service has to have a right on, to read its binding."""
    return Ref(f"{service}.binding", "id") if store.kind == KEY_VAULT else store.id


def references(topology: Topology, namespace: str, store: Store, environment: str | None) -> dict[str, Any]:
    """Give what POLYBUS_BINDING of each service may say instead of the binding."""
    host = f"https://{store.name.lower()}.{_DOMAINS[store.kind][environment or 'public']}"
    folder = "secrets" if store.kind == KEY_VAULT else "kv"
    names = {name: _name(namespace, name) for name in topology.services}
    return {"bindingReferences": {name: f"{store.kind}:{host}/{folder}/{held}" for name, held in names.items()}}
