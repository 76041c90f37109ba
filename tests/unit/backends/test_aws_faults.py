"""What AWS's errors mean: what passes is tried again, what doesn't says what to do."""

from __future__ import annotations

import json
from email.utils import formatdate
from importlib.resources import files
from typing import Any

import botocore.retries.standard as standard
import pytest
from botocore import exceptions as boto

from polybus.clouds.aws.driver.faults import Expired, entry_fault, fault, receipt_fault
from polybus.errors import Fault, FaultKind


def refusal(
    code: str, status: int = 400, operation: str = "SendMessageBatch", text: str = "said", **headers: str
) -> Fault:
    response: Any = {
        "Error": {"Code": code, "Message": text},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return fault(boto.ClientError(response, operation))


def _retry_tables() -> set[str]:
    """Return every code that botocore's own retries, which are switched off, would try again."""
    found: set[str] = {
        *standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES,
        *standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
    }

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("service_error_code"), str):
                found.add(value["service_error_code"])
            for each in value.values():
                collect(each)

    collect(json.loads(files("botocore").joinpath("data/_retry.json").read_text()))
    return found


@pytest.mark.parametrize("code", sorted(_retry_tables()))
def test_every_code_that_botocore_would_try_again_is_tried_again(code: str) -> None:
    assert refusal(code).retryable
    assert entry_fault({"Code": code, "SenderFault": True, "Message": "m"}, "SendMessageBatch").retryable


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 509, 599])
def test_a_status_that_passes_is_tried_again_whatever_the_code(status: int) -> None:
    assert refusal(str(status), status).retryable
    assert refusal("SomethingNew", status).retryable


@pytest.mark.parametrize(
    "code", ["KMSThrottling", "KMSThrottlingException", "KmsThrottled", "KMS.ThrottlingException", "com.x#KmsThrottled"]
)
def test_a_busy_kms_is_tried_again(code: str) -> None:
    assert refusal(code).kind is FaultKind.THROTTLED
    assert entry_fault({"Code": code, "SenderFault": True}, "PublishBatch").kind is FaultKind.THROTTLED


@pytest.mark.parametrize("form", ["KMS{}", "KMS{}Exception", "Kms{}", "KMS.{}Exception", "KMS.{}"])
@pytest.mark.parametrize("name", ["AccessDenied", "Disabled", "InvalidState", "NotFound", "OptInRequired"])
def test_what_kms_refuses_is_about_the_key(form: str, name: str) -> None:
    for found in (refusal(form.format(name)), entry_fault({"Code": form.format(name)}, "PublishBatch")):
        assert found.kind is FaultKind.DENIED
        assert "KMS key" in found.detail
        assert "pulumi stack output" not in found.detail


@pytest.mark.parametrize(
    "code",
    [
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ],
)
def test_credentials_that_are_refused_are_final(code: str) -> None:
    found = refusal(code, 403)
    assert found.kind is FaultKind.UNAUTHENTICATED
    assert "check the credentials" in found.detail


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"])
@pytest.mark.parametrize(("ahead", "said"), [(3600, "60 min ahead of"), (-1800, "30 min behind")])
def test_a_wrong_clock_is_named(code: str, ahead: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_763_830_000.0
    monkeypatch.setattr("time.time", lambda: now + ahead)
    found = refusal(code, 403, date=formatdate(now, usegmt=True))
    assert found.kind is FaultKind.UNAUTHENTICATED
    assert f"this host's clock is {said} AWS's" in found.detail
    monkeypatch.setattr("time.time", lambda: now)
    assert "min" not in refusal(code, 403, date=formatdate(now, usegmt=True)).detail
    assert "this host's clock" in refusal(code, 403).detail


@pytest.mark.parametrize(
    "error",
    [
        boto.CredentialRetrievalError(provider="container-role", error_msg="503"),
        boto.TokenRetrievalError(provider="sso", error_msg="timed out"),
        boto.MetadataRetrievalError(error_msg="503"),
        boto.EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com/"),
        boto.ReadTimeoutError(endpoint_url="https://portal.sso.eu-west-1.amazonaws.com/"),
        FileNotFoundError(2, "No such file", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
        Expired(ValueError("ExpiredToken")),
    ],
)
def test_credentials_that_could_not_be_fetched_are_tried_again(error: Exception) -> None:
    assert fault(error).retryable


@pytest.mark.parametrize(
    "error",
    [
        boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        boto.UnauthorizedSSOTokenError(),
        boto.SSOTokenLoadError(error_msg="not there"),
        boto.NoAuthTokenError(),
    ],
)
def test_credentials_that_a_person_has_to_mend_are_final(error: Exception) -> None:
    assert fault(error).kind is FaultKind.UNAUTHENTICATED


def test_no_credentials_are_final_only_where_none_can_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert fault(boto.NoCredentialsError()).kind is FaultKind.UNAUTHENTICATED
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    found = fault(boto.NoCredentialsError())
    assert found.retryable
    assert "check the credentials" in found.detail


def test_a_role_that_cannot_be_assumed_is_about_the_role() -> None:
    found = refusal("AccessDenied", 403, "AssumeRoleWithWebIdentity")
    assert found.kind is FaultKind.UNAUTHENTICATED
    assert "trust policy" in found.detail
    assert refusal("IDPCommunicationError", 400, "AssumeRoleWithWebIdentity").retryable
    assert refusal("Throttling", 400, "AssumeRole").retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "3"}, 3), ({"x-amz-retry-after": "1500"}, 1.5), ({"retry-after": "x"}, None)],
)
def test_the_wait_that_aws_asks_for_is_kept(headers: dict[str, str], seconds: float | None) -> None:
    assert refusal("Throttling", 400, **headers).retry_after == seconds


def test_an_invalid_parameter_is_a_lost_lease_only_where_it_is_the_receipt() -> None:
    def read(text: str) -> FaultKind:
        entry = {"Code": "InvalidParameterValue", "Message": text, "SenderFault": True}
        return receipt_fault(entry_fault(entry, "ChangeMessageVisibilityBatch")).kind

    assert read("Value AQ/= for parameter ReceiptHandle is invalid. Reason: expired.") is FaultKind.LEASE_LOST
    assert read("The receipt handle has expired") is FaultKind.LEASE_LOST
    twelve = "Value 600 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout is beyond the limit"
    assert read(twelve) is FaultKind.INVALID
