"""What an entity is created with. Times are seconds, sizes bytes; None means for ever or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal

__all__ = [
    "AccessRule",
    "AnyOptions",
    "Counts",
    "QueueOptions",
    "SubscriptionOptions",
    "TopicOptions",
    "check_name",
    "check_options",
]

# Sources: Microsoft's "Service Bus quotas", and the validators of terraform-provider-azurerm.
STANDARD_MESSAGE_BYTES = 256 * 1024
PREMIUM_MESSAGE_BYTES = 100 * 1024 * 1024
LONGEST_LOCK = 300.0
MOST_KEYS = 12
MOST_DELIVERIES = 2000
SHORTEST_WINDOW, LONGEST_WINDOW = 20.0, 7 * 86400.0
_ENTITY_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._~/-]{0,258}[A-Za-z0-9])?\Z")
_CHILD_NAME = re.compile(r"[A-Za-z0-9$]([A-Za-z0-9._-]{0,48}[A-Za-z0-9])?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """A key of an entity's own: "Send", "Listen", "Manage" on it and what is below it."""

    name: str
    claims: tuple[str, ...]
    primary: str = field(repr=False)
    secondary: str = field(repr=False)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> AccessRule:
        return cls(**{**row, "claims": tuple(row["claims"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    lock_duration: float = 60.0
    max_delivery_count: int = 10
    requires_session: bool = False
    default_ttl: float | None = None
    dead_letter_on_expiry: bool = False
    detects_duplicates: bool = False
    duplicate_window: float = 600.0
    forward_to: str | None = None
    forward_dead_letters_to: str | None = None
    max_message_bytes: int = STANDARD_MESSAGE_BYTES
    max_size_megabytes: int = 1024
    partitioned: bool = False
    status: str = "Active"
    auto_delete_on_idle: float | None = None
    user_metadata: str | None = None
    batched_operations: bool = True
    support_ordering: bool = True
    express: bool = False
    access: tuple[AccessRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    lock_duration: float = 60.0
    max_delivery_count: int = 10
    requires_session: bool = False
    default_ttl: float | None = None
    dead_letter_on_expiry: bool = False
    dead_letter_on_filter_error: bool = True
    forward_to: str | None = None
    forward_dead_letters_to: str | None = None
    status: str = "Active"
    auto_delete_on_idle: float | None = None
    user_metadata: str | None = None
    batched_operations: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicOptions:
    default_ttl: float | None = None
    detects_duplicates: bool = False
    duplicate_window: float = 600.0
    max_message_bytes: int = STANDARD_MESSAGE_BYTES
    max_size_megabytes: int = 1024
    partitioned: bool = False
    support_ordering: bool = True
    status: str = "Active"
    auto_delete_on_idle: float | None = None
    user_metadata: str | None = None
    batched_operations: bool = True
    express: bool = False
    filters_before_publishing: bool = False
    subscription_partitioning: bool = False
    access: tuple[AccessRule, ...] = ()


AnyOptions = QueueOptions | SubscriptionOptions | TopicOptions


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages a queue or subscription holds, by where they are."""

    active: int
    deferred: int
    scheduled: int
    dead_letter: int
    transfer_dead_letter: int
    size: int


def check_name(name: str, *, child: bool = False) -> str:
    """Return a name that is allowed for an entity (or, `child`, a subscription or rule); raise Refusal."""
    if not (_CHILD_NAME if child else _ENTITY_NAME).match(name):
        allowed = "1 to 50 of [A-Za-z0-9._-]" if child else "1 to 260 of [A-Za-z0-9._~/-]"
        raise Refusal(ARGUMENT_ERROR, f"The name '{name}' is not allowed: {allowed}, letters or digits at the ends.")
    return name


def _between(name: str, value: float | None, low: float, high: float) -> None:
    if value is None or not low <= value <= high:
        raise Refusal(ARGUMENT_ERROR, f"{name} is {value}, allowed is {low} to {high}.")


def check_options(options: Any) -> None:
    """Raise Refusal where a value is outside of what the service allows."""
    lock = getattr(options, "lock_duration", None)
    if lock is not None:
        if not 0 < lock <= LONGEST_LOCK:
            raise Refusal(ARGUMENT_ERROR, f"lock_duration is {lock} s, allowed are up to {LONGEST_LOCK} s.")
        _between("max_delivery_count", options.max_delivery_count, 1, MOST_DELIVERIES)
    if hasattr(options, "duplicate_window"):
        _between("duplicate_window", options.duplicate_window, SHORTEST_WINDOW, LONGEST_WINDOW)
    names = [rule.name for rule in getattr(options, "access", ())]
    if len(set(names)) < len(names) or len(names) > MOST_KEYS:
        raise Refusal(ARGUMENT_ERROR, f"An entity has up to {MOST_KEYS} authorization rules, each of its own name.")
    if options.default_ttl is not None and options.default_ttl <= 0:
        raise Refusal(ARGUMENT_ERROR, "default_ttl must be more than 0 s.")
    size = getattr(options, "max_message_bytes", None)
    if size is not None:
        _between("max_message_bytes", size, 1024, PREMIUM_MESSAGE_BYTES)
    if options.status not in ("Active", "Disabled", "SendDisabled", "ReceiveDisabled"):
        raise Refusal(ARGUMENT_ERROR, f"status '{options.status}' is unknown.")
