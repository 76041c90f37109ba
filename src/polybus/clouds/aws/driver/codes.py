"""AWS's error codes by what they mean: of SNS, SQS, KMS behind them, and STS and SSO, which give out credentials."""

from __future__ import annotations

from polybus.errors import FaultKind

__all__ = ["CLOCK", "EXPIRED", "IDENTITY", "KEY_PROBLEMS", "kind_of", "short"]

# From the SNS and SQS API references, common errors included, and what botocore's own retries know (data/_retry.json,
# retries/standard.py): those are switched off here. Without prefix and the suffix Exception, which protocols differ in.
_DENIED = ("AccessDenied", "AuthorizationError", "NotAuthorized", "UnauthorizedOperation")
_UNAUTHENTICATED = (
    "AuthFailure",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidSecurity",
    "InvalidSignature",
    "InvalidToken",
    "MissingAuthenticationToken",
    "OptInRequired",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClient",
)
_THROTTLED = (
    "BandwidthLimitExceeded",
    "EC2Throttled",
    "LimitExceeded",
    "OverLimit",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceeded",
    "PurgeQueueInProgress",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttled",
    "Throttling",
    "TooManyRequests",
    "TransactionInProgress",
)
_NOT_FOUND = ("NonExistentQueue", "NotFound", "QueueDoesNotExist", "ResourceNotFound")
_UNAVAILABLE = ("BadDigest", "IDPCommunicationError", "QueueDeletedRecently", "ServiceUnavailable", "Unavailable")
_INTERNAL = ("InternalError", "InternalFailure", "InternalServer", "ReplicatedWriteConflict", "RequestAborted")
_TOO_LARGE = ("BatchRequestTooLong", "MessageTooLong", "RequestEntityTooLarge")
_LEASE_LOST = ("MessageNotInflight", "ReceiptHandleIsInvalid")
_TIMEOUT = ("RequestTimeout",)

_CODES: dict[str, FaultKind] = {
    code: kind
    for codes, kind in (
        (_DENIED, FaultKind.DENIED),
        (_UNAUTHENTICATED, FaultKind.UNAUTHENTICATED),
        (_THROTTLED, FaultKind.THROTTLED),
        (_NOT_FOUND, FaultKind.NOT_FOUND),
        (_UNAVAILABLE, FaultKind.UNAVAILABLE),
        (_INTERNAL, FaultKind.INTERNAL),
        (_TOO_LARGE, FaultKind.TOO_LARGE),
        (_LEASE_LOST, FaultKind.LEASE_LOST),
        (_TIMEOUT, FaultKind.TIMEOUT),
    )
    for code in codes
}

KEY_PROBLEMS = frozenset(
    f"KMS{name}"
    for name in ("AccessDenied", "Disabled", "InvalidKeyUsage", "InvalidState", "NotFound", "OptInRequired")
)
"""What KMS refuses, as `short` gives it: nobody can use the topic or queue until someone mends the key."""
_KEY_BUSY = frozenset({"KMSThrottled", "KMSThrottling"})

EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired"})
CLOCK = frozenset(
    {"InvalidSignature", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)
"""What AWS answers where the clocks disagree; to a wrong secret as well."""

IDENTITY = frozenset(
    {
        "AssumeRole",
        "AssumeRoleWithSAML",
        "AssumeRoleWithWebIdentity",
        "AssumeRoot",
        "CreateToken",
        "CreateOAuth2Token",
        "GetRoleCredentials",
        "GetSessionToken",
    }
)
"""The calls of STS and SSO that boto3 makes by itself, for credentials."""


def short(code: str) -> str:
    """Return a code as the tables have it.

    SNS says KMSDisabled, SQS KmsDisabled in its JSON protocol and KMS.DisabledException in its query protocol; the
    models' names of them end in Exception.
    """
    last = code.rpartition("#")[2]
    prefix, _, name = last.rpartition(".")
    name = name.removesuffix("Exception") or last
    if prefix.upper() == "KMS":
        return f"KMS{name}"
    return f"KMS{name[3:]}" if name[:3].upper() == "KMS" else name


def kind_of(code: str, status: int | None, *, client: bool = True) -> FaultKind:
    """Return what a code means; where it is unknown, what its HTTP status does, or whose fault it is said to be."""
    name = short(code)
    known = _CODES.get(name)
    if known is not None:
        return known
    if name in _KEY_BUSY:
        return FaultKind.THROTTLED
    if name in KEY_PROBLEMS:
        return FaultKind.DENIED
    if status == 408:
        return FaultKind.TIMEOUT
    if status in (429, 509):
        return FaultKind.THROTTLED
    if status in (502, 503, 504):
        return FaultKind.UNAVAILABLE
    if status is not None and status >= 500:
        return FaultKind.INTERNAL
    return FaultKind.INVALID if client else FaultKind.INTERNAL
