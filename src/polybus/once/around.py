"""What `@app.handler(once=...)` puts around a handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polybus.claims import ClaimStore
from polybus.errors import ConfigError
from polybus.middleware import AnyMiddleware
from polybus.once.claiming import Claiming
from polybus.once.once import Once, Transactional

__all__ = ["filling", "once_of", "standing_around"]


def once_of(given: Once | ClaimStore) -> Once:
    """Return how a handler is called once, of that or of a store alone; raise ConfigError for neither."""
    if isinstance(given, Once):
        return given
    if isinstance(given, type) or not callable(getattr(given, "confirm", None)):
        raise ConfigError(f"once={given!r}: a store of polybus.once, or polybus.once.Once(store, ...)")
    return Once(given)


def filling(once: Once, *, blocking: bool) -> Callable[[Any], Callable[[], Any] | None]:
    """Return what says how a handler's further parameter is filled, by its annotation; None for one that isn't."""
    store = once.store
    if not isinstance(store, Transactional):
        return lambda annotation: None
    transactional = store
    return lambda annotation: transactional.filled(annotation, blocking=blocking)


def standing_around(once: Once, *, transaction: bool) -> AnyMiddleware:
    """Return the middleware of a handler, which has a parameter for its transaction or not."""
    if transaction and isinstance(once.store, Transactional):
        return once.store.in_transaction(once.key_of)
    return Claiming(once)
