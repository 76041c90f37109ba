"""The Query protocol's answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from polybus.localcloud.aws.errors import AwsError

__all__ = ["CONTENT_TYPE", "NAMESPACES", "encode", "encode_error", "time"]

CONTENT_TYPE = "text/xml"
NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "monitoring": "http://monitoring.amazonaws.com/doc/2010-08-01/",
    "sns": "http://sns.amazonaws.com/doc/2010-03-31/",
    "sqs": "http://queue.amazonaws.com/doc/2012-11-05/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
# SQS's lists and maps are flattened: repeated elements of another name.
_SQS_LISTS = {
    "QueueUrls": "QueueUrl",
    "queueUrls": "QueueUrl",
    "Messages": "Message",
    "Results": "ListMessageMoveTasksResultEntry",
}
_SQS_MAPS = {
    "Attributes": ("Attribute", "Name", "Value"),
    "MessageAttributes": ("MessageAttribute", "Name", "Value"),
    "Tags": ("Tag", "Key", "Value"),
}


def time(at: float) -> str:
    """Return a time from seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(service: str, action: str, response: dict[str, Any], request_id: str) -> bytes:
    """Return the answer to `action`."""
    if service == "sqs":
        content = "".join(_flattened(name, value, action) for name, value in response.items())
    else:
        content = "".join(_element(name, value) for name, value in response.items())
    result = f"<{action}Result>{content}</{action}Result>"
    metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    return f'<{action}Response xmlns="{NAMESPACES[service]}">{result}{metadata}</{action}Response>'.encode()


def encode_error(service: str, error: AwsError, request_id: str) -> bytes:
    kind = "Sender" if error.sender else "Receiver"
    detail = f"<Type>{kind}</Type><Code>{_text(error.code)}</Code><Message>{_text(error.message)}</Message>"
    if service == "sqs":
        detail += "<Detail/>"
    body = f"<Error>{detail}</Error><RequestId>{request_id}</RequestId>"
    return f'<ErrorResponse xmlns="{NAMESPACES[service]}">{body}</ErrorResponse>'.encode()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # A carriage return would be read as a line feed; characters that XML can't hold come from refused requests only.
    legal = "".join(c if c >= " " or c in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return escape(legal, {"\r": "&#13;"}).encode(errors="replace").decode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, Mapping) and name == "Attributes":
        inner = "".join(f"<entry><key>{_text(k)}</key><value>{_text(v)}</value></entry>" for k, v in value.items())
    elif isinstance(value, Mapping):
        inner = "".join(_element(key, item) for key, item in value.items())
    elif isinstance(value, list):
        inner = "".join(_element("member", item) for item in value)
    else:
        inner = _text(value)
    return f"<{name}>{inner}</{name}>"


def _flattened(name: str, value: Any, action: str) -> str:
    if name in ("Successful", "Failed"):
        name = f"{action}ResultEntry" if name == "Successful" else "BatchResultErrorEntry"
        return "".join(_flattened(name, item, action) for item in value)
    if name in _SQS_LISTS:
        return "".join(_flattened(_SQS_LISTS[name], item, action) for item in value)
    if name in _SQS_MAPS:
        element, key, content = _SQS_MAPS[name]
        return "".join(_flattened(element, {key: k, content: v}, action) for k, v in value.items())
    if isinstance(value, Mapping):
        inner = "".join(_flattened(key, item, action) for key, item in value.items())
    else:
        inner = _text(value)
    return f"<{name}>{inner}</{name}>"
