"""AWS JSON 1.0, compatible with clients that know the Query protocol's error codes."""

from __future__ import annotations

from typing import Any

import msgspec

from polybus.localcloud.aws.errors import SQS_PREFIX, AwsError

__all__ = ["CONTENT_TYPE", "decode", "encode", "encode_error"]

CONTENT_TYPE = "application/x-amz-json-1.0"

# The names of shapes that differ from their Query codes by more than the prefix (botocore 1.44.5, sqs model).
_SHAPES = {
    SQS_PREFIX + "NonExistentQueue": "QueueDoesNotExist",
    "QueueAlreadyExists": "QueueNameExists",
    "AccessDenied": "AccessDeniedException",
    "InvalidParameterValue": "InvalidParameterValueException",
    "MissingParameter": "MissingRequiredParameterException",
}


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


def encode_error(error: AwsError) -> tuple[bytes, dict[str, str]]:
    """Return the body, and the header that tells the code of the Query protocol."""
    shape = _SHAPES.get(error.code, error.code.removeprefix(SQS_PREFIX))
    body = {"__type": f"com.amazonaws.sqs#{shape}", "message": error.message}
    return msgspec.json.encode(body), {"x-amzn-query-error": f"{error.code};{'Sender' if error.sender else 'Receiver'}"}
