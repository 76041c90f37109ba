"""What boto3's exceptions and AWS's error codes mean: the only place here that names them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as boto

from polybus.clouds.aws.driver.codes import CLOCK, EXPIRED, IDENTITY, KEY_PROBLEMS, kind_of, short
from polybus.errors import Fault, FaultKind, MissingExtra, PolybusError

__all__ = [
    "Expired",
    "entry_fault",
    "expired",
    "fault",
    "in_doubt",
    "left_out",
    "no_credentials",
    "receipt_fault",
    "refused",
    "renewable",
    "unanswered",
]

_ADVICE = {
    FaultKind.UNAUTHENTICATED: "check the credentials that boto3 finds (environment, profile, role)",
    FaultKind.DENIED: (
        "deploy the stack with this right in the service's declaration, or use that service's role; a right that was "
        "given just now takes seconds to hold, at times a minute"
    ),
    FaultKind.NOT_FOUND: "deploy the stack, or refresh the binding: pulumi stack output polybus --json",
}
_KEY_ADVICE = (
    "it is about the KMS key that encrypts the topic or queue: check that it is there and enabled, that its policy "
    "allows what the stack's output keyPolicy says, and that this role may use it"
)
_LOGIN_ADVICE = "log in again: aws sso login, or aws login"
_FETCH_ADVICE = "is the endpoint that gives out credentials (IMDS, ECS, EKS, STS, SSO) reachable?"
_ROLE_ADVICE = "check that the role is there and that its trust policy allows who asks for it"
# AWS refuses a signature that is over 5 minutes from its own time (IAM user guide, "Elements of an AWS API request
# signature").
_SKEW = 300.0

# In a call whose only free parameter is the receipt, these say that the receipt is no longer good: FIFO queues answer
# InvalidParameterValue for a handle that has expired (DeleteMessage in the SQS API reference).
_RECEIPT = frozenset({"InvalidParameterValue", "InvalidParameterValueException", "InvalidIdFormat"})
# How SQS says which parameter a refusal is about; its code doesn't.
_PARAMETER = re.compile(r"for parameter (\w+) is invalid")

# Looking for credentials failed, which may pass: an endpoint that doesn't answer is no answer.
_FETCHING = (boto.CredentialRetrievalError, boto.TokenRetrievalError, boto.MetadataRetrievalError)
# Credentials are wrong or have to be renewed by a person. LoginError is newer than the oldest boto3 that this works on.
_WRONG = (boto.PartialCredentialsError, boto.NoAuthTokenError)
_LOGIN: tuple[type[Exception], ...] = (boto.SSOError, getattr(boto, "LoginError", boto.SSOError))


class Expired(Exception):
    """Credentials were refused that are renewed by themselves, or were replaced since; the next call has new ones."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def no_credentials() -> Exception:
    """Return what boto3 raises where it finds no credentials."""
    return boto.NoCredentialsError()


def renewable(credentials: object) -> bool:
    """Say whether credentials are renewed by themselves: a role's, not a person's keys."""
    from botocore.credentials import RefreshableCredentials  # loads most of botocore, which is there by now

    return isinstance(credentials, RefreshableCredentials)


def unanswered(error: Exception) -> bool:
    """Say whether a call failed for want of an answer: the connection may be dead without a word."""
    return isinstance(error, boto.ReadTimeoutError)


def in_doubt(error: Exception) -> bool:
    """Say whether a call may have been done although it failed: its answer was lost, or AWS failed over it."""
    if isinstance(error, boto.ClientError):
        return bool(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500)
    return isinstance(error, boto.HTTPClientError) and not isinstance(error, boto.ConnectTimeoutError)


def refused(error: Exception) -> bool:
    """Say whether AWS refused the credentials."""
    return isinstance(error, boto.ClientError) and fault(error).kind is FaultKind.UNAUTHENTICATED


def expired(error: Exception) -> bool:
    """Say whether AWS refused the credentials because their time was over."""
    return isinstance(error, boto.ClientError) and _code(error) in EXPIRED


def fault(error: Exception) -> Fault:
    """Say what an exception of boto3 means."""
    if isinstance(error, boto.ClientError):
        return _client_error(error)
    if isinstance(error, Expired):
        return Fault(FaultKind.UNAVAILABLE, f"{error}; the next try has new credentials", fault(error.error).code)
    found = _credentials_error(error)
    if found is not None:
        return found
    if isinstance(error, boto.ReadTimeoutError):
        return Fault(FaultKind.TIMEOUT, str(error))
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError):
        return Fault(FaultKind.UNAVAILABLE, f"{error}; check the region, the network and AWS_ENDPOINT_URL")
    if isinstance(error, boto.NoRegionError):
        return Fault(FaultKind.INVALID, "no AWS region: set AWS_REGION, a profile's region, or the binding's settings")
    if isinstance(error, boto.BotoCoreError | ValueError | MissingExtra | PolybusError):
        return Fault(FaultKind.INVALID, f"{type(error).__name__}: {error}")
    return Fault(FaultKind.INTERNAL, f"{type(error).__name__}: {error}")


def _credentials_error(error: Exception) -> Fault | None:
    """Say what it means that there are no credentials to sign with: not yet, or not at all."""
    if isinstance(error, boto.NoCredentialsError):
        # boto3 says this too where the metadata service didn't answer within a second. Where that is switched off,
        # nothing is left that could have them later.
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "false").lower() == "true":
            return _advised(FaultKind.UNAUTHENTICATED, str(error), None)
        text = f"{error}, and the metadata service gave none; {_ADVICE[FaultKind.UNAUTHENTICATED]}"
        return Fault(FaultKind.UNAVAILABLE, text)
    if isinstance(error, _FETCHING):
        return Fault(FaultKind.UNAVAILABLE, f"{error}; {_FETCH_ADVICE}")
    if isinstance(error, OSError) and not isinstance(error, boto.BotoCoreError):
        # A token that the platform puts into a file (EKS, web identity) may not be there yet.
        return Fault(FaultKind.UNAVAILABLE, f"{type(error).__name__}: {error}; {_FETCH_ADVICE}")
    if isinstance(error, _LOGIN):
        return Fault(FaultKind.UNAUTHENTICATED, f"{error}; {_LOGIN_ADVICE}")
    if isinstance(error, _WRONG):
        return _advised(FaultKind.UNAUTHENTICATED, str(error), None)
    return None


def _code(error: boto.ClientError) -> str:
    return short(str(error.response.get("Error", {}).get("Code", "")))


def _client_error(error: boto.ClientError) -> Fault:
    details = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    code = str(details.get("Code", ""))
    kind = kind_of(code, metadata.get("HTTPStatusCode"))
    text = f"{error.operation_name}: {details.get('Message') or code}"
    retry_after = _retry_after(headers)
    if error.operation_name in IDENTITY and not kind.retryable:
        return Fault(FaultKind.UNAUTHENTICATED, f"{text}; {_ROLE_ADVICE}", code)
    if short(code) in CLOCK and (skew := _skew(headers)) is not None:
        return Fault(kind, f"{text}; {skew}", code)
    if kind is FaultKind.NOT_FOUND:
        text = " ".join((text, *getattr(error, "__notes__", ())))  # AWS doesn't say which one; the clients note it
    return _advised(kind, text, code, retry_after)


def _advised(kind: FaultKind, text: str, code: str | None, retry_after: float | None = None) -> Fault:
    advice = _ADVICE.get(kind)
    if code is not None and short(code) in KEY_PROBLEMS:
        advice = _KEY_ADVICE
    elif code is not None and short(code) in CLOCK:
        advice = f"{_ADVICE[FaultKind.UNAUTHENTICATED]}, and this host's clock"
    return Fault(kind, f"{text}; {advice}" if advice else text, code, retry_after)


def _skew(headers: Mapping[str, str]) -> str | None:
    """Say how wrong this host's clock is, where it is wrong enough for AWS to refuse what it signs."""
    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return None
    ahead = time.time() - theirs
    if abs(ahead) <= _SKEW:
        return None
    where = "ahead of" if ahead > 0 else "behind"
    return f"this host's clock is {abs(ahead) / 60:.0f} min {where} AWS's: set it right (NTP), AWS allows 5 min"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how long AWS asks to wait, in seconds: in its own header in milliseconds, else in HTTP's."""
    for name, unit in (("x-amz-retry-after", 1000), ("retry-after", 1)):
        value = headers.get(name, "")
        if value.isascii() and value.isdigit():
            return int(value) / unit
    return None


def entry_fault(entry: Mapping[str, Any], operation: str) -> Fault:
    """Say what one failed entry of a batch answer means."""
    code = str(entry.get("Code", ""))
    kind = kind_of(code, None, client=bool(entry.get("SenderFault", True)))
    return _advised(kind, f"{operation}: {entry.get('Message') or code}", code)


def left_out(operation: str) -> Fault:
    """Say what it means that the answer to a batch says nothing of one of its entries."""
    return Fault(FaultKind.INTERNAL, f"{operation}: the answer leaves this entry out")


def receipt_fault(found: Fault) -> Fault:
    """Read a fault of a call that names a receipt: what is invalid there is the receipt, unless AWS says otherwise."""
    if found.code is None or short(found.code) not in _RECEIPT:
        return found
    named = _PARAMETER.search(found.detail)
    if named is not None and named[1] != "ReceiptHandle":
        return found
    return Fault(FaultKind.LEASE_LOST, found.detail, found.code)
