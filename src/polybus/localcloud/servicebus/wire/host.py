"""What every connection shares, and a connection as those below it see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from polybus.localcloud.servicebus.entities.namespace import Namespace
from polybus.localcloud.servicebus.faults import Faults
from polybus.localcloud.servicebus.refusal import Refusal
from polybus.localcloud.servicebus.rights import Rights
from polybus.localcloud.servicebus.wire.transactions import Transactions

__all__ = ["Host", "Peer", "late"]


@dataclass(slots=True)
class Host:
    namespace: Namespace
    rights: Rights
    faults: Faults
    idle_timeout: float
    handshake_timeout: float
    link_idle: float
    connections: set[Peer] = field(default_factory=set)


def late(host: Host, place: str, answer: Callable[[], object]) -> None:
    """Answer at once, or after the time that a test asked for."""
    seconds = host.faults.wait(place)
    if seconds > 0:
        host.namespace.clock.call_later(seconds, answer)
    else:
        answer()


class Peer(Protocol):
    """A connection: the peer at its other end, what it may, and the way to it."""

    host: Host
    key_name: str | None
    """The key that its last token, or its SASL, was made with."""
    denied: Refusal | None
    """Why its last token was refused."""
    transactions: Transactions
    max_frame: int
    writable: bool

    def put(self, channel: int, body: bytes) -> None:
        """Queue a frame."""

    def close(self, refusal: Refusal) -> None:
        """Tell the peer why, then end the connection."""

    def abort(self) -> None:
        """End the connection at once, as a broken network does."""
