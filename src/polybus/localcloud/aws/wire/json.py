"""AWS JSON, for SQS compatible with clients that know the Query protocol's error codes."""

from __future__ import annotations

from typing import Any

import msgspec

from polybus.localcloud.aws.errors import SQS_PREFIX, AwsError

__all__ = ["content_type", "decode", "encode", "encode_error"]

_VERSIONS = {"sqs": "1.0", "monitoring": "1.0"}  # and 1.1 of all others (botocore's models, jsonVersion)

# The names of shapes that differ from their Query codes by more than the prefix (botocore 1.44.5, sqs model).
_SHAPES = {
    SQS_PREFIX + "NonExistentQueue": "QueueDoesNotExist",
    "QueueAlreadyExists": "QueueNameExists",
    "AccessDenied": "AccessDeniedException",
    "InvalidParameterValue": "InvalidParameterValueException",
    "MissingParameter": "MissingRequiredParameterException",
}


def content_type(service: str) -> str:
    """Return the content type of a service's answers."""
    return f"application/x-amz-json-{_VERSIONS.get(service, '1.1')}"


def decode(body: bytes) -> dict[str, Any]:
    """Return a request's parameters; raises AwsError where the body is not a JSON object."""
    try:
        params = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise AwsError("SerializationException", f"The request's body is not JSON: {error}") from None
    if not isinstance(params, dict):
        raise AwsError("SerializationException", "The request's body is not a JSON object.")
    return params


def encode(response: dict[str, Any]) -> bytes:
    return msgspec.json.encode(response)


def encode_error(error: AwsError, service: str) -> tuple[bytes, dict[str, str]]:
    """Return the body, and the header that tells the code of the Query protocol."""
    if service not in ("sqs", ""):
        return msgspec.json.encode({"__type": error.code, "message": error.message}), {}
    shape = _SHAPES.get(error.code, error.code.removeprefix(SQS_PREFIX))
    body = {"__type": f"com.amazonaws.sqs#{shape}", "message": error.message}
    return msgspec.json.encode(body), {"x-amzn-query-error": f"{error.code};{'Sender' if error.sender else 'Receiver'}"}
