"""How a handler is to be called once per message."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from polybus.bus.delivery import Delivery
from polybus.claims import LONGEST, ClaimStore
from polybus.clock import Clock, SystemClock
from polybus.durations import Duration, seconds
from polybus.middleware import AnyMiddleware

__all__ = ["KeyOf", "Once", "Transactional"]

KeyOf = Callable[[Delivery], tuple[str, str]]
"""Gives the scope and the key of a delivery."""


@runtime_checkable
class Transactional(Protocol):
    """A store that can have the handler work in the transaction that notes the key."""

    def filled(self, annotation: Any, *, blocking: bool) -> Callable[[], Any] | None:
        """Return what gives a handler's parameter of this type; None where it is no transaction.

        Raises TypeError for a transaction that this store, or such a handler, can't have.
        """

    def in_transaction(self, key_of: KeyOf) -> AnyMiddleware:
        """Return what stands around a handler that has such a parameter."""


class Once:
    """A store, and what of a message its effect is once for.

    `key` gives the key of a delivery; its message's id where None. A key is unique within `scope`: the subscription or
    queue where None; handlers that share a scope share effects. `lease` is how long an owner that died keeps a claim;
    it is renewed while the handler runs.
    """

    def __init__(
        self,
        store: ClaimStore,
        *,
        key: Callable[[Delivery], str] | None = None,
        scope: str | None = None,
        lease: Duration = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.lease = seconds(lease, "lease")
        self.clock = clock or SystemClock()
        self._key = key
        self._scope = scope
        if self.lease <= 0:
            raise ValueError(f"lease={lease!r}: more than 0 seconds")

    def key_of(self, delivery: Delivery) -> tuple[str, str]:
        """Return the scope and the key of a delivery; what is longer than a store takes, as its SHA-256."""
        key: object = delivery.id if self._key is None else self._key(delivery)
        if not isinstance(key, str) or not key:
            raise TypeError(f"the key of message {delivery.id} of {delivery.source!r} is {key!r}, and must be a text")
        return _short(self._scope or delivery.source), _short(key)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
