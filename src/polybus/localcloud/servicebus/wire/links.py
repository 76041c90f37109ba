"""Links: where messages of a session come in and go out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from typing import Any, Protocol

from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import DecodeError
from polybus.localcloud.servicebus.amqp.sections import BATCH_FORMAT, batch
from polybus.localcloud.servicebus.entities.mailbox import Mailbox
from polybus.localcloud.servicebus.entities.message import Message, parse, render
from polybus.localcloud.servicebus.entities.sessions import Session as EntitySession
from polybus.localcloud.servicebus.refusal import DECODE_ERROR, TOO_LARGE, Refusal
from polybus.localcloud.servicebus.wire.host import Host, Peer, late
from polybus.localcloud.servicebus.wire.transactions import id_of

__all__ = [
    "CoordinatorInlet",
    "EntityInlet",
    "Inlet",
    "Link",
    "LinkSession",
    "Node",
    "Outlet",
    "ReplyOutlet",
    "RequestInlet",
    "Sink",
]

# Messages that a sender may have under way. The service grants as many; its senders don't wait for credit anyway.
CREDIT = 1000
MOST_REQUEST_BYTES = 1024 * 1024
SERIAL = 0xFFFFFFFF


class LinkSession(Protocol):
    """A session as its links see it."""

    host: Host
    connection: Peer
    links: dict[int, Link]

    @property
    def open_for_deliveries(self) -> bool:
        """Whether the peer takes deliveries now."""

    def put(self, body: bytes) -> None:
        """Queue a performative."""

    def flow(self, link: Link | None = None, *, drain: bool = False) -> None:
        """Tell the peer our windows and, with a link, its delivery-count and credit."""

    def transfer(self, link: Link, tag: bytes | None, payload: bytes, *, settled: bool) -> None:
        """Send a message, in as many frames as it takes."""

    def dispose(self, role: bool, delivery: int, state: bytes) -> None:
        """Settle a delivery with a state; `role` is True where the peer sent it."""

    def answer(self, role: bool, delivery: int, reply: bytes) -> None:
        """Settle a delivery once what it changed is durable."""

    def detach(self, link: Link, refusal: Refusal) -> None:
        """End a link from our side."""

    def refuse(self, handle: int, refusal: Refusal) -> None:
        """Tell the peer that a handle has no link, and why."""


class Node(Protocol):
    """Where requests are sent to: $cbs, or the $management of an entity."""

    most_bytes: int

    @property
    def place(self) -> str:
        """Where a test's faults find it."""

    @property
    def entity(self) -> str: ...

    def request(self, connection: Peer, payload: bytes, transaction: bytes | None) -> bytes:
        """Return the whole encoded answer; raise DecodeError where the request is no request."""


class Link:
    def __init__(self, session: LinkSession, handle: int, path: str) -> None:
        self.session = session
        self.handle = handle
        self.path = path
        self.count = 0
        self.credit = 0
        self.moved = 0.0
        """When the loop's clock last saw something move on it."""

    def close(self) -> None:
        """Let go of what the link holds; it is no longer among its session's."""


class Inlet(Link, ABC):
    """A link on which the peer sends; puts the frames of a message together."""

    most_bytes = MOST_REQUEST_BYTES

    def __init__(self, session: LinkSession, handle: int, path: str) -> None:
        super().__init__(session, handle, path)
        self._parts: list[bytes] | None = None
        self._size = 0
        self._delivery = 0
        self._format = 0
        self._settled = False
        self.transaction: bytes | None = None
        """The transaction of the message at hand."""

    def grant(self) -> None:
        self.credit = CREDIT
        self.session.flow(self)

    def on_transfer(self, fields: list[Any], payload: bytes) -> None:
        if self._parts is None:
            if fields[1] is None:
                raise DecodeError("the first transfer of a delivery has no delivery-id")
            self._parts, self._size = [], 0
            self._delivery, self._format, self._settled = fields[1], fields[3] or 0, False
            self.transaction = id_of(fields[7])
        self._settled = self._settled or bool(fields[4])
        self._size += len(payload)
        if self._size <= self.most_bytes:  # what is over the limit is counted, not kept, and refused at its end
            self._parts.append(payload)
        if fields[5] and not fields[9]:
            return
        parts, self._parts = self._parts, None
        self.count = self.count + 1 & SERIAL
        self.credit -= 1
        if self.credit < CREDIT // 2:
            self.grant()
        if not fields[9]:  # aborted: as if it had never been sent
            self._complete(b"".join(parts))

    def _complete(self, payload: bytes) -> None:
        try:
            if self._size > self.most_bytes:
                raise Refusal(
                    TOO_LARGE,
                    f"The received message (delivery-id:{self._delivery}, size:{self._size} bytes) exceeds the limit "
                    f"({self.most_bytes} bytes) currently allowed on the link.",
                )
            state = self.take(payload, self._format)
            if self.transaction is not None:
                state = p.transactional(self.transaction, state)
        except Refusal as refusal:
            state = p.rejected(refusal.condition, refusal.description)
        except DecodeError as error:
            state = p.rejected(DECODE_ERROR, str(error))
        if not self._settled:
            self.answer(self._delivery, state)

    @abstractmethod
    def take(self, payload: bytes, message_format: int) -> bytes:
        """Do what this link does with a message, and return its outcome; raise Refusal or DecodeError."""

    def answer(self, delivery: int, state: bytes) -> None:
        self.session.dispose(True, delivery, state)


class EntityInlet(Inlet):
    """Sends to a queue or topic."""

    def __init__(self, session: LinkSession, handle: int, path: str, mailbox: Mailbox) -> None:
        super().__init__(session, handle, path)
        self.mailbox = mailbox
        self.most_bytes = mailbox.max_message_bytes

    def take(self, payload: bytes, message_format: int) -> bytes:
        mailbox = self.mailbox
        self.session.host.faults.check("send", mailbox.path)
        mailbox = self.session.host.namespace.find(mailbox.path)  # it may have been deleted, or made anew
        batched = message_format == BATCH_FORMAT
        messages = [parse(data) for data in batch(payload)] if batched else [parse(payload)]
        if batched:
            mailbox.check_batch(messages, len(payload))
        for message in messages:
            mailbox.check(message)

        def accept() -> None:
            for message in messages:
                message.give_id()
                mailbox.accept(message)
            mailbox.pump()

        if self.transaction is None:
            accept()
        else:
            self.session.connection.transactions.add(self.transaction, accept)
        return p.ACCEPTED

    def answer(self, delivery: int, state: bytes) -> None:
        if self.session.host.faults.cuts("send", self.mailbox.path):
            self.session.connection.abort()
            return
        host = self.session.host
        late(host, "send", lambda: self.session.answer(True, delivery, state))


class RequestInlet(Inlet):
    """Requests to $cbs or an entity's $management."""

    def __init__(self, session: LinkSession, handle: int, path: str, node: Node) -> None:
        super().__init__(session, handle, path)
        self.node = node

    def take(self, payload: bytes, message_format: int) -> bytes:
        connection = self.session.connection
        reply = self.node.request(connection, payload, self.transaction)

        def durable(failure: Exception | None) -> None:
            if failure is not None:
                connection.abort()
                return
            for link in self.session.links.values():
                if isinstance(link, ReplyOutlet) and link.path == self.path:
                    late(self.session.host, self.node.place, partial(link.send, reply))
                    return

        if self.session.host.faults.cuts(self.node.place, self.node.entity):
            connection.abort()
        else:
            self.session.host.namespace.journal.after_commit(durable)
        return p.ACCEPTED


class CoordinatorInlet(Inlet):
    """Declares and discharges transactions."""

    def take(self, payload: bytes, message_format: int) -> bytes:
        return self.session.connection.transactions.request(payload)

    def answer(self, delivery: int, state: bytes) -> None:
        self.session.answer(True, delivery, state)


class Sink(Link):
    """A link on which the peer receives."""

    def update(self, delivery_count: int | None, credit: int | None) -> None:
        """Take over the peer's credit, less what is under way to it.

        Without a delivery-count the peer had not seen ours yet, which began at 0; without a credit it changes none.
        """
        if credit is None:
            return
        delivery_count = delivery_count or 0
        credit = (delivery_count + credit - self.count) & SERIAL
        self.credit = credit if credit <= 0x7FFFFFFF else 0

    def on_flow(self, delivery_count: int | None, credit: int | None, *, drain: bool, echo: bool) -> None:
        self.update(delivery_count, credit)
        self.offer()
        if drain and self.credit > 0:
            self.count = self.count + self.credit & SERIAL
            self.credit = 0
            self.session.flow(self, drain=True)
        elif echo or drain:
            self.session.flow(self, drain=drain)

    def offer(self) -> None:
        """Send what there is, as far as the credit goes."""


class ReplyOutlet(Sink):
    """Answers to the requests of one peer on one node."""

    def __init__(self, session: LinkSession, handle: int, path: str) -> None:
        super().__init__(session, handle, path)
        self._replies: deque[bytes] = deque()

    def send(self, reply: bytes) -> None:
        self._replies.append(reply)
        self.offer()

    def offer(self) -> None:
        while self._replies and self.credit > 0:
            self.credit -= 1
            self.count = self.count + 1 & SERIAL
            self.session.transfer(self, None, self._replies.popleft(), settled=True)


class Outlet(Sink):
    """Receives from a queue or subscription; a mailbox's consumer."""

    def __init__(self, session: LinkSession, handle: int, path: str, mailbox: Mailbox, *, peek_lock: bool) -> None:
        super().__init__(session, handle, path)
        self.mailbox = mailbox
        self.entity_session: EntitySession | None = None
        self._peek_lock = peek_lock
        self._open = True

    @property
    def peek_lock(self) -> bool:
        return self._peek_lock

    @property
    def hungry(self) -> bool:
        return self.credit > 0 and self._open and self.session.open_for_deliveries

    def deliver(self, message: Message) -> None:
        self.credit -= 1
        self.count = self.count + 1 & SERIAL
        settled = not self._peek_lock
        self.session.transfer(self, message.token, render(message, locked=not settled), settled=settled)

    def offer(self) -> None:
        if not self.hungry:
            return
        if self.mailbox.sessions is None:
            self.mailbox.dispatch.offer(self)
        elif self.entity_session is not None:
            self.mailbox.sessions.offer(self, self.entity_session.name)

    def require_session(self) -> None:
        """Raise Refusal where this link's session is no longer its own."""
        if self.mailbox.sessions is not None:
            name = self.entity_session.name if self.entity_session is not None else None
            self.mailbox.sessions.owned(name, lambda owner: owner is self)

    def detach(self, refusal: Refusal) -> None:
        self._open = False
        self.session.detach(self, refusal)

    def close(self) -> None:
        self._open = False
        self.mailbox.dispatch.leave(self)
        if self.mailbox.sessions is not None:
            name = self.entity_session.name if self.entity_session is not None else None
            self.mailbox.sessions.leave(self, name)
