"""How often and how fast a delivery over HTTP is tried again: by a topic's policy and a subscription's.

Fields, ranges and defaults: SNS Developer Guide, "Message delivery retries", and what AWS was recorded to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.localcloud.aws.errors import sns_invalid

__all__ = ["check_policy", "effective", "effective_of", "retries_of"]

CONTENT_TYPE = "text/plain; charset=UTF-8"
_RETRIES: dict[str, Any] = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
_MOST_DELAY = 3_600  # seconds of minDelayTarget and maxDelayTarget
_MOST_RETRIES = 100


def check_policy(text: str, *, where: str) -> str:
    """Return a delivery policy as it is kept; raises AwsError for what is none."""
    document = _document(text, where)
    retries = _part(document, "http", "defaultHealthyRetryPolicy") or _part(document, "healthyRetryPolicy")
    for name, most in (("minDelayTarget", _MOST_DELAY), ("maxDelayTarget", _MOST_DELAY), ("numRetries", _MOST_RETRIES)):
        value = retries.get(name, 0)
        if type(value) is not int or not 0 <= value <= most:
            raise sns_invalid(f"{where}DeliveryPolicy: {name} must be between 0 and {most}")
    if isinstance(document.get("http"), dict):
        document["http"].setdefault("disableSubscriptionOverrides", False)
        return msgspec.json.encode(document).decode()
    return text


def effective(text: str | None) -> str:
    """Return a topic's policy with what it leaves open, as topics show it."""
    document = _document(text, "") if text else {}
    http = {
        "defaultHealthyRetryPolicy": _RETRIES | _part(document, "http", "defaultHealthyRetryPolicy"),
        "disableSubscriptionOverrides": bool(_part(document, "http").get("disableSubscriptionOverrides")),
        "defaultRequestPolicy": {"headerContentType": CONTENT_TYPE} | _part(document, "http", "defaultRequestPolicy"),
    }
    return msgspec.json.encode({"http": http}).decode()


def effective_of(topic: str | None, subscription: str | None) -> dict[str, Any]:
    """Return what holds for an HTTP subscription: its own policy where the topic allows it, else the topic's."""
    above: dict[str, Any] = msgspec.json.decode(effective(topic))["http"]
    own = _document(subscription, "") if subscription and not above["disableSubscriptionOverrides"] else {}
    return {
        "healthyRetryPolicy": above["defaultHealthyRetryPolicy"] | _part(own, "healthyRetryPolicy"),
        "sicklyRetryPolicy": None,
        "throttlePolicy": own.get("throttlePolicy"),
        "requestPolicy": above["defaultRequestPolicy"] | _part(own, "requestPolicy"),
        "guaranteed": False,
    }


def retries_of(policy: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the seconds before each further try: none at first, then the least, then rising, then the most."""
    one = policy["healthyRetryPolicy"]
    total, low, high = one["numRetries"], float(one["minDelayTarget"]), float(one["maxDelayTarget"])
    at_once, lowest, highest = one["numNoDelayRetries"], one["numMinDelayRetries"], one["numMaxDelayRetries"]
    rising = max(total - at_once - lowest - highest, 0)
    steps = [low + (high - low) * step / max(rising - 1, 1) for step in range(rising)]
    return tuple([0.0] * at_once + [low] * lowest + steps + [high] * highest)[:total]


def _document(text: str, where: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise sns_invalid(f"{where}DeliveryPolicy: failed to parse JSON.")
    return document


def _part(document: Mapping[str, Any], *path: str) -> dict[str, Any]:
    at: Any = document
    for name in path:
        at = at.get(name) if isinstance(at, Mapping) else None
    return dict(at) if isinstance(at, Mapping) else {}
