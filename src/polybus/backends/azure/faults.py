"""What the exceptions of azure-servicebus, azure-core and azure-identity mean: the only place here that names them."""

from __future__ import annotations

from azure.core import exceptions as core
from azure.servicebus import exceptions as bus

from polybus.errors import Fault, FaultKind, MissingExtra, PolybusError

__all__ = ["fault", "is_conclusive", "is_no_session", "is_not_open"]

_ADVICE = {
    FaultKind.UNAUTHENTICATED: "check what DefaultAzureCredential finds (environment, managed identity, az login)",
    FaultKind.DENIED: "deploy the stack with this right in the service's declaration, or use that service's identity",
    FaultKind.NOT_FOUND: "deploy the stack, or refresh the binding: pulumi stack output polybus --json",
    FaultKind.UNAVAILABLE: "check the namespace's name in the binding, the network and the firewall",
}

# By type; the first that fits counts, so a subclass stands before its parent.
_TYPES: tuple[tuple[type[Exception], FaultKind], ...] = (
    (bus.MessageLockLostError, FaultKind.LEASE_LOST),
    (bus.SessionLockLostError, FaultKind.LEASE_LOST),
    (bus.MessageNotFoundError, FaultKind.LEASE_LOST),
    (bus.MessageSizeExceededError, FaultKind.TOO_LARGE),
    (bus.ServiceBusServerBusyError, FaultKind.THROTTLED),
    # The entity is full: there is room again once consumers have caught up.
    (bus.ServiceBusQuotaExceededError, FaultKind.THROTTLED),
    (bus.ServiceBusAuthorizationError, FaultKind.DENIED),
    (bus.ServiceBusAuthenticationError, FaultKind.UNAUTHENTICATED),
    (bus.MessagingEntityNotFoundError, FaultKind.NOT_FOUND),
    (bus.MessagingEntityDisabledError, FaultKind.UNAVAILABLE),
    (bus.OperationTimeoutError, FaultKind.TIMEOUT),
    (bus.SessionCannotBeLockedError, FaultKind.UNAVAILABLE),
    (bus.ServiceBusConnectionError, FaultKind.UNAVAILABLE),
    (bus.ServiceBusCommunicationError, FaultKind.UNAVAILABLE),
    (core.ClientAuthenticationError, FaultKind.UNAUTHENTICATED),  # azure-identity's too
    (core.ResourceNotFoundError, FaultKind.NOT_FOUND),
    (core.ServiceRequestError, FaultKind.UNAVAILABLE),
    (core.ServiceResponseError, FaultKind.UNAVAILABLE),
)

# AMQP conditions that the library has no type of its own for ("AMQP errors in Azure Service Bus", Microsoft's docs).
_CONDITIONS = {
    "amqp:not-found": FaultKind.NOT_FOUND,
    "amqp:unauthorized-access": FaultKind.DENIED,
    "amqp:resource-limit-exceeded": FaultKind.THROTTLED,
    "amqp:link:message-size-exceeded": FaultKind.TOO_LARGE,
    "amqp:not-allowed": FaultKind.INVALID,
    "amqp:not-implemented": FaultKind.INVALID,
    "amqp:decode-error": FaultKind.INVALID,
    "amqp:invalid-field": FaultKind.INVALID,
    "com.microsoft:argument-error": FaultKind.INVALID,
    "com.microsoft:argument-out-of-range": FaultKind.INVALID,
    "com.microsoft:entity-disabled": FaultKind.UNAVAILABLE,
    "com.microsoft:server-busy": FaultKind.THROTTLED,
    "com.microsoft:timeout": FaultKind.TIMEOUT,
}
_STATUSES = {
    400: FaultKind.INVALID,
    401: FaultKind.UNAUTHENTICATED,
    403: FaultKind.DENIED,
    404: FaultKind.NOT_FOUND,
    408: FaultKind.TIMEOUT,
    429: FaultKind.THROTTLED,
    503: FaultKind.UNAVAILABLE,
}
# How deep causes are looked into: an SDK error wraps the AMQP error, which wraps the socket's.
DEPTH = 4


def fault(error: Exception) -> Fault:
    """Say what an exception of the SDK means."""
    code = _condition(error)
    kind = _kind(error, code)
    text = _text(error)
    if kind in (FaultKind.INTERNAL, FaultKind.INVALID):
        text = f"{type(error).__name__}: {text}"
    advice = _ADVICE.get(kind)
    if isinstance(error, bus.MessagingEntityDisabledError):
        advice = "someone has disabled the entity: enable it in the portal"
    return Fault(kind, f"{text}; {advice}" if advice else text, code)


def _text(error: Exception) -> str:
    """Return what an error says, in one line; a refused token says only in its cause which entity it was for."""
    inner = getattr(error, "inner_exception", None)
    said = inner if isinstance(error, bus.ServiceBusAuthenticationError) and inner is not None else error
    return " ".join(str(said).split())


def _kind(error: Exception, code: str | None) -> FaultKind:
    if isinstance(error, bus.ServiceBusAuthenticationError):
        # The token is put for one entity: one that isn't there is answered by 404, and comes as this error too.
        return _STATUSES.get(_status(error) or 0, FaultKind.UNAUTHENTICATED)
    if isinstance(error, core.HttpResponseError) and error.status_code in _STATUSES:
        return _STATUSES[error.status_code]
    for kind, found in _TYPES:
        if isinstance(error, kind):
            return found
    if code in _CONDITIONS:
        return _CONDITIONS[code]
    inner = getattr(error, "inner_exception", None)
    if isinstance(error, bus.ServiceBusError) and isinstance(inner, Exception):
        return _inner(inner)
    if isinstance(error, OSError):
        return FaultKind.UNAVAILABLE
    if isinstance(error, ValueError | MissingExtra | PolybusError):
        return FaultKind.INVALID
    return FaultKind.INTERNAL


def _inner(inner: Exception) -> FaultKind:
    """Say what something means that the library met and did not expect, such as an error of the credential."""
    if isinstance(inner, core.AzureError):
        return fault(inner).kind
    return FaultKind.UNAVAILABLE if isinstance(inner, OSError) else FaultKind.INTERNAL


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: object = error
    while isinstance(current, BaseException) and len(found) < DEPTH:
        found.append(current)
        current = getattr(current, "inner_exception", None)
    return found


def _condition(error: Exception) -> str | None:
    """Return the AMQP condition that is behind an error, or the HTTP status."""
    for cause in _causes(error):
        condition = getattr(cause, "condition", None)
        value = getattr(condition, "value", condition)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if isinstance(value, str):
            return value
    status = _status(error)
    return None if status is None else str(status)


def _status(error: Exception) -> int | None:
    for cause in _causes(error):
        status = getattr(cause, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def is_not_open(error: Exception) -> bool:
    """Say whether a call was refused because its link had been closed after an error: nothing was sent."""
    return isinstance(error, ValueError) and not isinstance(error, bus.ServiceBusError | bus.MessageAlreadySettled)


def is_conclusive(error: Exception) -> bool:
    """Say whether a settlement failed only because it had been done before."""
    return isinstance(error, bus.MessageAlreadySettled)


def is_no_session(error: Exception) -> bool:
    """Say whether there was no session to be had in time, or another took it."""
    return isinstance(error, bus.OperationTimeoutError | bus.SessionCannotBeLockedError)
