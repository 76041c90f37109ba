"""The storage account and the container that large bodies of a bus are in, and what each service may do there.

One account is one bus's in one stack. It takes tokens of Entra ID alone, over TLS, lets nobody read without one, and
its lifecycle deletes blobs by age. Sources: "Storage account overview", "Configure a lifecycle management policy", and
"Example Azure role assignment conditions for Blob Storage" in Microsoft's documentation; the role ids are of "Azure
built-in roles".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from polybus.binding import Bodies
from polybus.clouds.azure.plan.namespace import CustomerKey, Home
from polybus.errors import UnsupportedFeature
from polybus.plan import bodies
from polybus.plan.findings import Report
from polybus.plan.names import short_hash
from polybus.plan.values import Join, Ref, Resource
from polybus.topology.model import Service, Topology

__all__ = ["CONTAINER", "GETTER", "PUTTER", "condition", "exports", "hold", "of_binding", "resources", "roles", "rule"]

ACCOUNT: Final = Ref("bus.bodies-account", "name")
"""The account's name once it is there. No entry has a dot in its name, so no resource of one is called so."""

CONTAINER: Final = Ref("bus.bodies-container", "id")

PUTTER, GETTER = "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"

# By azure-native's names of its clouds; without the first, which obstore knows.
_DOMAINS = {"usgovernment": "blob.core.usgovcloudapi.net", "china": "blob.core.chinacloudapi.cn"}

# An account's name has 3 to 24 lower-case letters and digits, and is one of the world's: as the namespace's is, whose
# name is in the hash, with the bus and the stack, since two may be given the same namespace.
_READABLE, _HASHED = 14, 10

_DAYS_OF_CONTAINER = 7

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


def rule(report: Report, topology: Topology) -> None:
    """Tell that dead letters may outlive their bodies."""
    if topology.large_bodies is not None:
        limit = f"bodies are deleted after {bodies.days(topology)} days, and Service Bus keeps dead letters for longer"
        report.note(bodies.ENTRY, "large_bodies", limit, source="AZ", instead="the alarm of dead letters, in time")


def hold(home: Home) -> None:
    """Raise UnsupportedFeature where the namespace can't be reached by all: the account has no private endpoint."""
    settings = home.settings
    if home.topology.large_bodies is None:
        return
    if settings.subnet is not None or settings.public_access is False:
        raise UnsupportedFeature(
            f"{home.topology.source}: at {bodies.ENTRY}: azure: their account would be open where the namespace isn't, "
            "since it has no private endpoint; instead: polybus.blobs.Blobs(place) in code, with an account of yours"
        )


def resources(home: Home) -> Iterator[Resource]:
    """Plan the account, its container, and what deletes blobs by their age."""
    if home.topology.large_bodies is None:
        return
    inside = {"account_name": ACCOUNT, "resource_group_name": home.resource_group}
    yield _resource("StorageAccount", "account", _account(home), bodies.KIND, keeps_messages=True)
    container = {**inside, "container_name": bodies.KIND, "public_access": "None"}
    yield _resource("BlobContainer", "container", container, bodies.KIND, keeps_messages=True)
    # Who may store may delete the container too: no role of Azure's has the one without the other.
    kept = {"enabled": True, "days": _DAYS_OF_CONTAINER}
    yield _resource(
        "BlobServiceProperties",
        "service",
        {**inside, "blob_services_name": "default", "container_delete_retention_policy": kept},
        "access",
    )
    policy = {"rules": [_expiry(home.topology)]}
    yield _resource(
        "ManagementPolicy", "expiry", {**inside, "management_policy_name": "default", "policy": policy}, bodies.EXPIRY
    )


def _account(home: Home) -> dict[str, Any]:
    settings = home.settings
    return {
        "account_name": _name(home),
        **home.located,
        "kind": "StorageV2",
        "sku": {"name": "Standard_ZRS" if settings.zone_redundant else "Standard_LRS"},
        "allow_blob_public_access": False,
        "allow_cross_tenant_replication": False,
        "allow_shared_key_access": False,
        "enable_https_traffic_only": True,
        "minimum_tls_version": "TLS1_2",
        "public_network_access": "Enabled",
        **_encryption(settings.customer_key),
    }


def _name(home: Home) -> str:
    topology, stack = home.topology, home.settings.stack
    readable = re.sub(r"[^a-z0-9]", "", f"{topology.name}{stack}".lower())[:_READABLE]
    whole = "/".join((home.namespace_name.lower(), topology.name, stack))
    return f"{readable}{short_hash(whole, _HASHED)}"


def _encryption(key: CustomerKey | None) -> dict[str, Any]:
    if key is None:
        return {}
    return {
        "identity": {"type": "UserAssigned", "user_assigned_identities": [key.identity]},
        "encryption": {
            "key_source": "Microsoft.Keyvault",
            "key_vault_properties": {"key_name": key.key_name, "key_vault_uri": key.vault_uri},
            "encryption_identity": {"encryption_user_assigned_identity": key.identity},
        },
    }


def _expiry(topology: Topology) -> dict[str, Any]:
    # Nothing is written twice: the age of a blob is that of its upload.
    delete = {"days_after_modification_greater_than": bodies.days(topology)}
    filters = {"blob_types": ["blockBlob"], "prefix_match": [f"{bodies.KIND}/{bodies.prefix(topology)}"]}
    return {
        "name": bodies.KIND,
        "enabled": True,
        "type": "Lifecycle",
        "definition": {"actions": {"base_blob": {"delete": delete}}, "filters": filters},
    }


def _resource(
    type_: str, name: str, properties: Mapping[str, Any], kind: str, *, keeps_messages: bool = False
) -> Resource:
    return Resource(
        f"azure-native:storage:{type_}",
        f"bus.bodies-{name}",
        properties,
        kind,
        bodies.ENTRY,
        keeps_messages=keeps_messages,
    )


def roles(topology: Topology, service: Service) -> Iterator[str]:
    """Give the roles by which a service stores bodies, and fetches them."""
    if topology.large_bodies is None:
        return
    if bodies.puts(service):
        yield PUTTER
    if bodies.gets(topology, service):
        yield GETTER


def condition(topology: Topology, role: str) -> str:
    """Give the condition of an assignment, which keeps a role from all but its one purpose.

    What is told of no path, as a list is, doesn't begin as this bus's bodies do; and no body has the other path.
    """
    own = f"(@Resource[{_BLOBS}:path] StringStartsWith '{bodies.prefix(topology)}')"
    if role == GETTER:
        return f"((!(ActionMatches{{'{_BLOBS}/read'}})) OR {own})"
    stores = f"(!(ActionMatches{{'{_BLOBS}/write'}}) AND !(ActionMatches{{'{_BLOBS}/add/action'}}))"
    others = " AND ".join(f"!(ActionMatches{{'{_BLOBS}/{one}'}})" for one in ("read", "delete", "move/action"))
    return f"(({stores} OR {own}) AND (({others}) OR (@Resource[{_BLOBS}:path] StringEquals 'nothing')))"


def of_binding(home: Home, find: Callable[[str | Ref | Join], str]) -> Bodies | None:
    """Give the container's URL and obstore's options for it; None where there are no large bodies."""
    if home.topology.large_bodies is None:
        return None
    account, domain = find(ACCOUNT), _DOMAINS.get(home.settings.environment or "")
    elsewhere = {"endpoint": f"https://{account}.{domain}"} if domain else {}
    return bodies.of_binding(home.topology, f"az://{bodies.KIND}", account_name=account, **elsewhere)


def exports(home: Home) -> dict[str, Any]:
    """Give the account and the container by which other infrastructure finds them."""
    if home.topology.large_bodies is None:
        return {}
    return {"bodies": {"account": ACCOUNT, "accountId": Ref(ACCOUNT.resource, "id"), "container": bodies.KIND}}
