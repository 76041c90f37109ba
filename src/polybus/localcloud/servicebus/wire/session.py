"""One AMQP session: its links, windows, transfers and dispositions."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.refusal import DETACH_FORCED, INTERNAL_ERROR, LOCK_LOST, NOT_ALLOWED, Refusal
from polybus.localcloud.servicebus.wire.attach import attach
from polybus.localcloud.servicebus.wire.host import Peer, late
from polybus.localcloud.servicebus.wire.links import EntityInlet, Inlet, Link, Outlet, Sink
from polybus.localcloud.servicebus.wire.settling import Outcome, read_outcome, settle

__all__ = ["Session"]

WINDOW = 0x7FFFFFFF
HANDLE_MAX = 255  # the service's own; azure-servicebus uses three or four
SERIAL = 0xFFFFFFFF
# Room for a transfer's own fields in a frame: 8 bytes of frame header, 3 of descriptor, at most 9 of list header and
# 45 of fields with a 16-byte tag.
TRANSFER_HEAD = 72
# Ids of one disposition that are looked at one by one; a wider range is cut to those that are open.
WIDE_RANGE = 4096


class Session:
    def __init__(self, connection: Peer, channel: int, next_incoming: int, window: int) -> None:
        self.connection = connection
        self.host = connection.host
        self.links: dict[int, Link] = {}
        self._channel = channel
        self._next_incoming = next_incoming
        self._next_outgoing = 0
        self._next_delivery = 0
        self._window = window
        self._blocked: deque[bytes] = deque()
        self._unsettled: dict[int, tuple[Outlet, bytes]] = {}
        self._detached: set[int] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def open_for_deliveries(self) -> bool:
        return self.connection.writable and not self._blocked

    # -- output

    def put(self, body: bytes) -> None:
        self.connection.put(self._channel, body)

    def begin(self) -> None:
        fields = [e.ushort(self._channel), e.uint(0), e.uint(WINDOW), e.uint(WINDOW), e.uint(HANDLE_MAX)]
        self.put(p.performative(p.BEGIN, fields))

    def flow(self, link: Link | None = None, *, drain: bool = False) -> None:
        """Tell the peer our windows and, with a link, its delivery-count and credit."""
        fields = [e.uint(self._next_incoming), e.uint(WINDOW), e.uint(self._next_outgoing), e.uint(WINDOW)]
        if link is not None:
            fields += [e.uint(link.handle), e.uint(link.count), e.uint(link.credit), e.uint(0), e.boolean(drain)]
        self.put(p.performative(p.FLOW, fields))

    def transfer(self, link: Link, tag: bytes | None, payload: bytes, *, settled: bool) -> None:
        """Send a message, in as many frames as it takes; unsettled ones are noted under their tag.

        Every delivery has a tag, settled or not: AMQP 2.7.5 demands one, and clients drop the link or fail without.
        """
        delivery = self._next_delivery
        self._next_delivery = delivery + 1 & SERIAL
        if isinstance(link, Outlet) and not settled and tag is not None:
            self._unsettled[delivery] = (link, tag)
        link.moved = self._loop.time()
        tag = tag if tag is not None else delivery.to_bytes(4)
        head = [e.uint(link.handle), e.uint(delivery), e.binary(tag), e.uint(0)]
        head.append(e.boolean(settled))
        room = self.connection.max_frame - TRANSFER_HEAD
        for at in range(0, len(payload), room):
            more = e.boolean(at + room < len(payload))
            self._push(p.performative(p.TRANSFER, [*head, more]) + payload[at : at + room])

    def _push(self, body: bytes) -> None:
        if self._window <= 0:
            self._blocked.append(body)
            return
        self._window -= 1
        self._next_outgoing = self._next_outgoing + 1 & SERIAL
        self.put(body)

    def dispose(self, role: bool, delivery: int, state: bytes) -> None:
        """Settle a delivery with a state; `role` is True where the peer sent it."""
        self.put(p.performative(p.DISPOSITION, [e.boolean(role), e.uint(delivery), e.NULL, e.TRUE, state]))

    def detach(self, link: Link, refusal: Refusal) -> None:
        """End a link from our side; what the peer still sends on it is ignored until it answers."""
        if self.links.pop(link.handle, None) is None:
            return
        self._detached.add(link.handle)
        self._forget(link)
        self.refuse(link.handle, refusal)

    def refuse(self, handle: int, refusal: Refusal) -> None:
        self._detached.add(handle)
        fields = [e.uint(handle), e.TRUE, p.error(refusal.condition, refusal.description)]
        self.put(p.performative(p.DETACH, fields))

    # -- input

    def on_performative(self, code: int, fields: list[Any], body: bytes, end: int) -> None:
        if code == p.TRANSFER:
            self._on_transfer(fields, body[end:])
        elif code == p.DISPOSITION:
            if fields[0]:
                self._on_disposition(fields, body)
        elif code == p.FLOW:
            self._on_flow(fields)
        elif code == p.ATTACH:
            self._on_attach(fields, body)
        else:
            self._on_detach(fields)

    def _on_attach(self, fields: list[Any], body: bytes) -> None:
        handle = fields[1]
        if handle in self.links or handle > HANDLE_MAX:
            raise Refusal("amqp:session:handle-in-use", f"The handle {handle} can't be attached.")
        self._detached.discard(handle)
        attach(self, fields, body)
        if (link := self.links.get(handle)) is not None:
            link.moved = self._loop.time()

    def _on_detach(self, fields: list[Any]) -> None:
        handle = fields[0]
        if handle in self._detached:
            self._detached.discard(handle)
            return
        link = self._link(handle)
        if link is not None:
            del self.links[handle]
            self._forget(link)
            link.close()
            self.put(p.performative(p.DETACH, [e.uint(handle), e.boolean(bool(fields[1]))]))

    def detach_idle(self, since: float) -> None:
        """Detach the entities' links on which nothing has moved since a time of the loop's clock."""
        for link in list(self.links.values()):
            if isinstance(link, EntityInlet | Outlet) and link.moved <= since:
                self.detach(
                    link, Refusal(DETACH_FORCED, f"The link is force detached: it was idle. Entity: {link.path}.")
                )
                link.close()

    def _link(self, handle: int) -> Link | None:
        """Return the link of a handle, None for one that we detached; raise Refusal for any other."""
        link = self.links.get(handle)
        if link is not None:
            link.moved = self._loop.time()
        if link is None and handle not in self._detached:
            raise Refusal("amqp:session:unattached-handle", f"No link is attached on handle {handle}.")
        return link

    def _on_flow(self, fields: list[Any]) -> None:
        self._window = ((fields[0] or 0) + fields[1] - self._next_outgoing) & SERIAL
        if self._window > WINDOW:
            self._window = 0
        was_blocked = bool(self._blocked)
        while self._blocked and self._window > 0:
            self._push(self._blocked.popleft())
        if was_blocked and not self._blocked:
            self.resume()
        if fields[4] is None:
            if fields[9]:
                self.flow()
            return
        link = self._link(fields[4])
        if isinstance(link, Sink):
            link.on_flow(fields[5], fields[6], drain=bool(fields[8]), echo=bool(fields[9]))
        elif link is not None and fields[9]:
            self.flow(link)

    def _on_transfer(self, fields: list[Any], payload: bytes) -> None:
        self._next_incoming = self._next_incoming + 1 & SERIAL
        link = self._link(fields[0])
        if link is None:
            return
        if not isinstance(link, Inlet):
            raise Refusal(NOT_ALLOWED, f"The link on handle {fields[0]} takes no messages.")
        link.on_transfer(fields, payload)

    def _on_disposition(self, fields: list[Any], body: bytes) -> None:
        first, last, settled, state = fields[1], fields[2], bool(fields[3]), fields[4]
        last = first if last is None else last
        if last - first < WIDE_RANGE:
            ids = list(range(first, last + 1))
        else:
            ids = [delivery for delivery in self._unsettled if first <= delivery <= last]
        if state is None and not settled:
            return
        asked = read_outcome(state, b"" if state is None else p.raw(body)[4])
        for delivery in ids:
            self._settle(delivery, asked, settled)

    def _settle(self, delivery: int, asked: Outcome, settled: bool) -> None:
        link, tag = self._unsettled.pop(delivery, (None, b""))
        entity = link.path if link is not None else ""
        try:
            if link is None:
                raise Refusal(LOCK_LOST, "The lock supplied is invalid: the delivery is not open on this link.")
            self.host.faults.check("settle", entity)
            self._carry_out(link, tag, asked, delivery)
            reply = asked.echo()
        except Refusal as refusal:
            reply = p.rejected(refusal.condition, refusal.description)
        if self.host.faults.cuts("settle", entity):
            self.connection.abort()
            return
        if link is not None:
            link.moved = self._loop.time()
            link.mailbox.pump()
        if not settled:
            late(self.host, "settle", lambda: self.answer(False, delivery, reply))

    def _carry_out(self, link: Outlet, tag: bytes, asked: Outcome, delivery: int) -> None:
        if asked.transaction is None:
            settle(link, tag, asked)
            return

        def check() -> None:
            link.require_session()
            link.mailbox.locked(tag)

        def step() -> None:
            settle(link, tag, asked)
            link.mailbox.pump()

        def undo() -> None:
            if self.links.get(link.handle) is link:
                self._unsettled[delivery] = (link, tag)

        check()
        self.connection.transactions.add(asked.transaction, step, check=check, undo=undo)

    def answer(self, role: bool, delivery: int, reply: bytes) -> None:
        """Settle a delivery once what it changed is durable."""

        def durable(failure: Exception | None) -> None:
            state = reply if failure is None else p.rejected(INTERNAL_ERROR, f"The store failed: {failure}")
            self.dispose(role, delivery, state)

        self.host.namespace.journal.after_commit(durable)

    # -- life

    def resume(self) -> None:
        """Go on delivering after the connection or the window was full."""
        for link in list(self.links.values()):
            if isinstance(link, Sink):
                link.offer()

    def _forget(self, link: Link) -> None:
        if isinstance(link, Outlet):  # a detached link can settle nothing
            for delivery in [found for found, (owner, _) in self._unsettled.items() if owner is link]:
                del self._unsettled[delivery]

    def close(self) -> None:
        """End every link, as the peer did or lost its connection."""
        links, self.links = self.links, {}
        self._unsettled.clear()
        self._blocked.clear()
        for link in links.values():
            link.close()
