"""Config.json, the file that Microsoft's Service Bus emulator reads.

Source: Microsoft's "Test locally by using the Azure Service Bus emulator", and the Config.json of its repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from polybus.localcloud.servicebus.durations import parse_duration
from polybus.localcloud.servicebus.entities.namespace import Namespace
from polybus.localcloud.servicebus.entities.options import QueueOptions, SubscriptionOptions, TopicOptions
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal
from polybus.localcloud.servicebus.rules.rule import CORRELATION_FIELDS, TRUE_FILTER, CorrelationFilter, Rule, SqlFilter

__all__ = ["read_config"]

_TIMES = {
    "LockDuration": "lock_duration",
    "DefaultMessageTimeToLive": "default_ttl",
    "DuplicateDetectionHistoryTimeWindow": "duplicate_window",
    "AutoDeleteOnIdle": "auto_delete_on_idle",
}
_PLAIN = {
    "MaxDeliveryCount": "max_delivery_count",
    "RequiresSession": "requires_session",
    "DeadLetteringOnMessageExpiration": "dead_letter_on_expiry",
    "RequiresDuplicateDetection": "detects_duplicates",
    "ForwardTo": "forward_to",
    "ForwardDeadLetteredMessagesTo": "forward_dead_letters_to",
}


def read_config(path: Path, namespace: Namespace) -> None:
    """Create what the file names and isn't there yet; raise Refusal, ValueError or OSError, naming the place."""
    try:
        document = json.loads(path.read_text("utf-8-sig"))
        spaces = document["UserConfig"]["Namespaces"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: no UserConfig.Namespaces in it; is it a Config.json of the emulator?") from error
    for space in spaces:
        for queue in space.get("Queues") or []:
            if queue["Name"].lower() not in namespace.entities:
                namespace.create_queue(queue["Name"], QueueOptions(**_options(queue, QueueOptions, path)))
        for topic in space.get("Topics") or []:
            if topic["Name"].lower() not in namespace.entities:
                namespace.create_topic(topic["Name"], TopicOptions(**_options(topic, TopicOptions, path)))
            for subscription in topic.get("Subscriptions") or []:
                _subscription(namespace, topic["Name"], subscription, path)


def _subscription(namespace: Namespace, topic: str, entry: Mapping[str, Any], path: Path) -> None:
    if entry["Name"].lower() in namespace.topic(topic).subscriptions:
        return
    rules = [_rule(rule, path) for rule in entry.get("Rules") or []]
    options = SubscriptionOptions(**_options(entry, SubscriptionOptions, path))
    namespace.create_subscription(topic, entry["Name"], options, rules or None)


def _options(
    entry: Mapping[str, Any], kind: type[QueueOptions] | type[TopicOptions] | type[SubscriptionOptions], path: Path
) -> dict[str, Any]:
    allowed = {field.name for field in fields(kind)}
    found: dict[str, Any] = {}
    for name, value in (entry.get("Properties") or {}).items():
        target = _TIMES.get(name) or _PLAIN.get(name)
        if target is None or target not in allowed:
            raise Refusal(ARGUMENT_ERROR, f"{path}: '{name}' of '{entry['Name']}' is unknown.")
        if value in ("", None):
            continue
        found[target] = parse_duration(value) if name in _TIMES else value
    return found


def _rule(entry: Mapping[str, Any], path: Path) -> Rule:
    properties = entry.get("Properties") or {}
    action = (properties.get("Action") or {}).get("SqlExpression")
    match properties.get("FilterType"):
        case "Sql":
            return Rule(entry["Name"], SqlFilter(properties["SqlFilter"]["SqlExpression"]), action)
        case "Correlation":
            given = dict(properties["CorrelationFilter"])
            own = given.pop("Properties", None) or {}
            if "Subject" in given:
                given["Label"] = given.pop("Subject")
            unknown = set(given) - set(CORRELATION_FIELDS)
            if unknown:
                raise Refusal(ARGUMENT_ERROR, f"{path}: rule '{entry['Name']}' names {sorted(unknown)}.")
            return Rule(entry["Name"], CorrelationFilter(given, own), action)
        case None | "True":
            return Rule(entry["Name"], TRUE_FILTER, action)
        case other:
            raise Refusal(ARGUMENT_ERROR, f"{path}: FilterType '{other}' of rule '{entry['Name']}' is unknown.")
