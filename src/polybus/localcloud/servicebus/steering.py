"""The local Service Bus as the control face steers it: entities by their paths."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from polybus.clock import Clock
from polybus.localcloud.control.steering import Entity, Refused, Restarted, Restoring, Shown
from polybus.localcloud.events import Events
from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp.decode import DecodeError
from polybus.localcloud.servicebus.amqp.sections import (
    APPLICATION,
    DATA,
    PROPERTIES,
    VALUE,
    replace_properties,
    section,
    sections,
    set_map,
)
from polybus.localcloud.servicebus.entities.mailbox import DEAD_LETTERS, Mailbox
from polybus.localcloud.servicebus.entities.message import ACTIVE, DEFERRED, SCHEDULED, Message, parse
from polybus.localcloud.servicebus.entities.namespace import Namespace
from polybus.localcloud.servicebus.entities.topic import Topic
from polybus.localcloud.servicebus.faults import ANSWERED, PLACES, Faults
from polybus.localcloud.servicebus.refusal import Refusal
from polybus.localcloud.store import Store

__all__ = ["ServiceBusSteering"]

_STATES = {ACTIVE: "waiting", DEFERRED: "deferred", SCHEDULED: "delayed"}
_REASONS = ("DeadLetterReason", "DeadLetterErrorDescription")


class Server(Restarted, Protocol):
    """What of the server is steered."""

    faults: Faults

    def abort_connections(self) -> None: ...


class ServiceBusSteering(Restoring):
    """See `control.steering.Steering`. Operations are places (send, settle), errors AMQP's conditions, or `cut`."""

    def __init__(self, server: Server, namespace: Namespace, store: Store, clock: Clock) -> None:
        super().__init__(server, store)
        self._server = server
        self._namespace = namespace
        self.events = Events()
        self.events.begin(clock)
        namespace.events = self.events

    def _find(self, entity: str) -> Mailbox:
        try:
            return self._namespace.find(entity)
        except Refusal as refusal:
            raise Refused(refusal.description) from None

    # -- looking

    def entities(self) -> list[Entity]:
        found: list[Entity] = []
        for topic in self._namespace.topics():
            gives_to = [subscription.path for subscription in topic.subscriptions.values()]
            found.append(_described(topic, "topic", gives_to))
            for subscription in topic.subscriptions.values():
                found += _with_letters(subscription, "subscription")
        for queue in self._namespace.queues():
            found += _with_letters(queue, "queue")
        return found

    def messages(self, entity: str, limit: int) -> list[Shown]:
        mailbox = self._find(entity)
        return [_shown(mailbox.messages[sequence]) for sequence in sorted(mailbox.messages)[:limit]]

    # -- doing

    async def publish(self, entity: str, body: bytes, attributes: Mapping[str, str], key: str | None) -> str:
        mailbox = self._find(entity)
        fields = [e.string(uuid.uuid4().hex), *[e.NULL] * 9, e.NULL if key is None else e.string(key)]
        pairs = [(e.string(name), e.string(value)) for name, value in attributes.items()]
        bare = (
            e.described(PROPERTIES, e.items(fields))
            + e.described(APPLICATION, e.mapping(pairs))
            + e.described(DATA, e.binary(body))
        )
        message = parse(bare)
        try:
            mailbox.check(message, len(bare))
        except Refusal as refusal:
            raise Refused(refusal.description) from None
        mailbox.accept(message)
        mailbox.pump()
        await self._store.commit()
        return str(message.message_id)

    async def redrive(self, entity: str) -> int:
        mailbox = self._find(entity)
        if isinstance(mailbox, Topic) or mailbox.parent is not None:
            raise Refused(f"{entity} has no dead letters: name a queue or a subscription")
        letters = mailbox.letters(DEAD_LETTERS)
        found = [one for one in letters.messages.values() if one.token is None and one.state == ACTIVE]
        for letter in found:
            fresh = letter.copy()
            fresh.delivery_count = fresh.hops = 0
            fresh.bare = set_map(fresh.bare, dict.fromkeys(_REASONS))
            if getattr(mailbox.options, "detects_duplicates", False):
                fresh.message_id = uuid.uuid4().hex  # it had its own once, and would be dropped
                fresh.bare = replace_properties(fresh.bare, {0: e.string(fresh.message_id)})
            letters.remove(letter)
            mailbox.accept(fresh)
        mailbox.pump()
        await self._store.commit()
        return len(found)

    def fail(self, operation: str, error: str, count: int, *, after: bool) -> None:
        if operation not in PLACES:
            raise Refused(f"operations are {', '.join(PLACES)}, not {operation!r}")
        if error == "cut":
            if operation not in ANSWERED:
                raise Refused(f"connections are cut at {', '.join(ANSWERED)}, not at {operation}")
            self._server.faults.cut_next(operation, count)
        elif after:
            raise Refused("on Service Bus what was done is answered, or its connection cut")
        else:
            self._server.faults.fail_next(operation, error, count)

    def delay(self, operation: str, seconds: float, count: int) -> None:
        try:
            self._server.faults.delay_next(operation, seconds, count)
        except ValueError as error:
            raise Refused(str(error)) from None

    def clear(self) -> None:
        self._server.faults.clear()

    async def cut(self) -> None:
        self._server.abort_connections()

    def forget(self) -> None:
        self._namespace.forget()


def _with_letters(mailbox: Mailbox, kind: str) -> list[Entity]:
    """Return an entity, and that of its dead letters where it has some."""
    letters = mailbox.path + DEAD_LETTERS
    found = [_described(mailbox, kind, (), letters)]
    inner = next((box for box in mailbox.children() if box.path == letters), None)
    return found if inner is None or not inner.messages else [*found, _described(inner, "dead_letters")]


def _described(mailbox: Mailbox, kind: str, gives_to: Sequence[str] = (), letters: str | None = None) -> Entity:
    counts = mailbox.counts()
    locked = sum(message.state == ACTIVE for message in mailbox.locks.values())
    return Entity(
        mailbox.path,
        kind,
        waiting=counts.active - locked,
        in_flight=len(mailbox.locks),
        delayed=counts.scheduled,
        deferred=counts.deferred - (len(mailbox.locks) - locked),
        dead_letters=letters,
        gives_to=gives_to,
    )


def _shown(message: Message) -> Shown:
    locked = message.token is not None
    until = message.locked_until if locked else message.scheduled if message.state == SCHEDULED else None
    # A lock of a session ends with it, which tells no time of its own.
    finite = until if until is not None and until < time.time() + _FAR else None
    return Shown(
        str(message.message_id),
        "in_flight" if locked else _STATES[message.state],
        _body(message.bare),
        _attributes(message.bare),
        message.session_id,
        message.delivery_count,
        message.enqueued,
        finite,
    )


_FAR = 10 * 365 * 86_400.0


def _body(bare: bytes) -> bytes:
    """Return the data that a message has; of another kind of body its text."""
    parts: list[Any] = []
    try:
        parts = [section(bare[start:end], DATA) for code, start, _, end in sections(bare) if code == DATA]
        value = None if parts else section(bare, VALUE)
    except DecodeError:
        return b""
    if parts:
        return b"".join(part for part in parts if isinstance(part, bytes))
    return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()


def _attributes(bare: bytes) -> dict[str, str]:
    try:
        found = section(bare, APPLICATION)
    except DecodeError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
