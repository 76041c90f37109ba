"""What Azure allows: "Naming rules and restrictions for Azure resources" and "Service Bus quotas and limits"."""

from __future__ import annotations

from collections import Counter

from .limit import (
    Count,
    Limit,
    has,
    of,
    ranged,
    spelled,
    tagged,
    within,
)

_TOPIC, _QUEUE = "azure-native:servicebus:Topic", "azure-native:servicebus:Queue"
_READ, _SPACE = "azure-native:servicebus:Subscription", "azure-native:servicebus:Namespace"
_RULE, _GROUP = "azure-native:servicebus:DefaultRule", "azure-native:resources:ResourceGroup"
_ALERT, _ACTIONS = "azure-native:monitor:MetricAlert", "azure-native:monitor:ActionGroup"
_PORTAL, _ROLE = "azure-native:portal:Dashboard", "azure-native:authorization:RoleAssignment"
_SECRET, _VALUE = "azure-native:keyvault:Secret", "azure-native:appconfiguration:KeyValue"
_STORE = "azure-native:storage:StorageAccount"
_ENDPOINT = "azure-native:network:PrivateEndpoint"
_ENTITY = r"(?=.{1,260}$)[A-Za-z0-9]([A-Za-z0-9._~/-]*[A-Za-z0-9])?"


LIMITS = (
    Limit("account name", (_STORE,), spelled("account_name", r"[a-z0-9]{3,24}"), {"account_name": "a-b"}),
    Limit(
        "account's tags", (_STORE,), tagged("tags", 50, r"[^<>%&\\?/]{1,128}", r".{0,256}"), {"tags": {"x" * 129: ""}}
    ),
    Limit("condition", (_ROLE,), lambda p: len(p["condition"]) <= 8_192, {"condition": "x" * 8_193}, has("condition")),
    Limit("topic name", (_TOPIC,), spelled("topic_name", _ENTITY), {"topic_name": "x" * 261}),
    Limit("queue name", (_QUEUE,), spelled("queue_name", _ENTITY), {"queue_name": "a-"}),
    Limit(
        "subscription name",
        (_READ,),
        spelled("subscription_name", r"(?=.{1,50}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"),
        {"subscription_name": "x" * 51},
    ),
    Limit(
        "namespace name",
        (_SPACE,),
        spelled("namespace_name", r"[A-Za-z][-A-Za-z0-9]{4,48}[A-Za-z0-9](?<!-sb)(?<!-mgmt)"),
        {"namespace_name": "x" * 46 + "-mgmt"},
    ),
    Limit(
        "resource group name",
        (_GROUP,),
        spelled("resource_group_name", r"[\w.()-]{1,90}(?<!\.)"),
        {"resource_group_name": "x" * 91},
    ),
    Limit("lock", (_READ, _QUEUE), ranged("lock_duration", 5, 300), {"lock_duration": "PT5M1S"}),
    Limit("deliveries", (_READ, _QUEUE), within("max_delivery_count", 1, 2_000), {"max_delivery_count": 0}),
    Limit(
        "time to live",
        (_READ, _QUEUE),
        ranged("default_message_time_to_live", 1, 922_337_203_685),
        {"default_message_time_to_live": "PT0S"},
    ),
    Limit(
        "duplicate window",
        (_TOPIC, _QUEUE),
        ranged("duplicate_detection_history_time_window", 20, 7 * 86_400),
        {"duplicate_detection_history_time_window": "PT19S"},
    ),
    Limit(
        "filter",
        (_RULE,),
        lambda p: len(p["sql_filter"]["sql_expression"]) <= 1_024,
        {"sql_filter": {"sql_expression": "x" * 1_025}},
    ),
    Limit(
        "message size",
        (_TOPIC, _QUEUE),
        within("max_message_size_in_kilobytes", 1_024, 102_400),
        {"max_message_size_in_kilobytes": 1_023},
        has("max_message_size_in_kilobytes"),
    ),
    Limit("capacity", (_SPACE,), lambda p: p["sku"].get("capacity", 1) in (1, 2, 4, 8, 16), {"sku": {"capacity": 3}}),
    Limit(
        "assignment name",
        (_ROLE,),
        spelled("role_assignment_name", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        {"role_assignment_name": "x"},
    ),
    Limit(
        "private endpoint name",
        (_ENDPOINT,),
        spelled("private_endpoint_name", r"\w[\w.-]{0,78}\w"),
        {"private_endpoint_name": "x" * 81},
    ),
    Limit("alert name", (_ALERT,), spelled("rule_name", r"[^*#&+:<>?@%{}\\/]{1,260}(?<![ .])"), {"rule_name": "a:b"}),
    Limit(
        "action group name",
        (_ACTIONS,),
        spelled("action_group_name", r"[^/&%?\\]{1,260}(?<![ .])"),
        {"action_group_name": "x" * 261},
    ),
    Limit(
        "action group's short name",
        (_ACTIONS,),
        spelled("group_short_name", r".{1,12}"),
        {"group_short_name": "x" * 13},
    ),
    Limit("secret name", (_SECRET,), spelled("secret_name", r"[A-Za-z0-9-]{1,127}"), {"secret_name": "a_b"}),
    Limit("key name", (_VALUE,), spelled("key_value_name", r"[A-Za-z0-9-]{5,512}"), {"key_value_name": "a/b%"}),
    Limit("dashboard name", (_PORTAL,), spelled("dashboard_name", r"[A-Za-z0-9-]{3,160}"), {"dashboard_name": "a_b"}),
    Limit(
        "tags",
        (_SPACE, _GROUP, _ALERT, _ACTIONS, _PORTAL, _ENDPOINT),
        tagged("tags", 50, r"[^<>%&\\?/]{1,512}", r".{0,256}"),
        {"tags": {f"key-{number}": "v" for number in range(51)}},
    ),
)

COUNTS = (
    Count("subscriptions of a topic", 2_000, lambda plan: Counter(str(one["topic_name"]) for one in of(plan, _READ))),
    Count("rules of a topic", 2_000, lambda plan: Counter(str(one["topic_name"]) for one in of(plan, _RULE))),
    Count("topics and queues of a namespace", 10_000, lambda plan: {"": len([*of(plan, _TOPIC, _QUEUE)])}),
)
