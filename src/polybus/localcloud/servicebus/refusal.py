"""Why the server refuses something, as Service Bus names it."""

from __future__ import annotations

__all__ = [
    "ARGUMENT_ERROR",
    "ARGUMENT_OUT_OF_RANGE",
    "DECODE_ERROR",
    "DETACH_FORCED",
    "ENTITY_ALREADY_EXISTS",
    "ENTITY_DISABLED",
    "FRAMING_ERROR",
    "INTERNAL_ERROR",
    "LOCK_LOST",
    "MESSAGE_NOT_FOUND",
    "NOT_ALLOWED",
    "NOT_FOUND",
    "NOT_IMPLEMENTED",
    "QUOTA_EXCEEDED",
    "SERVER_BUSY",
    "SESSION_CANNOT_BE_LOCKED",
    "SESSION_LOCK_LOST",
    "TIMEOUT",
    "TOO_LARGE",
    "UNAUTHORIZED",
    "Refusal",
]

LOCK_LOST = "com.microsoft:message-lock-lost"
SESSION_LOCK_LOST = "com.microsoft:session-lock-lost"
SESSION_CANNOT_BE_LOCKED = "com.microsoft:session-cannot-be-locked"
MESSAGE_NOT_FOUND = "com.microsoft:message-not-found"
ENTITY_DISABLED = "com.microsoft:entity-disabled"
ENTITY_ALREADY_EXISTS = "com.microsoft:entity-already-exists"
ARGUMENT_ERROR = "com.microsoft:argument-error"
ARGUMENT_OUT_OF_RANGE = "com.microsoft:argument-out-of-range"
SERVER_BUSY = "com.microsoft:server-busy"
TIMEOUT = "com.microsoft:timeout"
NOT_FOUND = "amqp:not-found"
NOT_ALLOWED = "amqp:not-allowed"
NOT_IMPLEMENTED = "amqp:not-implemented"
UNAUTHORIZED = "amqp:unauthorized-access"
QUOTA_EXCEEDED = "amqp:resource-limit-exceeded"
TOO_LARGE = "amqp:link:message-size-exceeded"
DECODE_ERROR = "amqp:decode-error"
DETACH_FORCED = "amqp:link:detach-forced"
FRAMING_ERROR = "amqp:connection:framing-error"
INTERNAL_ERROR = "amqp:internal-error"

_STATUS = {
    LOCK_LOST: 410,
    SESSION_LOCK_LOST: 410,
    SESSION_CANNOT_BE_LOCKED: 409,
    MESSAGE_NOT_FOUND: 404,
    NOT_FOUND: 404,
    ENTITY_ALREADY_EXISTS: 409,
    UNAUTHORIZED: 401,
    SERVER_BUSY: 503,
    TIMEOUT: 408,
    NOT_IMPLEMENTED: 501,
    QUOTA_EXCEEDED: 403,
    INTERNAL_ERROR: 500,
}


class Refusal(Exception):
    """One operation is refused: an AMQP condition, a description, and the HTTP status that goes with it."""

    def __init__(self, condition: str, description: str, status: int | None = None) -> None:
        super().__init__(description)
        self.condition = condition
        self.description = description
        self.status = status if status is not None else _STATUS.get(condition, 400)
