"""Middleware, one around the other, around what the bus or the app does itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from polybus.bus.delivery import Delivery
from polybus.bus.thread_call import in_thread
from polybus.errors import BusClosed, ConfigError, LeaseLost
from polybus.middleware import AnyMiddleware, Middleware, Publication, SyncMiddleware

__all__ = ["Wrapped", "checked", "handles", "handling", "publishing", "surround"]

T = TypeVar("T")
R = TypeVar("R")
Link = Callable[[T, Callable[[T], Awaitable[R]]], Awaitable[R]]


def checked(middleware: Iterable[object]) -> tuple[AnyMiddleware, ...]:
    """Return middleware as it was given; raise ConfigError for what is none."""
    found = tuple(middleware)
    for each in found:
        if not isinstance(each, AnyMiddleware):
            what = f"the class {each.__qualname__}" if isinstance(each, type) else f"a {type(each).__qualname__}"
            raise ConfigError(
                f"middleware is an object of a subclass of polybus.middleware.Middleware or SyncMiddleware, not {what}"
            )
    return found  # type: ignore[return-value]


def publishing(middleware: Iterable[AnyMiddleware]) -> list[Link[Publication, str]]:
    """Return what stands around a publication, outermost first."""
    return [_publishing(each) for each in middleware if _overrides(each, "publish")]


def handling(middleware: Iterable[AnyMiddleware]) -> list[Link[Delivery, None]]:
    """Return what stands around a handler, outermost first."""
    return [_handling(each) for each in middleware if handles(each)]


def handles(middleware: AnyMiddleware) -> bool:
    """Say whether it stands around handlers."""
    return _overrides(middleware, "handle")


def surround(links: Iterable[Link[T, R]], end: Callable[[T], Awaitable[R]]) -> Callable[[T], Awaitable[R]]:
    """Return a call that passes through all links, and at last through `end`."""
    call = end
    for link in reversed(list(links)):
        call = _Step(link, call)
    return call


class _Step:
    """One link with what comes after it."""

    __slots__ = ("_link", "_proceed")

    def __init__(self, link: Callable[..., Any], proceed: Callable[[Any], Awaitable[Any]]) -> None:
        self._link = link
        self._proceed = proceed

    def __call__(self, value: Any) -> Awaitable[Any]:
        return self._link(value, self._proceed)  # type: ignore[no-any-return]


class Wrapped:
    """A handler with middleware around it; `name` is the handler's, for logs."""

    def __init__(self, middleware: Iterable[AnyMiddleware], handler: Callable[[Delivery], Awaitable[None]]) -> None:
        self.name = getattr(handler, "name", None) or getattr(handler, "__qualname__", type(handler).__qualname__)
        self._call = surround(handling(middleware), handler)

    async def __call__(self, delivery: Delivery) -> None:
        await self._call(delivery)


def _overrides(middleware: AnyMiddleware, name: str) -> bool:
    base = Middleware if isinstance(middleware, Middleware) else SyncMiddleware
    own: object = getattr(type(middleware), name)
    return own is not getattr(base, name) or name in getattr(middleware, "__dict__", ())


def _publishing(middleware: AnyMiddleware) -> Link[Publication, str]:
    name = f"{type(middleware).__qualname__}.publish"

    def checked_id(id: object) -> str:
        if not isinstance(id, str):
            raise TypeError(f"{name} returned {type(id).__qualname__}, not the id that `proceed` returns")
        return id

    if isinstance(middleware, Middleware):
        publish = middleware.publish

        async def on_loop(outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
            return checked_id(await publish(outgoing, proceed))

        return on_loop
    blocking = middleware.publish

    async def in_its_thread(outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
        given_up = BusClosed(f"the call that {name} belongs to was given up")
        id: str = await in_thread(name, blocking, outgoing, proceed, given_up)
        return checked_id(id)

    return in_its_thread


def _handling(middleware: AnyMiddleware) -> Link[Delivery, None]:
    if isinstance(middleware, Middleware):
        return middleware.handle
    blocking = middleware.handle
    name = f"{type(middleware).__qualname__}.handle"

    async def in_its_thread(delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        given_up = LeaseLost(f"the delivery that {name} works on was taken from it: message {delivery.id}")
        await in_thread(name, blocking, delivery, proceed, given_up)

    return in_its_thread
