"""Which protocol a request speaks, and how it is answered in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.wire import cbor, json, query, xml

__all__ = ["Answer", "Asked", "Protocol", "read"]

# The first part of X-Amz-Target, by service (botocore's models, targetPrefix).
_TARGETS = {
    "AmazonSQS": "sqs",
    "AmazonSSM": "ssm",
    "GraniteServiceVersion20100801": "monitoring",
    "Logs_20140328": "logs",
    "TrentService": "kms",
}
_CBOR = re.compile(r"/service/(\w+)/operation/(\w+)")
_REST = {
    "lambda": (
        ("POST", re.compile(r"/2015-03-31/functions/(?P<FunctionName>[^/]+)/policy"), "AddPermission"),
        ("GET", re.compile(r"/2015-03-31/functions/(?P<FunctionName>[^/]+)/policy"), "GetPolicy"),
        (
            "DELETE",
            re.compile(r"/2015-03-31/functions/(?P<FunctionName>[^/]+)/policy/(?P<StatementId>[^/]+)"),
            "RemovePermission",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body, and its headers."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Protocol:
    """One way of asking and answering: the Query protocol here, the others below."""

    def __init__(self, service: str) -> None:
        self.service = service

    def params(self, body: bytes, query_string: str) -> dict[str, Any]:
        """Return a request's parameters, in the shapes of JSON."""
        return query.decode(body, query_string, self.service)

    def answer(self, action: str, response: dict[str, Any], request_id: str) -> Answer:
        return Answer(200, xml.encode(self.service, action, response, request_id), {"Content-Type": xml.CONTENT_TYPE})

    def refusal(self, error: AwsError, request_id: str) -> Answer:
        service = self.service if self.service in xml.NAMESPACES else "sqs"
        return Answer(error.status, xml.encode_error(service, error, request_id), {"Content-Type": xml.CONTENT_TYPE})

    def time(self, at: float) -> Any:
        """Return a time as this protocol writes it, from seconds since the epoch."""
        return xml.time(at)


class _Json(Protocol):
    def params(self, body: bytes, query_string: str) -> dict[str, Any]:
        return json.decode(body)

    def answer(self, action: str, response: dict[str, Any], request_id: str) -> Answer:
        return Answer(200, json.encode(response), {"Content-Type": json.content_type(self.service)})

    def refusal(self, error: AwsError, request_id: str) -> Answer:
        body, headers = json.encode_error(error, self.service)
        return Answer(error.status, body, {"Content-Type": json.content_type(self.service), **headers})

    def time(self, at: float) -> Any:
        return at


class _Cbor(Protocol):
    _MARK: Mapping[str, str] = {"Content-Type": cbor.CONTENT_TYPE, "smithy-protocol": "rpc-v2-cbor"}

    def params(self, body: bytes, query_string: str) -> dict[str, Any]:
        return cbor.decode(body)

    def answer(self, action: str, response: dict[str, Any], request_id: str) -> Answer:
        return Answer(200, cbor.encode(response), self._MARK)

    def refusal(self, error: AwsError, request_id: str) -> Answer:
        body = {"__type": f"com.amazonaws.{self.service}#{error.code}", "message": error.message}
        told = {"x-amzn-query-error": f"{error.code};{'Sender' if error.sender else 'Receiver'}"}
        return Answer(error.status, cbor.encode(body), {**self._MARK, **told})

    def time(self, at: float) -> Any:
        return cbor.Timestamp(at)


class _Rest(Protocol):
    """JSON bodies, and what the path says; a change that answers nothing answers 204."""

    def __init__(self, service: str, named: Mapping[str, str]) -> None:
        super().__init__(service)
        self._named = named

    def params(self, body: bytes, query_string: str) -> dict[str, Any]:
        return {**json.decode(body), **query.decode(b"", query_string, self.service), **self._named}

    def answer(self, action: str, response: dict[str, Any], request_id: str) -> Answer:
        status = 201 if action.startswith("Add") else 200 if response else 204
        return Answer(status, json.encode(response) if response else b"", {"Content-Type": "application/json"})

    def refusal(self, error: AwsError, request_id: str) -> Answer:
        body = msgspec.json.encode({"Type": "User" if error.sender else "Server", "Message": error.message})
        return Answer(error.status, body, {"Content-Type": "application/json", "x-amzn-ErrorType": error.code})

    def time(self, at: float) -> Any:
        return at


@dataclass(frozen=True, slots=True)
class Asked:
    """The protocol of a request, and the action where the protocol doesn't leave it to the parameters."""

    protocol: Protocol
    action: str | None = None


def read(method: str, path: str, target: str, service: str) -> Asked:
    """Tell the protocol of a request for `service`, by its method, its path and its X-Amz-Target."""
    if target:
        prefix, _, action = target.partition(".")
        return Asked(_Json(_TARGETS.get(prefix, "")), action)
    if found := _CBOR.fullmatch(path):
        return Asked(_Cbor(_TARGETS.get(found[1], "")), found[2])
    for wanted, pattern, action in _REST.get(service, ()):
        if wanted == method and (match := pattern.fullmatch(path)):
            return Asked(_Rest(service, {name: unquote(text) for name, text in match.groupdict().items()}), action)
    if service in _REST:
        return Asked(_Rest(service, {}), f"{method} {path}")
    return Asked(Protocol(service))
