"""What the errors of the library mean, by their types and codes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core import exceptions as core
from azure.identity import CredentialUnavailableError
from azure.servicebus import exceptions as bus
from azure.servicebus._common import constants  # the library's own tables, of which none may be missing here
from azure.servicebus._pyamqp.error import (
    AMQPException,
    AuthenticationException,
    ErrorCondition,
    TokenAuthFailure,
    TokenExpired,
)

from polybus.clouds.azure.driver import faults
from polybus.clouds.azure.driver.faults import fault, is_no_right
from polybus.errors import FaultKind


def answered(status: int) -> Any:
    """An answer to a request for a token."""
    return SimpleNamespace(status_code=status, reason="because", headers={}, text=lambda: "")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (bus.MessageLockLostError(), FaultKind.LEASE_LOST),
        (bus.SessionLockLostError(), FaultKind.LEASE_LOST),
        (bus.ServiceBusServerBusyError(), FaultKind.THROTTLED),
        (bus.ServiceBusQuotaExceededError(), FaultKind.THROTTLED),
        (bus.MessageSizeExceededError(), FaultKind.TOO_LARGE),
        (bus.ServiceBusAuthorizationError(), FaultKind.DENIED),
        (bus.ServiceBusAuthenticationError(), FaultKind.UNAUTHENTICATED),
        (bus.MessagingEntityNotFoundError(), FaultKind.NOT_FOUND),
        (bus.MessagingEntityDisabledError(), FaultKind.UNAVAILABLE),
        (bus.OperationTimeoutError(), FaultKind.TIMEOUT),
        (bus.ServiceBusConnectionError(), FaultKind.UNAVAILABLE),
        (bus.ServiceBusCommunicationError(), FaultKind.UNAVAILABLE),
        (bus.SessionCannotBeLockedError(), FaultKind.UNAVAILABLE),
        (bus.MessagingEntityAlreadyExistsError(), FaultKind.INVALID),
        # Nobody was asked, or whoever was asked couldn't say.
        (CredentialUnavailableError(message="no answer from the metadata service"), FaultKind.UNAVAILABLE),
        (core.ClientAuthenticationError("DefaultAzureCredential failed"), FaultKind.UNAVAILABLE),
        (core.ClientAuthenticationError("down", response=answered(503)), FaultKind.UNAVAILABLE),
        (core.ClientAuthenticationError("no such address", response=answered(404)), FaultKind.UNAVAILABLE),
        (core.ClientAuthenticationError("slowly", response=answered(429)), FaultKind.UNAVAILABLE),
        # The identity was refused.
        (core.ClientAuthenticationError("invalid client", response=answered(401)), FaultKind.UNAUTHENTICATED),
        (core.ClientAuthenticationError("invalid request", response=answered(400)), FaultKind.UNAUTHENTICATED),
        (core.IncompleteReadError("cut"), FaultKind.UNAVAILABLE),
        (TimeoutError("late"), FaultKind.TIMEOUT),
        (core.ServiceRequestError("no such host"), FaultKind.UNAVAILABLE),
        (ConnectionResetError("reset"), FaultKind.UNAVAILABLE),
        (ValueError("odd"), FaultKind.INVALID),
        (KeyError("odd"), FaultKind.INTERNAL),
    ],
)
def test_each_type_has_its_kind(error: Exception, kind: FaultKind) -> None:
    assert fault(error).kind is kind


def test_what_the_library_did_not_expect_is_read_by_its_cause() -> None:
    refused = core.ClientAuthenticationError("invalid client", response=answered(401))
    assert fault(bus.ServiceBusError("Handler failed.", error=refused)).kind is FaultKind.UNAUTHENTICATED
    unavailable = fault(bus.ServiceBusError("Handler failed.", error=CredentialUnavailableError(message="no answer")))
    assert unavailable.kind is FaultKind.UNAVAILABLE
    assert "DefaultAzureCredential" in unavailable.detail


@pytest.mark.parametrize(
    ("inner", "kind"),
    [
        (TokenAuthFailure(401, b"InvalidSignature"), FaultKind.UNAUTHENTICATED),
        (TokenAuthFailure(404, b"no such entity"), FaultKind.NOT_FOUND),
        (TokenAuthFailure(503, b"busy"), FaultKind.UNAVAILABLE),
        # Nobody answered that the token is no good.
        (TokenAuthFailure(ErrorCondition.ClientError, "the link for tokens is broken"), FaultKind.UNAVAILABLE),
        (TokenExpired(condition=ErrorCondition.InternalError, description="expired"), FaultKind.UNAVAILABLE),
        (AuthenticationException(condition=ErrorCondition.InternalError, description="no link"), FaultKind.UNAVAILABLE),
    ],
)
def test_a_token_is_refused_by_an_answer_alone(inner: AMQPException, kind: FaultKind) -> None:
    wrapped = bus.ServiceBusAuthenticationError(error=inner, condition=inner.condition)
    assert fault(wrapped).kind is kind


_OF_THE_LIBRARY = {condition.value.decode() for condition in ErrorCondition} | {
    getattr(constants, name).decode() for name in dir(constants) if name.startswith("ERROR_CODE_")
}


@pytest.mark.parametrize("condition", sorted(_OF_THE_LIBRARY))
def test_each_condition_that_the_library_knows_is_classified(condition: str) -> None:
    found = fault(AMQPException(condition.encode(), description="because"))
    assert condition in faults._CONDITIONS
    assert (found.kind, found.code) == (faults._CONDITIONS[condition], condition)


def test_a_busy_server_says_how_long_to_wait() -> None:
    assert fault(bus.ServiceBusServerBusyError()).retry_after == 10.0
    assert fault(bus.OperationTimeoutError()).retry_after is None


def test_an_unknown_cause_is_worth_another_try() -> None:
    found = fault(bus.ServiceBusError("Handler failed.", error=AttributeError("closed")))
    assert found.kind is FaultKind.INTERNAL
    assert found.retryable


def test_advice_says_what_next() -> None:
    assert "pulumi stack output" in fault(bus.MessagingEntityNotFoundError()).detail
    assert "service's declaration" in fault(bus.ServiceBusAuthorizationError()).detail
    assert "up to ten minutes to hold" in fault(bus.ServiceBusAuthorizationError()).detail


def test_credentials_that_are_nowhere_are_one_short_line() -> None:
    tried = "EnvironmentCredential: not configured. Azure CLI not found on path. " * 20
    first = "DefaultAzureCredential failed to retrieve a token from the included credentials."
    told = fault(CredentialUnavailableError(f"{first}\nAttempted credentials:\n{tried}"))
    assert told.detail.startswith(f"{first}; ")
    assert "az login" in told.detail
    assert len(told.detail) < 300


def test_without_credentials_nobody_is_known_to_have_no_right() -> None:
    assert not is_no_right(CredentialUnavailableError("no credential in the chain provided a token"))
    assert is_no_right(core.ClientAuthenticationError(response=answered(401)))
    assert is_no_right(bus.ServiceBusAuthorizationError())
    assert not is_no_right(bus.MessagingEntityNotFoundError())
