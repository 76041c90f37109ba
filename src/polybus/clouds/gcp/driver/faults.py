"""What Google's exceptions and gRPC's status codes mean: the only place here that names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import grpc
import msgspec
from google.api_core.exceptions import GoogleAPICallError
from google.auth import exceptions as auth
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    RetryInfo,
)

from polybus.errors import BackendError, Fault, FaultKind, PolybusError

__all__ = ["fault", "receipt_faults", "refused"]

# From the meaning of each code in google/rpc/code.proto, and "Error codes" in the Pub/Sub documentation.
_KINDS = {
    grpc.StatusCode.CANCELLED: FaultKind.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN: FaultKind.INTERNAL,
    grpc.StatusCode.INVALID_ARGUMENT: FaultKind.INVALID,
    grpc.StatusCode.DEADLINE_EXCEEDED: FaultKind.TIMEOUT,
    grpc.StatusCode.NOT_FOUND: FaultKind.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: FaultKind.INVALID,
    grpc.StatusCode.PERMISSION_DENIED: FaultKind.DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: FaultKind.THROTTLED,
    grpc.StatusCode.FAILED_PRECONDITION: FaultKind.INVALID,
    grpc.StatusCode.ABORTED: FaultKind.UNAVAILABLE,
    grpc.StatusCode.OUT_OF_RANGE: FaultKind.INVALID,
    grpc.StatusCode.UNIMPLEMENTED: FaultKind.INVALID,
    grpc.StatusCode.INTERNAL: FaultKind.INTERNAL,
    grpc.StatusCode.UNAVAILABLE: FaultKind.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS: FaultKind.INTERNAL,
    grpc.StatusCode.UNAUTHENTICATED: FaultKind.UNAUTHENTICATED,
}

_CREDENTIALS = (
    "set up application default credentials: a service account where it runs, GOOGLE_APPLICATION_CREDENTIALS, or "
    "`gcloud auth application-default login`; for a local server set PUBSUB_EMULATOR_HOST"
)
_ADVICE = {
    FaultKind.UNAUTHENTICATED: _CREDENTIALS,
    FaultKind.DENIED: (
        "deploy the stack with this right in the service's declaration, or run as that service's account; a role that "
        "was given just now takes minutes to hold"
    ),
    FaultKind.NOT_FOUND: (
        "check that the project is the right one, deploy the stack, or refresh the binding: pulumi stack output "
        "polybus --json"
    ),
    FaultKind.TIMEOUT: "no answer within the call's deadline; it may have been done",
}

# Whose domain an ErrorInfo has that may be about a message: Pub/Sub's own. Others stand before or behind it: Google's
# front ends (billing, a service that is off, an organisation's policy: google/api/error_reason.proto), Cloud KMS.
_PUBSUB = "pubsub.googleapis.com"
# What the subject of a PreconditionFailure is called that is a part of a publish request; any other is a thing that
# stands in a state: a key, a project, a topic.
_MESSAGES = ("message", "messages", "request")
# How Google names keys, wherever it does: by their resource, or by the name of what keeps them.
_KEY = re.compile(r"cryptoKey|(\b|cloud|_)kms(\b|_)|\bcmek\b", re.IGNORECASE)
# The other thing that Pub/Sub's documentation says of FAILED_PRECONDITION beside keys ("Error codes").
_BILLING = re.compile(r"\bbilling\b", re.IGNORECASE)
_KEY_ADVICE = (
    "it is about the KMS key that encrypts the topic: check that its version is there and enabled, and that Pub/Sub's "
    "service agent may use it"
)
_STATE_ADVICE = "nobody can use it until someone mends what this says, whatever is sent"

# A prefix of the reason that an exactly-once subscription gives for an ack id that may be tried again ("Exactly-once
# delivery" in the Pub/Sub documentation); any other means that it is no longer good.
_TRANSIENT = "TRANSIENT_FAILURE_"


# How gRPC begins what it says of an exception that credentials raised in this process; of a connection of ours that is
# raised itself (`credentials`), but of another client's its text is all there is. The codes are OAuth's (RFC 6749,
# 5.2).
_PLUGIN = "Getting metadata from plugin failed"
_REFUSED = ("invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type")


def fault(error: Exception, endpoint: str | None = None) -> Fault:
    """Say what an exception means; `endpoint` is the local server that was called, where it isn't Google's."""
    if isinstance(error, BackendError):
        return error.fault
    code = _code(error)
    if code is not None:
        return _status(error, code, endpoint)
    if isinstance(error, auth.GoogleAuthError):
        return _of_credentials(error)
    if isinstance(error, TimeoutError):
        return Fault(FaultKind.TIMEOUT, f"{_where(error)}{str(error) or 'no answer in time'}")
    if isinstance(error, ValueError | PolybusError):
        return Fault(FaultKind.INVALID, f"{type(error).__name__}: {error}")
    return Fault(FaultKind.INTERNAL, f"{type(error).__name__}: {error}")


def _of_credentials(error: auth.GoogleAuthError) -> Fault:
    if _passes(error):
        return Fault(FaultKind.UNAVAILABLE, f"{_where(error)}Google's token server can't be reached: {error}")
    return Fault(FaultKind.UNAUTHENTICATED, f"{_where(error)}no usable Google credentials: {error}; {_CREDENTIALS}")


def refused(error: Exception | None) -> bool:
    """Say whether an error of credentials is one that trying again with them doesn't mend."""
    return isinstance(error, auth.GoogleAuthError) and not _passes(error)


def _passes(error: BaseException | None) -> bool:
    """Tell a token that couldn't be fetched, which may pass, from credentials that are missing or were refused.

    google-auth says of a token server's answer whether it may be asked again (`retryable`), says nothing of it where a
    metadata server failed, whose error is the cause then, and gives the answer itself along where it doesn't read it.
    """
    while error is not None:
        if isinstance(error, auth.TransportError):
            status = getattr(error.args[1], "status", None) if len(error.args) > 1 else None
            return status not in _REFUSALS
        if isinstance(error, auth.TimeoutError | auth.ResponseError) or getattr(error, "retryable", False):
            return True
        if isinstance(error, auth.RefreshError | auth.OAuthError) and len(error.args) > 1:
            return _is_no_refusal(error.args[1])
        error = error.__cause__
    return False


# What an HTTP server says of a request that it won't grant later either; 408, 425 and 429 ask for another try.
_REFUSALS = frozenset(range(400, 500)) - {408, 425, 429}


def _is_no_refusal(answer: object) -> bool:
    """Say whether a token server's answer is none of its own: a gateway's page, or a failure by its code."""
    if isinstance(answer, bytes | str):
        try:
            answer = msgspec.json.decode(answer)
        except (msgspec.DecodeError, UnicodeError):
            return True
    detail = answer.get("error") if isinstance(answer, Mapping) else None
    code = detail.get("code") if isinstance(detail, Mapping) else None
    return isinstance(code, int) and code not in _REFUSALS


# google-api-core's classes that stand for an HTTP status alone; its retry tables name some of them.
_HTTP = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def _code(error: Exception) -> grpc.StatusCode | None:
    if isinstance(error, GoogleAPICallError):
        found = error.grpc_status_code
        return found if isinstance(found, grpc.StatusCode) else _HTTP.get(error.code or 0)
    return error.code() if isinstance(error, grpc.aio.AioRpcError) else None


def _status(error: Exception, code: grpc.StatusCode, endpoint: str | None) -> Fault:
    kind = _KINDS.get(code, FaultKind.INTERNAL)
    said = error.message if isinstance(error, GoogleAPICallError) else str(error)
    if kind is FaultKind.UNAVAILABLE and _PLUGIN in said and any(code in said for code in _REFUSED):
        kind = FaultKind.UNAUTHENTICATED
    advice = _ADVICE.get(kind)
    if kind is FaultKind.INVALID and _is_of_the_target(error, code, said):
        kind, advice = FaultKind.DENIED, _KEY_ADVICE if _names_a_key(error, said) else _STATE_ADVICE
    if kind is FaultKind.UNAVAILABLE:
        advice = f"is the local server running at {endpoint}?" if endpoint else "check the network"
    text = f"{_where(error)}{said}"
    return Fault(kind, f"{text}; {advice}" if advice else text, code.name, _retry_after(error))


def _is_of_the_target(error: Exception, code: grpc.StatusCode, said: str) -> bool:
    """Say whether a refusal is of the topic or project as they are, and not of what was sent.

    By what the answer carries beside its text; the text of a failed precondition counts where that says nothing. What
    can't be told is taken for a refusal of what was sent: to ask again for each message is a few calls in vain, not to
    ask would fail good ones with a bad one.
    """
    told = [_tells_of_the_target(detail) for detail in _details(error)]
    if any(each is False for each in told):
        return False
    if any(told):
        return True
    return code is grpc.StatusCode.FAILED_PRECONDITION and bool(_names_a_key(error, said) or _BILLING.search(said))


def _tells_of_the_target(detail: object) -> bool | None:
    """Say what one detail of an answer is about: the target (True), the request (False), or nothing that it tells."""
    if isinstance(detail, BadRequest):
        return False
    if isinstance(detail, PreconditionFailure):
        return not any(_of_the_request(violation.subject) for violation in detail.violations)
    if isinstance(detail, ErrorInfo) and detail.domain:
        return detail.domain != _PUBSUB or bool(_KEY.search(_text(detail))) or None
    return None


def _of_the_request(subject: str) -> bool:
    return re.split(r"[^a-z]", subject, maxsplit=1)[0] in _MESSAGES


def _names_a_key(error: Exception, said: str) -> bool:
    return any(_KEY.search(text) for text in (said, *(_text(detail) for detail in _details(error))))


def _text(detail: object) -> str:
    """Return what a detail says, as one line."""
    if isinstance(detail, ErrorInfo):
        return " ".join((detail.domain, detail.reason, *detail.metadata.values()))
    if isinstance(detail, PreconditionFailure):
        return " ".join(part for each in detail.violations for part in (each.type, each.subject, each.description))
    return ""


def _where(error: Exception) -> str:
    """Return the resource, whose path begins with its project, that `clients.call` noted."""
    notes: Sequence[str] = getattr(error, "__notes__", ())
    return f"{notes[0]}: " if notes else ""


def _details(error: Exception) -> Iterable[object]:
    return error.details if isinstance(error, GoogleAPICallError) else ()


def _retry_after(error: Exception) -> float | None:
    for detail in _details(error):
        if isinstance(detail, RetryInfo):
            return float(detail.retry_delay.seconds + detail.retry_delay.nanos * 1e-9)
    return None


def receipt_faults(error: Exception, ack_ids: Sequence[str], endpoint: str | None = None) -> list[Fault | None]:
    """Say what a failed call means for each of its ack ids: an exactly-once subscription tells them apart."""
    failed: dict[str, str] = {}
    for detail in _details(error):
        if isinstance(detail, ErrorInfo):
            failed.update(detail.metadata)
    whole = fault(error, endpoint)
    if not any(ack_id in failed for ack_id in ack_ids):
        return [whole] * len(ack_ids)
    return [_receipt(failed[ack_id], whole) if ack_id in failed else None for ack_id in ack_ids]


def _receipt(reason: str, whole: Fault) -> Fault:
    kind = FaultKind.UNAVAILABLE if reason.startswith(_TRANSIENT) else FaultKind.LEASE_LOST
    return Fault(kind, whole.detail, reason)
