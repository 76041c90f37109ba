"""What these calls raise: botocore's own exceptions, as boto3 would, so that they mean the same everywhere."""

from __future__ import annotations

import ssl
from typing import Any

from botocore import exceptions as boto
from botocore.awsrequest import HeadersDict
from botocore.parsers import ResponseParserError, create_parser

from polybus.clouds.aws.driver.lean.codec import Damaged, Unreadable
from polybus.clouds.aws.driver.lean.connection import (
    Lost,
    NoAnswer,
    NotConnected,
    NotConnectedInTime,
    ProxyRefused,
)
from polybus.clouds.aws.driver.lean.http1 import Answer, Malformed
from polybus.clouds.aws.driver.lean.template import Template

__all__ = ["OURS", "checked", "from_answer", "translated"]

OURS = (Damaged, Lost, Malformed, NoAnswer, NotConnected, Unreadable)


def translated(error: Exception, operation: str, url: str, proxy: str | None) -> Exception:
    """Return what boto3 raises where one of OURS was raised; `proxy` is its URL without credentials."""
    match error:
        case NotConnectedInTime():
            return boto.ConnectTimeoutError(endpoint_url=url, error=error)
        case ProxyRefused():
            return boto.ProxyConnectionError(proxy_url=f"{proxy}: {error}", error=error)
        case NotConnected() if isinstance(error.__cause__, ssl.SSLError):
            return boto.SSLError(endpoint_url=url, error=error)
        case NotConnected():
            return boto.EndpointConnectionError(endpoint_url=url, error=error)
        case NoAnswer():
            return boto.ReadTimeoutError(endpoint_url=url, error=error)
        case Unreadable():
            return ResponseParserError(f"{operation}: what {url} answers can't be read: {error}")
        case Damaged():
            answer: Any = {"Error": {"Code": "BadDigest", "Message": str(error)}, "ResponseMetadata": {}}
            return boto.ClientError(answer, operation)
    return boto.ConnectionClosedError(endpoint_url=url, error=error)


def from_answer(client: Any, template: Template, answer: Answer) -> Exception:
    """Return what boto3 raises for an answer that refuses a call; raises what its parser does."""
    model = client.meta.service_model.operation_model(template.operation)
    response = {"status_code": answer.status, "headers": HeadersDict(answer.headers), "body": answer.body}
    parsed = create_parser(template.protocol).parse(response, model.output_shape)
    said = parsed.get("Error", {})
    found: Exception = client.exceptions.from_code(said.get("QueryErrorCode") or said.get("Code"))(
        parsed, template.operation
    )
    return found


def checked(client: Any, operation: str, arguments: Any) -> None:
    """Check arguments as botocore does; raise its ParamValidationError."""
    from botocore.validate import ParamValidator

    shape = client.meta.service_model.operation_model(operation).input_shape
    report = ParamValidator().validate(arguments, shape)
    if report.has_errors():
        raise boto.ParamValidationError(report=report.generate_report())
