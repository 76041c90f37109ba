"""Attaching links: what a peer asks for, whether it may, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import Described
from polybus.localcloud.servicebus.amqp.sections import text
from polybus.localcloud.servicebus.entities.mailbox import Mailbox
from polybus.localcloud.servicebus.entities.sessions import Session as EntitySession
from polybus.localcloud.servicebus.entities.topic import Topic
from polybus.localcloud.servicebus.paths import entity_path
from polybus.localcloud.servicebus.refusal import (
    ARGUMENT_ERROR,
    ENTITY_DISABLED,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    Refusal,
)
from polybus.localcloud.servicebus.rights import LISTEN, SEND
from polybus.localcloud.servicebus.wire.links import (
    CoordinatorInlet,
    EntityInlet,
    Inlet,
    LinkSession,
    Outlet,
    ReplyOutlet,
    RequestInlet,
)
from polybus.localcloud.servicebus.wire.requests import node_of

__all__ = ["attach"]

SESSION_FILTER = "com.microsoft:session-filter"
SESSION_FILTER_CODE = 0x13_7000_000C
TIMEOUT_PROPERTY = "com.microsoft:timeout"
LOCKED_UNTIL = "com.microsoft:locked-until-utc"
DEFAULT_PATIENCE = 60.0  # seconds; Microsoft's operation timeout where a client names none
UNIX_EPOCH_TICKS = 621_355_968_000_000_000  # .NET ticks (100 ns) from year 1 to 1970
RECEIVE_AND_DELETE = 1  # snd-settle-mode "settled"
MODE_FIELD, FILTER_FIELD = 6, 7  # of a source (AMQP 3.5.3)
SELECTOR = "apache.org:selector-filter:string"


@dataclass(frozen=True, slots=True)
class _Ask:
    """An attach as it came: the terminus that names the entity decoded, source and target also as bytes."""

    name: str
    handle: int
    receives: bool
    send_mode: int
    receive_mode: int
    terminus: list[Any]
    source: bytes
    target: bytes
    properties: dict[str, Any]
    initial: int
    coordinator: bool

    @property
    def path(self) -> str:
        address = text(self.terminus[0]) if self.terminus else None
        if not isinstance(address, str):
            raise Refusal(ARGUMENT_ERROR, "The link names no entity.")
        return entity_path(address)


def _read(given: list[Any], body: bytes) -> _Ask:
    raw = p.raw(body)
    receives = given[2]
    terminus = given[5] if receives else given[6]
    coordinator = isinstance(terminus, Described) and p.code_of(terminus.descriptor) == p.COORDINATOR
    listed = terminus.value if isinstance(terminus, Described) and isinstance(terminus.value, list) else []
    properties = {str(text(key)): value for key, value in (given[13] or {}).items()}
    return _Ask(
        given[0], given[1], receives, given[3] if given[3] is not None else 2, given[4] or 0, listed,
        raw[5] if len(raw) > 5 else e.NULL, raw[6] if len(raw) > 6 else e.NULL, properties, given[9] or 0, coordinator,
    )  # fmt: skip


def attach(session: LinkSession, given: list[Any], body: bytes) -> None:
    """Answer an attach: with the link, or with one without terminus that is detached at once."""
    try:
        ask = _read(given, body)
    except Refusal as refusal:
        _refuse(session, given[0], given[1], given[2], refusal)
        return
    try:
        _attach(session, ask)
    except Refusal as refusal:
        _refuse(session, ask.name, ask.handle, ask.receives, refusal)


def _refuse(session: LinkSession, name: str, handle: int, receives: bool, refusal: Refusal) -> None:
    session.links.pop(handle, None)
    initial = e.NULL if not receives else e.uint(0)
    head = [e.string(name), e.uint(handle), e.boolean(not receives), e.ubyte(2), e.ubyte(0), e.NULL, e.NULL]
    session.put(p.performative(p.ATTACH, [*head, e.NULL, e.NULL, initial]))
    session.refuse(handle, refusal)


def _attach(session: LinkSession, ask: _Ask) -> None:
    if ask.coordinator:
        session.links[ask.handle] = CoordinatorInlet(session, ask.handle, "")
        _accept(session, ask, e.NULL, CoordinatorInlet.most_bytes)
        return
    host, path = session.host, ask.path
    node = node_of(host, path)
    if node is not None:
        link = ReplyOutlet(session, ask.handle, path) if ask.receives else RequestInlet(session, ask.handle, path, node)
        session.links[ask.handle] = link
        _accept(session, ask, e.NULL, node.most_bytes)
        return
    mailbox = host.namespace.find(path)
    host.faults.check("attach", mailbox.path)
    if session.connection.denied is not None:
        raise session.connection.denied
    host.rights.require(session.connection.key_name, path, LISTEN if ask.receives else SEND)
    if ask.receives:
        _attach_receiver(session, ask, mailbox)
    else:
        _attach_sender(session, ask, mailbox)


def _attach_sender(session: LinkSession, ask: _Ask, mailbox: Mailbox) -> None:
    if mailbox.parent is not None or (not isinstance(mailbox, Topic) and hasattr(mailbox, "topic")):
        raise Refusal(NOT_ALLOWED, f"'{mailbox.path}' takes no messages from senders.")
    if mailbox.options.status in ("Disabled", "SendDisabled"):
        raise Refusal(ENTITY_DISABLED, f"The messaging entity '{mailbox.path}' is disabled for sending.")
    session.links[ask.handle] = EntityInlet(session, ask.handle, ask.path, mailbox)
    batch_size = e.mapping([(e.symbol("com.microsoft:max-message-batch-size"), e.ulong(mailbox.max_batch_bytes))])
    _accept(session, ask, batch_size, mailbox.max_message_bytes)


def _attach_receiver(session: LinkSession, ask: _Ask, mailbox: Mailbox) -> None:
    if isinstance(mailbox, Topic):
        raise Refusal(NOT_ALLOWED, f"A receiver can't be created on the topic '{mailbox.path}'.")
    if mailbox.options.status in ("Disabled", "ReceiveDisabled"):
        raise Refusal(ENTITY_DISABLED, f"The messaging entity '{mailbox.path}' is disabled for receiving.")
    if mailbox.forward_to is not None:
        raise Refusal(NOT_ALLOWED, f"A receiver can't be created on '{mailbox.path}': it forwards its messages.")
    if len(ask.terminus) > MODE_FIELD and text(ask.terminus[MODE_FIELD]) == "copy":
        raise Refusal(NOT_IMPLEMENTED, "Browsing by a link (distribution-mode copy) is not offered: peek instead.")
    filters = ask.terminus[FILTER_FIELD] if len(ask.terminus) > FILTER_FIELD else None
    named = {str(text(key)): value for key, value in filters.items()} if isinstance(filters, dict) else {}
    if SELECTOR in named:
        raise Refusal(NOT_IMPLEMENTED, "Selectors of a link are not offered: use a subscription's rules.")
    link = Outlet(session, ask.handle, ask.path, mailbox, peek_lock=ask.send_mode != RECEIVE_AND_DELETE)
    if SESSION_FILTER in named:
        if mailbox.sessions is None:
            raise Refusal(
                NOT_ALLOWED,
                "A sessionful message receiver cannot be created on an entity that does not require sessions.",
            )
        _attach_session(session, ask, link, named[SESSION_FILTER])
        return
    if mailbox.sessions is not None:
        raise Refusal(
            NOT_ALLOWED,
            "It is not possible for an entity that requires sessions to create a non-sessionful message receiver.",
        )
    session.links[ask.handle] = link
    mailbox.dispatch.join(link)
    _accept(session, ask, e.NULL, mailbox.max_message_bytes)


def _attach_session(session: LinkSession, ask: _Ask, link: Outlet, wanted: Any) -> None:
    described = isinstance(wanted, Described)
    wanted = text(wanted.value if described else wanted)
    if wanted is not None and not isinstance(wanted, str):
        raise Refusal(ARGUMENT_ERROR, "The session filter is no text.")
    patience = ask.properties.get(TIMEOUT_PROPERTY)
    seconds = patience / 1000 if isinstance(patience, int) and patience > 0 else DEFAULT_PATIENCE
    session.links[ask.handle] = link  # a detach while it waits finds it

    def granted(result: EntitySession | Refusal) -> None:
        if isinstance(result, Refusal):
            _refuse(session, ask.name, ask.handle, True, result)
            return
        link.entity_session = result
        ticks = int(result.until * 10_000_000) + UNIX_EPOCH_TICKS
        source = _with_session(ask.source, result.name, described=described)
        _accept(session, ask, e.mapping([(e.symbol(LOCKED_UNTIL), e.long(ticks))]), 0, source)

    sessions = link.mailbox.sessions
    if sessions is not None:
        sessions.acquire(link, wanted, seconds, granted)


def _with_session(source: bytes, name: str, *, described: bool) -> bytes:
    """Return the source as it was asked for, its address included, with the filter naming the session.

    The filter is described where it came so, as AMQP 3.5.8 has it: Go's client drops the connection otherwise. Where it
    came bare it goes back bare: those of JavaScript and Python read nothing else, and send nothing else.
    """
    encoded = p.raw(source)
    encoded += [e.NULL] * (FILTER_FIELD + 1 - len(encoded))
    session = e.string(name)
    if described:
        session = e.described_by(SESSION_FILTER_CODE, session)
    encoded[FILTER_FIELD] = e.mapping([(e.symbol(SESSION_FILTER), session)])
    return e.described(p.SOURCE, e.items(encoded))


def _accept(session: LinkSession, ask: _Ask, properties: bytes, most_bytes: int, source: bytes | None = None) -> None:
    initial = e.uint(0) if ask.receives else e.NULL
    session.put(
        p.performative(
            p.ATTACH,
            [
                e.string(ask.name), e.uint(ask.handle), e.boolean(not ask.receives), e.ubyte(ask.send_mode & 0xFF),
                e.ubyte(ask.receive_mode & 0xFF), ask.source if source is None else source, ask.target, e.NULL,
                e.NULL, initial, e.ulong(most_bytes), e.NULL, e.NULL, properties,
            ],
        )
    )  # fmt: skip
    link = session.links.get(ask.handle)
    if isinstance(link, Inlet):
        link.count = ask.initial
        link.grant()
