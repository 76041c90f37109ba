"""Pub/Sub's REST API, v1: the same methods as over gRPC, as JSON over HTTP (google/pubsub/v1/*.proto, google.api.http).

Terraform's and Pulumi's providers call it, and client libraries without gRPC. Callers are not authenticated.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from polybus.localcloud.pubsub import limits, protocol
from polybus.localcloud.pubsub.protocol import Proto
from polybus.localcloud.pubsub.refusal import Refused, invalid
from polybus.localcloud.pubsub.wire import Context, Faults, Method

__all__ = ["BINDINGS", "Binding", "RestFace"]

log = logging.getLogger(__name__)


class Binding(NamedTuple):
    """A method of the API: which field of its request the path is, and which is the body (`*`: all of it)."""

    method: str
    field: str
    body: str = ""


# By HTTP method, what follows the project's name, with * for an id, and the verb behind the colon.
BINDINGS: Mapping[tuple[str, str, str], Binding] = {
    ("PUT", "topics/*", ""): Binding("CreateTopic", "name", "*"),
    ("PATCH", "topics/*", ""): Binding("UpdateTopic", "topic.name", "*"),
    ("POST", "topics/*", "publish"): Binding("Publish", "topic", "*"),
    ("GET", "topics/*", ""): Binding("GetTopic", "topic"),
    ("GET", "topics", ""): Binding("ListTopics", "project"),
    ("GET", "topics/*/subscriptions", ""): Binding("ListTopicSubscriptions", "topic"),
    ("GET", "topics/*/snapshots", ""): Binding("ListTopicSnapshots", "topic"),
    ("DELETE", "topics/*", ""): Binding("DeleteTopic", "topic"),
    ("POST", "subscriptions/*", "detach"): Binding("DetachSubscription", "subscription"),
    ("PUT", "subscriptions/*", ""): Binding("CreateSubscription", "name", "*"),
    ("GET", "subscriptions/*", ""): Binding("GetSubscription", "subscription"),
    ("PATCH", "subscriptions/*", ""): Binding("UpdateSubscription", "subscription.name", "*"),
    ("GET", "subscriptions", ""): Binding("ListSubscriptions", "project"),
    ("DELETE", "subscriptions/*", ""): Binding("DeleteSubscription", "subscription"),
    ("POST", "subscriptions/*", "modifyAckDeadline"): Binding("ModifyAckDeadline", "subscription", "*"),
    ("POST", "subscriptions/*", "acknowledge"): Binding("Acknowledge", "subscription", "*"),
    ("POST", "subscriptions/*", "pull"): Binding("Pull", "subscription", "*"),
    ("POST", "subscriptions/*", "modifyPushConfig"): Binding("ModifyPushConfig", "subscription", "*"),
    ("POST", "subscriptions/*", "seek"): Binding("Seek", "subscription", "*"),
    ("GET", "snapshots/*", ""): Binding("GetSnapshot", "snapshot"),
    ("GET", "snapshots", ""): Binding("ListSnapshots", "project"),
    ("PUT", "snapshots/*", ""): Binding("CreateSnapshot", "name", "*"),
    ("PATCH", "snapshots/*", ""): Binding("UpdateSnapshot", "snapshot.name", "*"),
    ("DELETE", "snapshots/*", ""): Binding("DeleteSnapshot", "snapshot"),
    ("POST", "schemas", ""): Binding("CreateSchema", "parent", "schema"),
    ("GET", "schemas/*", ""): Binding("GetSchema", "name"),
    ("GET", "schemas", ""): Binding("ListSchemas", "parent"),
    ("GET", "schemas/*", "listRevisions"): Binding("ListSchemaRevisions", "name"),
    ("POST", "schemas/*", "commit"): Binding("CommitSchema", "name", "*"),
    ("POST", "schemas/*", "rollback"): Binding("RollbackSchema", "name", "*"),
    ("DELETE", "schemas/*", "deleteRevision"): Binding("DeleteSchemaRevision", "name"),
    ("DELETE", "schemas/*", ""): Binding("DeleteSchema", "name"),
    ("POST", "schemas", "validate"): Binding("ValidateSchema", "parent", "*"),
    ("POST", "schemas", "validateMessage"): Binding("ValidateMessage", "parent", "*"),
    **{
        (verb, f"{kind}/*", method[0].lower() + method[1:]): Binding(method, "resource", body)
        for kind in ("topics", "subscriptions", "snapshots", "schemas")
        for verb, method, body in (
            ("GET", "GetIamPolicy", ""),
            ("POST", "SetIamPolicy", "*"),
            ("POST", "TestIamPermissions", "*"),
        )
    },
}
# Parameters of every Google API (https://cloud.google.com/apis/docs/system-parameters), which change nothing here.
_SYSTEM = frozenset(
    {"$.xgafv", "$alt", "access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint", "quotaUser"}
    | {"uploadType", "upload_protocol", "userProject"}
)
# The HTTP status of each of gRPC's (google/rpc/code.proto).
_STATUSES = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class _Context:
    """What a handler asks of a gRPC call: one over HTTP has no deadline that the server knows."""

    def time_remaining(self) -> float | None:
        return None


class RestFace:
    """Serves methods by name, those of all services together, on a port of its own."""

    def __init__(self, faults: Faults, methods: Mapping[str, Method]) -> None:
        self._faults = faults
        self._methods = methods
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port; raise OSError where it is taken."""
        server = web.Server(self._handle, request_factory=_request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """End every connection; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return web.json_response(await self._answer(request))
        except Refused as refused:
            return _refusal(_STATUSES.get(refused.code, 500), refused.code.name, refused.detail)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(413, "INVALID_ARGUMENT", f"A request has at most {limits.RECEIVE_BYTES} bytes.")
        except sqlite3.Error as error:
            log.exception("the store could not write")
            return _refusal(500, "INTERNAL", f"The store could not write: {error}")
        except Exception:
            log.exception("local Pub/Sub: %s %s failed", request.method, request.path)
            return _refusal(500, "INTERNAL", "The server failed; its log has the reason.")

    async def _answer(self, request: web.BaseRequest) -> Any:
        binding, name = _bound(request.method, request.rel_url.raw_path)
        kind, handler = self._methods[binding.method]
        message = _parsed(kind, binding, name, await request.read(), request.query)
        await self._faults.hold(binding.method)
        self._faults.check(binding.method)
        answer = await handler(message, cast("Context", _Context()))
        self._faults.check_after(binding.method)
        if isinstance(answer, bytes):  # a pull's, which is put together as bytes
            answer = protocol.PullResponse.FromString(answer)
        return MessageToDict(answer)


def _refusal(code: int, status: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message, "status": status}}, status=code)


def _bound(method: str, raw_path: str) -> tuple[Binding, str]:
    """Return what a path asks for, and the name of the resource in it; refuse what is nothing of the API's."""
    *before, last = raw_path.strip("/").split("/")
    last, colon, verb = last.partition(":")
    parts = [unquote(part) for part in (*before, last)]
    shape = "/".join("*" if number % 2 else part for number, part in enumerate(parts[3:]))
    binding = BINDINGS.get((method, shape, verb)) if parts[:2] == ["v1", "projects"] and len(parts) > 3 else None
    if binding is None or (colon and not verb):
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Method not found: {method} {raw_path[:200]}")
    # A list is of its project or topic, a new schema in its project: without the last part of the path.
    kept = parts[1:-1] if len(parts) % 2 == 0 else parts[1:]
    return binding, "/".join(kept)


def _parsed(kind: Proto, binding: Binding, name: str, body: bytes, query: Mapping[str, str]) -> Proto:
    """Return the request of a method; refuse what is no JSON of it."""
    try:
        document = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    if not isinstance(document, dict):
        raise invalid("Invalid JSON payload received. It must be an object.")
    fields: dict[str, Any] = document if binding.body == "*" else {binding.body: document} if binding.body else {}
    for key, value in query.items():
        if key not in _SYSTEM:
            _put(fields, key, _typed(kind, key, value))
    _put(fields, binding.field, name)
    for mask in ("updateMask", "update_mask"):
        if isinstance(fields.get(mask), str):  # paths in snake case are taken too
            fields[mask] = re.sub("_([a-z])", lambda found: found[1].upper(), fields[mask])
    message = kind()
    try:
        ParseDict(fields, message)
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    return message


def _put(fields: dict[str, Any], path: str, value: Any) -> None:
    """Set a field, or one of a message in a field."""
    first, dot, rest = path.partition(".")
    if not dot:
        fields[first] = value
        return
    inner = fields.setdefault(first, {})
    if not isinstance(inner, dict):
        raise invalid(f"Invalid JSON payload received. {first} must be an object.")
    _put(inner, rest, value)


def _typed(kind: Proto, key: str, value: str) -> Any:
    """Return a query's value as JSON has it: Google takes numbers and booleans for what they are."""
    names = {field.json_name: field for field in kind.DESCRIPTOR.fields} | dict(kind.DESCRIPTOR.fields_by_name)
    field = names.get(key)
    if field is not None and field.cpp_type == field.CPPTYPE_BOOL:
        return {"true": True, "false": False}.get(value, value)
    if field is not None and field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64):
        return int(value) if value.lstrip("-").isdecimal() and len(value) < 20 else value
    if field is not None and field.cpp_type == field.CPPTYPE_ENUM and value.isdecimal() and len(value) < 10:
        return int(value)
    return value


def _request(message: Any, payload: Any, protocol_: Any, writer: Any, task: Any) -> web.BaseRequest:
    """Build a request as aiohttp does, with room for the largest publish, in base64."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol_, writer, task, loop, client_max_size=limits.RECEIVE_BYTES)
