"""Sessions of an entity that requires them: exclusive locks, order, state."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable

from polybus.localcloud.servicebus.entities.consumer import Consumer
from polybus.localcloud.servicebus.entities.dispatch import take
from polybus.localcloud.servicebus.entities.holder import Holder
from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.refusal import (
    SESSION_CANNOT_BE_LOCKED,
    SESSION_LOCK_LOST,
    TIMEOUT,
    Refusal,
)

__all__ = ["Session", "Sessions"]

Granted = Callable[["Session | Refusal"], None]


class Session:
    """One session: its messages that are ready, who holds it until when, and its state."""

    __slots__ = ("held", "messages", "name", "owner", "ready", "state", "state_time", "until")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: Consumer | None = None
        self.until = 0.0
        self.ready: list[int] = []
        self.held: dict[bytes, Message] = {}
        self.messages = 0
        self.state: bytes | None = None
        self.state_time = 0.0


class Sessions:
    def __init__(self, mailbox: Holder) -> None:
        self._mailbox = mailbox
        self._sessions: dict[str, Session] = {}
        self._free: OrderedDict[str, None] = OrderedDict()  # without an owner, and with something ready
        self._waiting: OrderedDict[Consumer, Granted] = OrderedDict()
        self._ends = mailbox.alarm.lane(self._lock_ended)
        self._patience = mailbox.alarm.lane(self._waited_enough)
        self._fed: OrderedDict[str, None] = OrderedDict()  # with an owner, and with something new for it

    def _get(self, name: str) -> Session:
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = Session(name)
        return session

    def _forget_if_empty(self, session: Session) -> None:
        if session.owner is None and session.messages == 0 and session.state is None:
            self._sessions.pop(session.name, None)
            self._free.pop(session.name, None)

    # -- messages

    def count(self, message: Message, change: int) -> None:
        session = self._get(message.session_id or "")
        session.messages += change
        self._forget_if_empty(session)

    def push(self, message: Message) -> None:
        session = self._get(message.session_id or "")
        heapq.heappush(session.ready, message.sequence)
        if session.owner is None:
            self._free[session.name] = None
        else:
            self._fed[session.name] = None

    def hold(self, message: Message) -> None:
        session = self._get(message.session_id or "")
        message.locked_until = session.until
        if message.token is not None:
            session.held[message.token] = message

    def let_go(self, message: Message, token: bytes) -> None:
        session = self._sessions.get(message.session_id or "")
        if session is not None:
            session.held.pop(token, None)

    def pump(self) -> None:
        while self._waiting and (session := self._next_free()) is not None:
            consumer, granted = self._waiting.popitem(last=False)
            self._patience.discard(consumer)
            self._own(session, consumer)
            granted(session)
        while self._fed:
            name, _ = self._fed.popitem(last=False)
            self._feed(self._sessions.get(name))

    def _feed(self, session: Session | None) -> None:
        if session is None:
            return
        while (owner := session.owner) is not None and owner.hungry:
            message = take(self._mailbox, session.ready)
            if message is None:
                return
            self._mailbox.hand_over(message, owner)

    def offer(self, consumer: Consumer, name: str) -> None:
        """Note that the owner of a session is hungry, and feed it."""
        session = self._sessions.get(name)
        if session is not None and session.owner is consumer:
            self._feed(session)

    # -- locks

    def _next_free(self) -> Session | None:
        while self._free:
            name = next(iter(self._free))
            session = self._sessions.get(name)
            message = take(self._mailbox, session.ready) if session is not None else None
            if session is None or message is None:
                self._free.pop(name, None)
                continue
            heapq.heappush(session.ready, message.sequence)
            return session
        return None

    def _own(self, session: Session, consumer: Consumer) -> None:
        session.owner = consumer
        session.until = self._mailbox.clock.time() + self._mailbox.lock_duration
        self._free.pop(session.name, None)
        self._ends.set(session.name, session.until)

    def acquire(self, consumer: Consumer, name: str | None, patience: float, granted: Granted) -> None:
        """Give the named session, or the next with something ready within `patience` seconds, to `consumer`.

        Calls `granted` once, with the session or with why not.
        """
        if name is None:
            self._waiting[consumer] = granted
            self._patience.set(consumer, self._mailbox.clock.time() + patience)
            self.pump()
            return
        session = self._get(name)
        if session.owner is not None:
            granted(
                Refusal(
                    SESSION_CANNOT_BE_LOCKED,
                    f"The requested session '{name}' cannot be accepted. It may be locked by another receiver.",
                )
            )
            return
        self._own(session, consumer)
        granted(session)

    def _waited_enough(self, consumer: Consumer) -> None:
        granted = self._waiting.pop(consumer, None)
        if granted is not None:
            granted(Refusal(TIMEOUT, "The operation did not complete within the allotted time: no session available."))

    def owned(self, name: str | None, consumers: Callable[[Consumer], bool]) -> Session:
        """Return the session if one of those consumers holds its lock; raise Refusal."""
        session = self._sessions.get(name) if name is not None else None
        if (
            session is None
            or session.owner is None
            or session.until <= self._mailbox.clock.time()
            or not consumers(session.owner)
        ):
            raise Refusal(SESSION_LOCK_LOST, f"The lock on the session '{name}' has expired or is held by another.")
        return session

    def renew(self, session: Session) -> float:
        """Extend a session's lock, and with it those of its messages, from now; return its new end."""
        session.until = self._mailbox.clock.time() + self._mailbox.lock_duration
        self._ends.set(session.name, session.until)
        for message in session.held.values():
            message.locked_until = session.until
        return session.until

    def leave(self, consumer: Consumer, name: str | None) -> None:
        """Forget a consumer: its session is free again, and what it didn't settle comes again, not counted."""
        self._waiting.pop(consumer, None)
        self._patience.discard(consumer)
        session = self._sessions.get(name) if name is not None else None
        if session is not None and session.owner is consumer:
            self._release(session, failed=False)
            self._mailbox.pump()

    def _release(self, session: Session, *, failed: bool) -> None:
        session.owner = None
        self._ends.discard(session.name)
        for message in list(session.held.values()):
            self._mailbox.give_back(message, failed=failed)
        session.held.clear()
        if session.ready:
            self._free[session.name] = None
        self._forget_if_empty(session)

    def _lock_ended(self, name: str) -> None:
        session = self._sessions.get(name)
        if session is None or session.owner is None:
            return
        owner = session.owner
        self._release(session, failed=True)
        owner.detach(Refusal(SESSION_LOCK_LOST, f"The lock on the session '{name}' has expired. Accept it again."))

    # -- state

    def set_state(self, session: Session, state: bytes | None) -> None:
        session.state = state
        session.state_time = self._mailbox.clock.time()
        row = None if state is None else [state, session.state_time]
        self._mailbox.journal.put_session(self._mailbox.key, session.name, row)

    def restore_state(self, name: str, row: list[object]) -> None:
        session = self._get(name)
        state, when = row
        if isinstance(state, bytes) and isinstance(when, float):
            session.state, session.state_time = state, when

    def names(self, updated_after: float | None) -> list[str]:
        """Return sessions with messages or state, sorted; or those whose state changed after a time."""
        if updated_after is not None:
            return sorted(n for n, s in self._sessions.items() if s.state is not None and s.state_time > updated_after)
        return sorted(name for name, s in self._sessions.items() if s.messages or s.state is not None)

    def close(self, refusal: Refusal) -> None:
        waiting, self._waiting = self._waiting, OrderedDict()
        for consumer, granted in waiting.items():
            self._patience.discard(consumer)
            granted(refusal)
        for session in list(self._sessions.values()):
            if (owner := session.owner) is not None:
                session.owner = None
                owner.detach(refusal)

    def erase(self) -> None:
        for name, session in self._sessions.items():
            if session.state is not None:
                self._mailbox.journal.put_session(self._mailbox.key, name, None)
