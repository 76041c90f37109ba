"""Which properties of a resource Azure doesn't change: another value means another resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.clouds.azure.plan.provider_facts import FACTS

__all__ = ["IMMUTABLE", "UNANNOUNCED", "replaces"]

IMMUTABLE: Mapping[str, frozenset[str]] = {type_: facts.immutable for type_, facts in FACTS.items()}

UNANNOUNCED: Mapping[str, frozenset[str]] = {
    # Service Bus refuses it ("can only be set at the time of creating", learn.microsoft.com "enable-message-sessions"),
    # and forceNewMap has it for queues and topics alone.
    "azure-native:servicebus:Subscription": frozenset({"requires_session"}),
    # No resource moves to another region in place, and the specification of networks alone doesn't say so.
    "azure-native:network:PrivateEndpoint": frozenset({"location"}),
}


def replaces(property_: str, old: Any, new: Any) -> bool | None:
    """Say whether a namespace is replaced: it can't move between Premium and the other SKUs."""
    return _is_premium(old) != _is_premium(new) if property_ == "sku" else None


def _is_premium(sku: Any) -> bool:
    return isinstance(sku, Mapping) and sku.get("name") == "Premium"
