"""What of a stack's configuration Azure would refuse in the middle of an update, found before the first resource."""

from __future__ import annotations

import re
from collections.abc import Iterator

from polybus.clouds.azure.plan import published
from polybus.clouds.azure.plan.diagnostics import LOGS
from polybus.clouds.azure.plan.namespace import AzureSettings, Principal, principal_of
from polybus.plan.later import Text
from polybus.plan.settings import Mistake

__all__ = ["mistakes"]

# Of a role assignment ("Role Assignments - Create", Azure's REST reference).
_TYPES = ("ServicePrincipal", "User", "Group", "ForeignGroup", "Device")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PROXY = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+/?")
_PASSWORD = re.compile(r"//[^/]*@")
_GROUP = r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers"
_SUBNET = re.compile(rf"{_GROUP}/Microsoft\.Network/virtualNetworks/[^/]+/subnets/[^/]+", re.IGNORECASE)
_WORKSPACE = re.compile(rf"{_GROUP}/Microsoft\.OperationalInsights/workspaces/[^/]+", re.IGNORECASE)
_STORAGE = re.compile(rf"{_GROUP}/Microsoft\.Storage/storageAccounts/[^/]+", re.IGNORECASE)
_IDENTITY = re.compile(rf"{_GROUP}/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+", re.IGNORECASE)


def mistakes(settings: AzureSettings) -> Iterator[Mistake]:
    """Give everything that is wrong by itself, whatever the topology is."""
    for key, principals in (("principals", settings.principals), ("functions", settings.functions)):
        for name, principal in principals.items():
            yield from _who(f"{key}.{name}", principal_of(principal))
    yield from _form("subnet", settings.subnet, _SUBNET, ".../virtualNetworks/<network>/subnets/<subnet>")
    own = settings.customer_key
    if own is not None:
        yield from _form("customerKey.vaultUri", own.vault_uri, re.compile(r"https://[^/]+/?"), "https://<vault>/")
        identity = ".../userAssignedIdentities/<identity>"
        yield from _form("customerKey.identity", own.identity, _IDENTITY, identity)
    if settings.transport not in (None, "amqp", "websocket"):
        yield Mistake("transport", settings.transport, "amqp, websocket")
    if settings.proxy is not None and not _PROXY.fullmatch(settings.proxy):
        allowed = "http://<host>:<port>; a name and password would be in every binding, which holds no secrets"
        yield Mistake("proxy", _PASSWORD.sub("//...@", settings.proxy), allowed)
    yield from _bindings(settings)
    yield from _diagnostics(settings)
    if settings.public_access is False and not settings.premium:
        allowed = (
            "true, or sku: Premium with subnet; a Standard namespace has no other way in, private endpoints are for"
        )
        yield Mistake("publicAccess", False, f"{allowed} Premium alone")


def _bindings(settings: AzureSettings) -> Iterator[Mistake]:
    if settings.bindings is None:
        return
    store, own = published.of(settings), (settings.subscription_id or "").lower()
    if store is None:
        allowed = "the resource id of a key vault or of an App Configuration store that is there"
        yield Mistake("bindings", settings.bindings, allowed)
    elif own and store.subscription.lower() != own:
        yield Mistake("bindings", settings.bindings, f"one of the stack's own subscription, {own}")


def _diagnostics(settings: AzureSettings) -> Iterator[Mistake]:
    given = settings.diagnostics
    if given is None:
        return
    if given.workspace is None and given.storage is None:
        yield Mistake("diagnostics", None, "workspace or storage, or both")
    yield from _form("diagnostics.workspace", given.workspace, _WORKSPACE, ".../workspaces/<workspace>")
    yield from _form("diagnostics.storage", given.storage, _STORAGE, ".../storageAccounts/<account>")
    for category in given.logs:
        if category not in LOGS:
            yield Mistake("diagnostics.logs", category, ", ".join(LOGS))
        elif LOGS[category] and not settings.premium:
            yield Mistake("diagnostics.logs", category, f"{category} where sku is Premium alone")


def _who(key: str, principal: Principal) -> Iterator[Mistake]:
    if not _UUID.fullmatch(str(principal.id)):
        allowed = "an object id in Entra ID, which is a UUID: `az ad sp show --id <application> --query id`"
        yield Mistake(key, principal.id, allowed)
    if principal.type not in _TYPES:
        yield Mistake(f"{key}.type", principal.type, ", ".join(_TYPES))


def _form(key: str, found: Text | None, form: re.Pattern[str], shape: str) -> Iterator[Mistake]:
    if found is not None and not form.fullmatch(str(found)):
        kind = "a URL" if shape.startswith("https") else "a resource id"
        yield Mistake(key, found, f"{kind}, {shape}")
