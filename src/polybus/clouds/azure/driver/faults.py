"""What the exceptions of azure-servicebus, azure-core and azure-identity mean: the only place here that names them."""

from __future__ import annotations

from azure.core import exceptions as core
from azure.servicebus import exceptions as bus

from polybus.clouds.azure.driver.bounds import Late
from polybus.errors import Fault, FaultKind, MissingExtra, PolybusError

__all__ = ["fault", "is_conclusive", "is_no_right", "is_no_session", "is_not_open", "is_of_one"]

_ADVICE = {
    FaultKind.UNAUTHENTICATED: "check what DefaultAzureCredential finds (environment, managed identity, az login)",
    FaultKind.DENIED: (
        "deploy the stack with this right in the service's declaration, or use that service's identity; a role that "
        "was assigned just now takes up to ten minutes to hold"
    ),
    FaultKind.NOT_FOUND: "deploy the stack, or refresh the binding: pulumi stack output polybus --json",
    FaultKind.UNAVAILABLE: "check the namespace's name in the binding, the network and the firewall",
}

_NO_CREDENTIALS = (
    "no credentials could be had now: check what DefaultAzureCredential finds (environment, managed identity, "
    "az login), and that it can be reached"
)
# What Microsoft asks for after `server-busy`, in seconds ("Throttling operations on Azure Service Bus").
BUSY = 10.0

# AMQP conditions: those of Service Bus ("AMQP errors in Azure Service Bus", Microsoft), those of AMQP 1.0 (2.8.14
# to 2.8.18), and the library's own for a connection that broke. What this link or connection alone did wrong passes
# with a new one.
_CONDITIONS = {
    "com.microsoft:argument-error": FaultKind.INVALID,
    "com.microsoft:argument-out-of-range": FaultKind.INVALID,
    "com.microsoft:auth-failed": FaultKind.DENIED,
    "com.microsoft:container-close": FaultKind.UNAVAILABLE,
    "com.microsoft:entity-already-exists": FaultKind.INVALID,
    "com.microsoft:entity-disabled": FaultKind.UNAVAILABLE,
    "com.microsoft:message-lock-lost": FaultKind.LEASE_LOST,
    "com.microsoft:message-not-found": FaultKind.LEASE_LOST,
    "com.microsoft:operation-cancelled": FaultKind.UNAVAILABLE,
    "com.microsoft:partition-not-owned": FaultKind.UNAVAILABLE,
    "com.microsoft:precondition-failed": FaultKind.INVALID,
    "com.microsoft:server-busy": FaultKind.THROTTLED,
    "com.microsoft:session-cannot-be-locked": FaultKind.UNAVAILABLE,
    "com.microsoft:session-lock-lost": FaultKind.LEASE_LOST,
    "com.microsoft:session-not-found": FaultKind.LEASE_LOST,
    "com.microsoft:store-lock-lost": FaultKind.UNAVAILABLE,
    "com.microsoft:timeout": FaultKind.TIMEOUT,
    "amqp:client-error": FaultKind.UNAVAILABLE,
    "amqp:connection:forced": FaultKind.UNAVAILABLE,
    "amqp:connection:framing-error": FaultKind.UNAVAILABLE,
    "amqp:connection:redirect": FaultKind.UNAVAILABLE,
    "amqp:decode-error": FaultKind.INVALID,
    "amqp:frame-size-too-small": FaultKind.INVALID,
    "amqp:illegal-state": FaultKind.UNAVAILABLE,
    "amqp:internal-error": FaultKind.INTERNAL,
    "amqp:invalid-field": FaultKind.INVALID,
    "amqp:link:detach-forced": FaultKind.UNAVAILABLE,
    "amqp:link:message-size-exceeded": FaultKind.TOO_LARGE,
    "amqp:link:redirect": FaultKind.UNAVAILABLE,
    "amqp:link:stolen": FaultKind.UNAVAILABLE,
    "amqp:link:transfer-limit-exceeded": FaultKind.UNAVAILABLE,
    "amqp:not-allowed": FaultKind.INVALID,
    "amqp:not-found": FaultKind.NOT_FOUND,
    "amqp:not-implemented": FaultKind.INVALID,
    "amqp:precondition-failed": FaultKind.INVALID,
    # An entity that was deleted is told by `not-found` when its link is opened again.
    "amqp:resource-deleted": FaultKind.UNAVAILABLE,
    # The entity is full: there is room again once consumers have caught up.
    "amqp:resource-limit-exceeded": FaultKind.THROTTLED,
    "amqp:resource-locked": FaultKind.UNAVAILABLE,
    "amqp:session:errant-link": FaultKind.UNAVAILABLE,
    "amqp:session:handle-in-use": FaultKind.UNAVAILABLE,
    "amqp:session:unattached-handle": FaultKind.UNAVAILABLE,
    "amqp:session:window-violation": FaultKind.UNAVAILABLE,
    "amqp:socket-error": FaultKind.UNAVAILABLE,
    "amqp:unauthorized-access": FaultKind.DENIED,
    "amqp:unknown-error": FaultKind.INTERNAL,
    "amqp:vendor-error": FaultKind.INTERNAL,
}
# By type, for errors without a condition; the first that fits counts, so a subclass stands before its parent.
_TYPES: tuple[tuple[type[Exception], FaultKind], ...] = (
    (bus.MessageLockLostError, FaultKind.LEASE_LOST),
    (bus.SessionLockLostError, FaultKind.LEASE_LOST),
    (bus.MessageNotFoundError, FaultKind.LEASE_LOST),
    (bus.MessageSizeExceededError, FaultKind.TOO_LARGE),
    (bus.ServiceBusServerBusyError, FaultKind.THROTTLED),
    (bus.ServiceBusQuotaExceededError, FaultKind.THROTTLED),
    (bus.ServiceBusAuthorizationError, FaultKind.DENIED),
    (bus.MessagingEntityNotFoundError, FaultKind.NOT_FOUND),
    (bus.MessagingEntityDisabledError, FaultKind.UNAVAILABLE),
    (bus.MessagingEntityAlreadyExistsError, FaultKind.INVALID),
    (bus.OperationTimeoutError, FaultKind.TIMEOUT),
    (bus.SessionCannotBeLockedError, FaultKind.UNAVAILABLE),
    (bus.ServiceBusConnectionError, FaultKind.UNAVAILABLE),
    (bus.ServiceBusCommunicationError, FaultKind.UNAVAILABLE),
    (core.ResourceNotFoundError, FaultKind.NOT_FOUND),
    (core.ServiceRequestError, FaultKind.UNAVAILABLE),
    (core.ServiceResponseError, FaultKind.UNAVAILABLE),
    (core.IncompleteReadError, FaultKind.UNAVAILABLE),
)
_STATUSES = {
    400: FaultKind.INVALID,
    401: FaultKind.UNAUTHENTICATED,
    403: FaultKind.DENIED,
    404: FaultKind.NOT_FOUND,
    408: FaultKind.TIMEOUT,
    410: FaultKind.UNAVAILABLE,
    429: FaultKind.THROTTLED,
    500: FaultKind.INTERNAL,
    502: FaultKind.UNAVAILABLE,
    503: FaultKind.UNAVAILABLE,
    504: FaultKind.TIMEOUT,
}
# Answers by which an identity is refused, as Microsoft Entra gives them; any other says that it couldn't be asked.
_REFUSED = {400: FaultKind.UNAUTHENTICATED, 401: FaultKind.UNAUTHENTICATED, 403: FaultKind.DENIED}
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
    elif kind.retryable and _credentials(error) is not None:
        advice = _NO_CREDENTIALS
    busy = code == "com.microsoft:server-busy" or isinstance(error, bus.ServiceBusServerBusyError)
    return Fault(kind, f"{text}; {advice}" if advice else text, code, BUSY if busy else None)


def _text(error: Exception) -> str:
    """Return what an error says, in one line; a refused token says only in its cause which entity it was for.

    DefaultAzureCredential tells of each credential that it tried, in a thousand characters and more, of which none that
    isn't meant to be there helps; its logger has them.
    """
    inner = getattr(error, "inner_exception", None)
    said = inner if isinstance(error, bus.ServiceBusAuthenticationError) and inner is not None else error
    return " ".join(str(said).split()).partition(" Attempted credentials:")[0]


def _kind(error: Exception, code: str | None) -> FaultKind:
    credentials = _credentials(error)
    if credentials is not None:
        return _REFUSED.get(_status(credentials) or 0, FaultKind.UNAVAILABLE)
    if isinstance(error, bus.ServiceBusAuthenticationError):
        return _of_token(error, code)
    if isinstance(error, core.HttpResponseError) and error.status_code in _STATUSES:
        return _STATUSES[error.status_code]
    if code in _CONDITIONS:
        return _CONDITIONS[code]
    for kind, found in _TYPES:
        if isinstance(error, kind):
            return found
    inner = getattr(error, "inner_exception", None)
    if isinstance(error, bus.ServiceBusError) and isinstance(inner, Exception):
        return _inner(inner)
    if isinstance(error, TimeoutError):
        return FaultKind.TIMEOUT
    if isinstance(error, OSError):
        return FaultKind.UNAVAILABLE
    if isinstance(error, ValueError | MissingExtra | PolybusError):
        return FaultKind.INVALID
    return FaultKind.INTERNAL


def _of_token(error: bus.ServiceBusAuthenticationError, code: str | None) -> FaultKind:
    """Say what it means that a link's token didn't do.

    It is put for one entity: one that isn't there is answered by 404, and comes as this error too. Without an answer
    nobody refused it: the link for tokens broke, or the token ran out by this machine's clock, which was set or stood
    still. The next link gets another.
    """
    status = _status(error)
    if status in _STATUSES:
        return _STATUSES[status]
    told = _CONDITIONS.get(code or "")
    return FaultKind.UNAVAILABLE if told is not None and told.retryable else FaultKind.UNAUTHENTICATED


def _inner(inner: Exception) -> FaultKind:
    """Say what something means that the library met and did not expect."""
    if isinstance(inner, core.AzureError):
        return fault(inner).kind
    if isinstance(inner, TimeoutError):
        return FaultKind.TIMEOUT
    return FaultKind.UNAVAILABLE if isinstance(inner, OSError) else FaultKind.INTERNAL


def _credentials(error: Exception) -> core.ClientAuthenticationError | None:
    """Return azure-identity's error that is behind another; its own subclass for what is unavailable has no answer."""
    found = (cause for cause in _causes(error) if isinstance(cause, core.ClientAuthenticationError))
    return next(found, None)


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
    if isinstance(error, Late):
        return False
    return isinstance(error, bus.OperationTimeoutError | bus.SessionCannotBeLockedError)


def is_of_one(error: Exception) -> bool:
    """Say whether a batch was refused for what is in it: then it may be one message of it."""
    return fault(error).kind in (FaultKind.INVALID, FaultKind.TOO_LARGE)


def is_no_right(error: Exception) -> bool:
    """Tell whether the service knows who asks, and lets others alone do this: its management answers that by 401.

    Without an answer there were no credentials at all, or none that could be got.
    """
    kind = fault(error).kind
    refused = kind is FaultKind.UNAUTHENTICATED and getattr(error, "response", None) is not None
    return kind is FaultKind.DENIED or refused
