"""What Google's exceptions mean to the bus."""

from __future__ import annotations

import grpc
import pytest
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.cloud.pubsub_v1.subscriber._protocol import streaming_pull_manager
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.publisher.transports import grpc_asyncio as base
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.rpc import error_details_pb2

from polybus.clouds.gcp.driver.faults import fault, receipt_faults
from polybus.errors import BackendError, BindingError, Fault, FaultKind

KINDS = {
    grpc.StatusCode.UNAVAILABLE: FaultKind.UNAVAILABLE,
    grpc.StatusCode.ABORTED: FaultKind.UNAVAILABLE,
    grpc.StatusCode.CANCELLED: FaultKind.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: FaultKind.TIMEOUT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: FaultKind.THROTTLED,
    grpc.StatusCode.INTERNAL: FaultKind.INTERNAL,
    grpc.StatusCode.UNKNOWN: FaultKind.INTERNAL,
    grpc.StatusCode.DATA_LOSS: FaultKind.INTERNAL,
    grpc.StatusCode.NOT_FOUND: FaultKind.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED: FaultKind.DENIED,
    grpc.StatusCode.UNAUTHENTICATED: FaultKind.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT: FaultKind.INVALID,
    grpc.StatusCode.FAILED_PRECONDITION: FaultKind.INVALID,
    grpc.StatusCode.OUT_OF_RANGE: FaultKind.INVALID,
    grpc.StatusCode.UNIMPLEMENTED: FaultKind.INVALID,
    grpc.StatusCode.ALREADY_EXISTS: FaultKind.INVALID,
}


def raised(code: grpc.StatusCode, *details: object) -> exceptions.GoogleAPICallError:
    error: exceptions.GoogleAPICallError = exceptions.from_grpc_status(code, "as Google says it", details=details)
    error.add_note("projects/shop/topics/orders")
    return error


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_its_kind_and_names_project_and_resource(code: grpc.StatusCode) -> None:
    found = fault(raised(code))
    assert (found.kind, found.code) == (KINDS[code], code.name)
    assert found.detail.startswith("projects/shop/topics/orders: as Google says it")


KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"


def _precondition(type: str, subject: str) -> error_details_pb2.PreconditionFailure:
    violation = error_details_pb2.PreconditionFailure.Violation(type=type, subject=subject)
    return error_details_pb2.PreconditionFailure(violations=[violation])


def _info(domain: str, reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(domain=domain, reason=reason, metadata=metadata)


def _bad_request(field: str) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field)
    return error_details_pb2.BadRequest(field_violations=[violation])


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, [_precondition("KEY_DISABLED", KEY)]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_precondition("KEY_DESTROYED", KEY)]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_info("cloudkms.googleapis.com", "KEY_DISABLED")]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_info("pubsub.googleapis.com", "KMS_KEY_INVALID", key=KEY)]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_info("googleapis.com", "BILLING_DISABLED")]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_precondition("STORAGE_POLICY", "projects/shop/topics/orders")]),
        (grpc.StatusCode.INVALID_ARGUMENT, [_info("googleapis.com", "API_KEY_INVALID")]),
    ],
)
def test_a_refusal_of_the_whole_topic_is_none_of_what_was_sent(code: grpc.StatusCode, details: list[object]) -> None:
    found = fault(raised(code, *details))
    assert (found.kind, found.code) == (FaultKind.DENIED, code.name)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, [_bad_request("messages[3].data")]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_bad_request("messages[3].data"), _info("googleapis.com", "ODD")]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_precondition("ORDERING", "messages[3]")]),
        (grpc.StatusCode.FAILED_PRECONDITION, [_info("pubsub.googleapis.com", "ODD_MESSAGE")]),
        (grpc.StatusCode.FAILED_PRECONDITION, []),
        (grpc.StatusCode.INVALID_ARGUMENT, [_info("pubsub.googleapis.com", "INVALID_SCHEMA_MESSAGE")]),
    ],
)
def test_a_refusal_that_may_be_of_one_message_stays_one(code: grpc.StatusCode, details: list[object]) -> None:
    assert fault(raised(code, *details)).kind is FaultKind.INVALID


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, f"{KEY} is not enabled, current state is: DESTROYED.", FaultKind.DENIED),
        (grpc.StatusCode.FAILED_PRECONDITION, "Cloud KMS key is not accessible", FaultKind.DENIED),
        (grpc.StatusCode.FAILED_PRECONDITION, "Billing is disabled for this project", FaultKind.DENIED),
        (grpc.StatusCode.INVALID_ARGUMENT, "attribute kms is too long", FaultKind.INVALID),
    ],
)
def test_where_there_is_only_a_text_that_of_a_precondition_tells(
    code: grpc.StatusCode, said: str, kind: FaultKind
) -> None:
    found = fault(exceptions.from_grpc_status(code, said))
    assert found.kind is kind
    assert ("check that its version is there and enabled" in found.detail) == ("key" in said.lower())


def test_the_local_server_is_named_where_there_is_one() -> None:
    error = raised(grpc.StatusCode.UNAVAILABLE)
    assert "is the local server running at 127.0.0.1:8085?" in fault(error, "127.0.0.1:8085").detail
    assert "check the network" in fault(error).detail


def test_the_wait_that_google_asks_for_is_kept() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(2_500)
    assert fault(raised(grpc.StatusCode.RESOURCE_EXHAUSTED, retry)).retry_after == 2.5
    assert fault(raised(grpc.StatusCode.RESOURCE_EXHAUSTED)).retry_after is None


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (auth.DefaultCredentialsError("none found"), FaultKind.UNAUTHENTICATED, "gcloud auth application-default"),
        (auth.RefreshError("invalid_grant"), FaultKind.UNAUTHENTICATED, "invalid_grant"),
        (auth.MalformedError("no such field"), FaultKind.UNAUTHENTICATED, "no such field"),
        (auth.TransportError("no route"), FaultKind.UNAVAILABLE, "token server can't be reached: no route"),
        (BindingError("wrong"), FaultKind.INVALID, "BindingError: wrong"),
        (ValueError("wrong"), FaultKind.INVALID, "ValueError: wrong"),
        (KeyError("odd"), FaultKind.INTERNAL, "KeyError: 'odd'"),
    ],
)
def test_what_isn_t_a_status(error: Exception, kind: FaultKind, says: str) -> None:
    found = fault(error)
    assert found.kind is kind
    assert says in found.detail


def test_an_exactly_once_subscription_tells_ack_ids_apart() -> None:
    reasons = {"gone": "PERMANENT_FAILURE_INVALID_ACK_ID", "later": "TRANSIENT_FAILURE_SERVICE_UNAVAILABLE"}
    error = raised(grpc.StatusCode.INVALID_ARGUMENT, error_details_pb2.ErrorInfo(metadata=reasons))
    gone, fine, later = receipt_faults(error, ["gone", "fine", "later"])
    assert gone is not None
    assert (gone.kind, gone.code) == (FaultKind.LEASE_LOST, "PERMANENT_FAILURE_INVALID_ACK_ID")
    assert fine is None
    assert later is not None
    assert later.retryable


def test_a_call_that_fails_as_a_whole_fails_for_all() -> None:
    found = receipt_faults(raised(grpc.StatusCode.UNAVAILABLE), ["a", "b"])
    assert [each.kind for each in found if isinstance(each, Fault)] == [FaultKind.UNAVAILABLE] * 2


def test_what_polybus_itself_found_keeps_its_fault() -> None:
    found = Fault(FaultKind.THROTTLED, "slow down")
    assert fault(BackendError(found)) is found


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.Unauthorized("no"), FaultKind.UNAUTHENTICATED),
        (exceptions.Forbidden("no"), FaultKind.DENIED),
        (exceptions.GatewayTimeout("late"), FaultKind.TIMEOUT),
        (exceptions.BadGateway("away"), FaultKind.UNAVAILABLE),
        (exceptions.TooManyRequests("slow"), FaultKind.THROTTLED),
        (TimeoutError(), FaultKind.TIMEOUT),
    ],
)
def test_errors_without_a_status_of_grpc_s_are_known_too(error: Exception, kind: FaultKind) -> None:
    assert fault(error).kind is kind


async def test_what_the_library_tries_again_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own tables: those of publishing, receiving, acking and extending, and those of its stream."""
    tables: list[type[Exception]] = []
    predicate = base.retries.if_exception_type
    monkeypatch.setattr(base.retries, "if_exception_type", lambda *kinds: tables.extend(kinds) or predicate(*kinds))
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    PublisherGrpcAsyncIOTransport(channel=channel)
    SubscriberGrpcAsyncIOTransport(channel=channel)
    await channel.close()
    tables += streaming_pull_manager._RETRYABLE_STREAM_ERRORS
    assert len(set(tables)) >= 7
    for kind in set(tables):
        assert fault(kind("again")).retryable, kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("('invalid_grant: Invalid JWT Signature.', {'error': 'invalid_grant'})", FaultKind.UNAUTHENTICATED),
        ("HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): timed out", FaultKind.UNAVAILABLE),
    ],
)
def test_refused_credentials_of_another_client_are_told_by_oauth_s_code(text: str, kind: FaultKind) -> None:
    """Of a connection that isn't ours there is nothing but what gRPC makes of the error."""
    said = f"Getting metadata from plugin failed with error: {text}"
    assert fault(exceptions.from_grpc_status(grpc.StatusCode.UNAVAILABLE, said)).kind is kind
