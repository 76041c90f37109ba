"""Which properties are compared with a plan: what the API gives back and a topology decides.

The defaults are those that Azure fills in by itself; source: the API reference of Service Bus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from polybus.plan import same
from polybus.plan.drift_rules import Derive, Rules
from polybus.plan.same import Same

__all__ = ["DRIFT"]


def _sql(properties: Mapping[str, Any]) -> str:
    return " ".join(str((properties.get("sql_filter") or {}).get("sql_expression", "")).split())


def _action(properties: Mapping[str, Any]) -> str:
    return " ".join(str((properties.get("action") or {}).get("sql_expression") or "").split())


def _forward_to(properties: Mapping[str, Any]) -> str:
    """Give the name of what it forwards to, which Service Bus answers as an address in the namespace."""
    return re.sub(r"^[a-z]+://[^/]+/", "", str(properties.get("forward_to") or ""))


_FORWARDING: Mapping[str, Derive] = {"forward_to": _forward_to}
_DETECTION: Mapping[str, Same] = {
    "requires_duplicate_detection": same.flags,
    "duplicate_detection_history_time_window": same.texts,
    "enable_partitioning": same.flags,
}
_DELIVERY: Mapping[str, Same] = {
    "requires_session": same.flags,
    "lock_duration": same.texts,
    "max_delivery_count": same.numbers(10),
    "default_message_time_to_live": same.texts,
    "dead_lettering_on_message_expiration": same.flags,
    # What is forwarded and wasn't planned to be never reaches its consumers.
    "forward_to": same.texts,
    "forward_dead_lettered_messages_to": same.texts,
    "entity_status": same.texts,
}
DRIFT: Mapping[str, Rules] = {
    "azure-native:servicebus:Topic": Rules(
        "topic",
        {
            "topic_name": same.texts,
            **_DETECTION,
            "support_ordering": same.flags,
            "entity_status": same.texts,
        },
    ),
    "azure-native:servicebus:Queue": Rules(
        "queue", {"queue_name": same.texts, **_DETECTION, **_DELIVERY}, derived=_FORWARDING
    ),
    "azure-native:servicebus:Subscription": Rules(
        "subscription",
        {
            "subscription_name": same.texts,
            **_DELIVERY,
            "dead_lettering_on_filter_evaluation_exceptions": same.flags,
        },
        derived=_FORWARDING,
    ),
    "azure-native:servicebus:DefaultRule": Rules(
        "filter", {"filter": same.texts, "action": same.texts}, derived={"filter": _sql, "action": _action}
    ),
}
