"""The operations of $management. Source of names and shapes: Microsoft's "AMQP request-response operations"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp.decode import decode_one
from polybus.localcloud.servicebus.amqp.sections import encoded_pairs, text
from polybus.localcloud.servicebus.entities import operations
from polybus.localcloud.servicebus.entities.mailbox import Mailbox
from polybus.localcloud.servicebus.entities.message import Message, parse, render
from polybus.localcloud.servicebus.entities.operations import Changes
from polybus.localcloud.servicebus.entities.sessions import Session, Sessions
from polybus.localcloud.servicebus.entities.topic import Subscription, Topic
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, NOT_ALLOWED, NOT_IMPLEMENTED, TOO_LARGE, Refusal
from polybus.localcloud.servicebus.rights import LISTEN, SEND
from polybus.localcloud.servicebus.wire.host import Host, Peer
from polybus.localcloud.servicebus.wire.links import Outlet
from polybus.localcloud.servicebus.wire.rules import described_rule, rule_of

__all__ = ["Call", "Result", "run"]

# get-message-sessions with this time or a later one asks for sessions with messages, not for updated ones.
ANY_TIME_MS = 253_402_300_800_000


@dataclass(frozen=True, slots=True)
class Result:
    body: bytes
    status: int = 200
    description: str = "OK"


EMPTY = e.mapping([])
DONE = Result(EMPTY)
NO_CONTENT = Result(EMPTY, 204, "NoContent")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: where it goes, who asks, and its body, decoded and as it came."""

    host: Host
    connection: Peer
    mailbox: Mailbox
    body: dict[Any, Any]
    raw: bytes
    transaction: bytes | None = None

    @property
    def encoded(self) -> dict[Any, bytes]:
        """The body's values as they came."""
        return {text(decode_one(key)): value for key, value in encoded_pairs(self.raw)}

    def get(self, name: str) -> Any:
        return self.body.get(name)

    def need(self, name: str, kind: type) -> Any:
        value = self.body.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Refusal(ARGUMENT_ERROR, f"The request's '{name}' is missing or of a wrong type.")
        return value

    def numbers(self, name: str) -> list[int]:
        found = self.need(name, list)
        if not all(isinstance(value, int) for value in found):
            raise Refusal(ARGUMENT_ERROR, f"The request's '{name}' holds something else than numbers.")
        return list(found)

    def tokens(self) -> list[bytes]:
        found = self.need("lock-tokens", list)
        if not all(isinstance(value, UUID) for value in found):
            raise Refusal(ARGUMENT_ERROR, "The request's 'lock-tokens' holds something else than UUIDs.")
        return [value.bytes_le for value in found]

    def session_name(self) -> str | None:
        value = text(self.body.get("session-id"))
        return None if value is None else str(value)

    def sessions(self) -> Sessions:
        if self.mailbox.sessions is None:
            raise Refusal(NOT_ALLOWED, f"'{self.mailbox.path}' does not require sessions.")
        return self.mailbox.sessions

    def session(self) -> Session:
        """Return the request's session; raise Refusal where this connection doesn't hold its lock."""
        connection = self.connection
        return self.sessions().owned(
            self.session_name(), lambda owner: isinstance(owner, Outlet) and owner.session.connection is connection
        )


def _message(message: Message, *, locked: bool = False) -> bytes:
    pairs = [(e.string("message"), e.binary(render(message, locked=locked, shown_state=message.state)))]
    if locked and message.token is not None:
        pairs.append((e.string("lock-token"), e.uuid(UUID(bytes_le=message.token))))
    return e.mapping(pairs)


def _messages(found: list[bytes]) -> Result:
    return Result(e.mapping([(e.string("messages"), e.items(found))]))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _renew_lock(call: Call) -> Result:
    if call.mailbox.sessions is not None:
        raise Refusal(NOT_ALLOWED, "Locks of an entity that requires sessions are renewed by their session.")
    ends = [_milliseconds(call.mailbox.renew(token)) for token in call.tokens()]
    return Result(e.mapping([(e.string("expirations"), e.timestamps(ends))]))


def _renew_session_lock(call: Call) -> Result:
    end = call.sessions().renew(call.session())
    return Result(e.mapping([(e.string("expiration"), e.timestamp(_milliseconds(end)))]))


def _get_session_state(call: Call) -> Result:
    state = call.session().state
    return Result(e.mapping([(e.string("session-state"), e.NULL if state is None else e.binary(state))]))


def _set_session_state(call: Call) -> Result:
    state = call.get("session-state")
    if isinstance(state, str):
        state = state.encode()
    if state is not None and not isinstance(state, bytes):
        raise Refusal(ARGUMENT_ERROR, "The session's state is not binary.")
    state = state or None  # empty is how clients that send no null clear it
    if state is not None and len(state) > call.mailbox.max_message_bytes:
        raise Refusal(TOO_LARGE, f"The session's state exceeds {call.mailbox.max_message_bytes} bytes.")
    call.sessions().set_state(call.session(), state)
    return DONE


def _get_message_sessions(call: Call) -> Result:
    since, skip, top = call.need("last-updated-time", int), call.need("skip", int), call.need("top", int)
    names = call.sessions().names(None if since >= ANY_TIME_MS else since / 1000)[max(skip, 0) :][: max(top, 0)]
    if not names:
        return NO_CONTENT
    return Result(e.mapping([(e.string("skip"), e.int32(skip)), (e.string("sessions-ids"), e.strings(names))]))


def _peek(call: Call) -> Result:
    first, count = call.need("from-sequence-number", int), call.need("message-count", int)
    found = operations.peek(call.mailbox, first, count, call.session_name())
    return _messages([_message(message) for message in found]) if found else NO_CONTENT


def _receive_by_sequence_number(call: Call) -> Result:
    numbers, mode = call.numbers("sequence-numbers"), call.need("receiver-settle-mode", int)
    if call.mailbox.sessions is not None:
        call.session()
    delete = mode == 0
    found = operations.receive_deferred(call.mailbox, numbers, call.session_name(), delete=delete)
    return _messages([_message(message, locked=not delete) for message in found])


def _update_disposition(call: Call) -> Result:
    if call.mailbox.sessions is not None:
        call.session()
    call.host.faults.check("settle", call.mailbox.path)
    how = str(text(call.get("disposition-status")))
    reason, description = text(call.get("deadletter-reason")), text(call.get("deadletter-description"))
    properties = encoded_pairs(call.encoded.get("properties-to-modify", e.NULL))
    changes = Changes(reason, description, properties)
    tokens = call.tokens()
    if how not in operations.SETTLEMENTS:
        raise Refusal(ARGUMENT_ERROR, f"The disposition '{how}' is unknown.")

    def check() -> None:
        for token in tokens:
            call.mailbox.locked(token)

    def step() -> None:
        for token in tokens:
            operations.settle(call.mailbox, token, how, changes)
        call.mailbox.pump()

    check()
    if call.transaction is None:
        step()
    else:
        call.connection.transactions.add(call.transaction, step, check=check)
    return DONE


def _schedule(call: Call) -> Result:
    call.host.faults.check("send", call.mailbox.path)
    if call.mailbox.parent is not None or (hasattr(call.mailbox, "topic")):
        raise Refusal(NOT_ALLOWED, f"'{call.mailbox.path}' takes no messages from senders.")
    messages = []
    for entry in call.need("messages", list):
        data = entry.get("message") if isinstance(entry, dict) else None
        if not isinstance(data, bytes):
            raise Refusal(ARGUMENT_ERROR, "The request's 'messages' holds something else than messages.")
        message = parse(data)
        call.mailbox.check(message, len(data))
        message.give_id()
        messages.append(message)
    numbers = [call.mailbox.accept(message) for message in messages]
    return Result(e.mapping([(e.string("sequence-numbers"), e.longs(numbers))]))


def _cancel_scheduled(call: Call) -> Result:
    operations.cancel(call.mailbox, call.numbers("sequence-numbers"))
    return DONE


def _subscription(call: Call) -> Subscription:
    if not isinstance(call.mailbox, Subscription):
        raise Refusal(NOT_ALLOWED, f"'{call.mailbox.path}' is no subscription: it has no rules.")
    return call.mailbox


def _add_rule(call: Call) -> Result:
    found = _subscription(call)
    rule = rule_of(text(call.get("rule-name")), call.get("rule-description"))
    call.host.namespace.put_rule(found.topic.path, found.name, rule)
    return DONE


def _remove_rule(call: Call) -> Result:
    found = _subscription(call)
    call.host.namespace.drop_rule(found.topic.path, found.name, str(text(call.get("rule-name"))))
    return DONE


def _enumerate_rules(call: Call) -> Result:
    skip, top = call.need("skip", int), call.need("top", int)
    rules = [compiled.rule for compiled in _subscription(call).rules.values()][max(skip, 0) :][: max(top, 0)]
    if not rules:
        return NO_CONTENT
    entries = [e.mapping([(e.string("rule-description"), described_rule(rule))]) for rule in rules]
    return Result(e.mapping([(e.string("rules"), e.items(entries))]))


_OPERATIONS: dict[str, tuple[str, Callable[[Call], Result]]] = {
    "renew-lock": (LISTEN, _renew_lock),
    "renew-session-lock": (LISTEN, _renew_session_lock),
    "get-session-state": (LISTEN, _get_session_state),
    "set-session-state": (LISTEN, _set_session_state),
    "get-message-sessions": (LISTEN, _get_message_sessions),
    "peek-message": (LISTEN, _peek),
    "receive-by-sequence-number": (LISTEN, _receive_by_sequence_number),
    "update-disposition": (LISTEN, _update_disposition),
    # Listen is enough for rules here: it is how applications without Manage change their own.
    "add-rule": (LISTEN, _add_rule),
    "remove-rule": (LISTEN, _remove_rule),
    "enumerate-rules": (LISTEN, _enumerate_rules),
    "schedule-message": (SEND, _schedule),
    "cancel-scheduled-message": (SEND, _cancel_scheduled),
}


def run(operation: str, call: Call) -> Result:
    """Carry out an operation; raise Refusal or DecodeError."""
    vendor, _, name = operation.partition(":")
    found = _OPERATIONS.get(name) if vendor == "com.microsoft" else None
    if found is None:
        raise Refusal(NOT_IMPLEMENTED, f"The operation '{operation}' is unknown.")
    claim, function = found
    if call.transaction is not None and function is not _update_disposition:
        raise Refusal(NOT_ALLOWED, f"The operation '{operation}' can't be part of a transaction.")
    call.host.rights.require(call.connection.key_name, call.mailbox.path, claim)
    if claim == LISTEN and isinstance(call.mailbox, Topic):
        raise Refusal(NOT_ALLOWED, f"'{operation}' is not for topics.")
    return function(call)
