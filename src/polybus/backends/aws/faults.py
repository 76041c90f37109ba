"""What boto3's exceptions and AWS's error codes mean: the only place here that names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore import exceptions as boto

from polybus.errors import Fault, FaultKind, MissingExtra, PolybusError

__all__ = ["entry_fault", "fault", "receipt_fault"]

_ADVICE = {
    FaultKind.UNAUTHENTICATED: "check the credentials that boto3 finds (environment, profile, role)",
    FaultKind.DENIED: "deploy the stack with this right in the service's declaration, or use that service's role",
    FaultKind.NOT_FOUND: "deploy the stack, or refresh the binding: pulumi stack output polybus --json",
}

# From the SNS and SQS API references, common errors included; without the AWS.SimpleQueueService. prefix of the query
# protocol's codes.
_CODES: dict[str, FaultKind] = {
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccessDeniedException",
            "AuthorizationError",
            "AuthorizationErrorException",
            "KMSAccessDeniedException",
            "KmsAccessDenied",
            "NotAuthorized",
            "UnauthorizedOperation",
        ),
        FaultKind.DENIED,
    ),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
            "InvalidToken",
            "IncompleteSignature",
            "InvalidSecurity",
            "MissingAuthenticationToken",
            "OptInRequired",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        FaultKind.UNAUTHENTICATED,
    ),
    **dict.fromkeys(
        (
            "KMSThrottlingException",
            "KmsThrottled",
            "OverLimit",
            "PurgeQueueInProgress",
            "RequestLimitExceeded",
            "RequestThrottled",
            "SlowDown",
            "Throttled",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        FaultKind.THROTTLED,
    ),
    **dict.fromkeys(
        ("NonExistentQueue", "QueueDoesNotExist", "NotFound", "NotFoundException", "ResourceNotFoundException"),
        FaultKind.NOT_FOUND,
    ),
    **dict.fromkeys(
        ("ServiceUnavailable", "ServiceUnavailableException", "QueueDeletedRecently"), FaultKind.UNAVAILABLE
    ),
    **dict.fromkeys(("InternalError", "InternalErrorException", "InternalFailure"), FaultKind.INTERNAL),
    **dict.fromkeys(("BatchRequestTooLong", "RequestEntityTooLarge", "MessageTooLong"), FaultKind.TOO_LARGE),
    **dict.fromkeys(("ReceiptHandleIsInvalid", "MessageNotInflight"), FaultKind.LEASE_LOST),
    "RequestTimeout": FaultKind.TIMEOUT,
}

# In a call whose only free parameter is the receipt, these say that the receipt is no longer good: FIFO queues answer
# InvalidParameterValue for a handle that has expired (DeleteMessage in the SQS API reference).
_RECEIPT = frozenset({"InvalidParameterValue", "InvalidParameterValueException", "InvalidIdFormat"})


def _short(code: str) -> str:
    return code.rpartition(".")[2]


def _kind(code: str, status: int | None, *, client: bool = True) -> FaultKind:
    known = _CODES.get(_short(code))
    if known is not None:
        return known
    if status is not None and status >= 500:
        return FaultKind.INTERNAL
    return FaultKind.INVALID if client else FaultKind.INTERNAL


def fault(error: Exception) -> Fault:
    """Say what an exception of boto3 means."""
    if isinstance(error, boto.ClientError):
        return _client_error(error)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        return _advised(FaultKind.UNAUTHENTICATED, str(error), None)
    if isinstance(error, boto.SSOTokenLoadError | boto.UnauthorizedSSOTokenError | boto.TokenRetrievalError):
        return _advised(FaultKind.UNAUTHENTICATED, str(error), None)
    if isinstance(error, boto.ReadTimeoutError):
        return Fault(FaultKind.TIMEOUT, str(error))
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError):
        return Fault(FaultKind.UNAVAILABLE, f"{error}; check the region, the network and AWS_ENDPOINT_URL")
    if isinstance(error, boto.NoRegionError):
        return Fault(FaultKind.INVALID, "no AWS region: set AWS_REGION, a profile's region, or the binding's settings")
    if isinstance(error, boto.BotoCoreError | ValueError | MissingExtra | PolybusError):
        return Fault(FaultKind.INVALID, f"{type(error).__name__}: {error}")
    return Fault(FaultKind.INTERNAL, f"{type(error).__name__}: {error}")


def _client_error(error: boto.ClientError) -> Fault:
    details = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    code = str(details.get("Code", ""))
    kind = _kind(code, metadata.get("HTTPStatusCode"))
    text = f"{error.operation_name}: {details.get('Message') or code}"
    if kind is FaultKind.NOT_FOUND:
        text = " ".join((text, *getattr(error, "__notes__", ())))  # AWS doesn't say which one; the clients note it
    return _advised(kind, text, code, _retry_after(metadata.get("HTTPHeaders", {})))


def _advised(kind: FaultKind, text: str, code: str | None, retry_after: float | None = None) -> Fault:
    advice = _ADVICE.get(kind)
    return Fault(kind, f"{text}; {advice}" if advice else text, code, retry_after)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


def entry_fault(entry: Mapping[str, Any], operation: str) -> Fault:
    """Say what one failed entry of a batch answer means."""
    code = str(entry.get("Code", ""))
    kind = _kind(code, None, client=bool(entry.get("SenderFault", True)))
    return _advised(kind, f"{operation}: {entry.get('Message') or code}", code)


def receipt_fault(found: Fault) -> Fault:
    """Read a fault of a call that only names a receipt: what is invalid there is the receipt."""
    if found.code is not None and _short(found.code) in _RECEIPT:
        return Fault(FaultKind.LEASE_LOST, found.detail, found.code)
    return found
