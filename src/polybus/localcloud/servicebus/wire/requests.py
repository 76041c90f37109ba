"""Request and response nodes: $cbs, and the $management of each entity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp.decode import DecodeError, decode, decode_one, fields
from polybus.localcloud.servicebus.amqp.sections import APPLICATION, PROPERTIES, VALUE, sections, text
from polybus.localcloud.servicebus.entities.mailbox import Mailbox
from polybus.localcloud.servicebus.paths import entity_path
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, DECODE_ERROR, Refusal
from polybus.localcloud.servicebus.wire import management
from polybus.localcloud.servicebus.wire.host import Host, Peer
from polybus.localcloud.servicebus.wire.links import Node

__all__ = ["node_of"]

MANAGEMENT = "/$management"
CBS = "$cbs"
MOST_BYTES = 1024 * 1024


def node_of(host: Host, path: str) -> Node | None:
    """Return the node of an address, None where it is an entity's; raise Refusal."""
    if path.lower() == CBS:
        return Cbs(host)
    if path.lower().endswith(MANAGEMENT):
        return Management(host, host.namespace.find(path[: -len(MANAGEMENT)]).path)
    return None


def _read(payload: bytes) -> tuple[bytes, dict[str, Any], bytes]:
    """Return (encoded message-id, application properties, encoded body) of a request."""
    message_id, properties, body = e.NULL, {}, e.NULL
    for code, _, at, end in sections(payload):
        if code == PROPERTIES:
            message_id = (fields(payload, at) or [e.NULL])[0]
        elif code == APPLICATION:
            properties = decode(payload, at)[0]
        elif code == VALUE:
            body = payload[at:end]
    if not isinstance(properties, dict):
        raise DecodeError("a request's application properties are no map")
    return message_id, {str(text(key)): value for key, value in properties.items()}, body


def _reply(message_id: bytes, properties: Mapping[str, bytes], body: bytes) -> bytes:
    correlated = e.items([e.NULL] * 5 + [message_id])
    pairs = [(e.string(name), value) for name, value in properties.items()]
    return e.described(PROPERTIES, correlated) + e.described(APPLICATION, e.mapping(pairs)) + e.described(VALUE, body)


class Cbs:
    """Claims-based security: takes a connection's tokens."""

    most_bytes = MOST_BYTES
    place = "token"
    entity = ""

    def __init__(self, host: Host) -> None:
        self._host = host

    def request(self, connection: Peer, payload: bytes, transaction: bytes | None) -> bytes:
        message_id, properties, body = _read(payload)
        try:
            self._host.faults.check(self.place, self.entity)
            self._take(connection, properties, text(decode_one(body)))
            status, description = 202, "Accepted"
        except Refusal as refusal:
            status, description = refusal.status, refusal.description
        answer = {"status-code": e.int32(status), "status-description": e.string(description)}
        return _reply(message_id, answer, e.mapping([]))

    def _take(self, connection: Peer, properties: Mapping[str, Any], token: Any) -> None:
        audience = text(properties.get("name"))
        if text(properties.get("operation")) != "put-token" or not isinstance(audience, str):
            raise Refusal(ARGUMENT_ERROR, "Only put-token with an audience is understood here.")
        if not isinstance(token, str):
            raise Refusal(ARGUMENT_ERROR, "The token is no text.")
        try:
            connection.key_name = self._host.rights.verify(token)
        except Refusal as refusal:
            connection.denied = refusal
            raise
        connection.denied = None
        path = entity_path(audience)
        if path.lower().endswith(MANAGEMENT):
            path = path[: -len(MANAGEMENT)]
        if path:
            self._host.namespace.find(path)


class Management:
    """An entity's operations beside sending and receiving."""

    most_bytes = MOST_BYTES
    place = "management"

    def __init__(self, host: Host, path: str) -> None:
        self._host = host
        self.entity = path

    def _mailbox(self) -> Mailbox:
        return self._host.namespace.find(self.entity)

    def request(self, connection: Peer, payload: bytes, transaction: bytes | None) -> bytes:
        message_id, properties, body = _read(payload)
        operation = str(text(properties.get("operation")))
        condition = None
        try:
            self._host.faults.check(self.place, self.entity)
            mailbox = self._mailbox()
            found = decode_one(body)
            named, raw = (found, body) if isinstance(found, dict) else ({}, e.NULL)
            call = management.Call(self._host, connection, mailbox, named, raw, transaction)
            result = management.run(operation, call)
            status, description, answer = result.status, result.description, result.body
            mailbox.pump()
        except Refusal as refusal:
            status, description, condition = refusal.status, refusal.description, refusal.condition
            answer = e.mapping([])
        except DecodeError as error:
            status, description, condition, answer = 400, str(error), DECODE_ERROR, e.mapping([])
        head = {"statusCode": e.int32(status), "statusDescription": e.string(description)}
        if condition is not None:
            head["errorCondition"] = e.symbol(condition)
        return _reply(message_id, head, answer)
