"""What the errors of the library mean, by their types and codes."""

from __future__ import annotations

import pytest
from azure.core import exceptions as core
from azure.servicebus import exceptions as bus

from polybus.backends.azure.faults import fault
from polybus.errors import FaultKind


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
        (core.ClientAuthenticationError("no credential"), FaultKind.UNAUTHENTICATED),
        (core.ServiceRequestError("no such host"), FaultKind.UNAVAILABLE),
        (ConnectionResetError("reset"), FaultKind.UNAVAILABLE),
        (ValueError("odd"), FaultKind.INVALID),
        (KeyError("odd"), FaultKind.INTERNAL),
    ],
)
def test_each_type_has_its_kind(error: Exception, kind: FaultKind) -> None:
    assert fault(error).kind is kind


def test_what_the_library_did_not_expect_is_read_by_its_cause() -> None:
    cause = core.ClientAuthenticationError("DefaultAzureCredential failed")
    found = fault(bus.ServiceBusError("Handler failed.", error=cause))
    assert found.kind is FaultKind.UNAUTHENTICATED
    assert "DefaultAzureCredential" in found.detail


def test_an_unknown_cause_is_worth_another_try() -> None:
    found = fault(bus.ServiceBusError("Handler failed.", error=AttributeError("closed")))
    assert found.kind is FaultKind.INTERNAL
    assert found.retryable


def test_advice_says_what_next() -> None:
    assert "pulumi stack output" in fault(bus.MessagingEntityNotFoundError()).detail
    assert "service's declaration" in fault(bus.ServiceBusAuthorizationError()).detail
