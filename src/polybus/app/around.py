"""Middleware around a handler, wherever that runs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from polybus.app.executor import Executor, decode, describe
from polybus.app.handler import Handler
from polybus.app.signature import Signature
from polybus.bus.chain import handles, handling, surround
from polybus.bus.delivery import Delivery
from polybus.errors import ConfigError, signal_in
from polybus.middleware import AnyMiddleware, SyncMiddleware

if TYPE_CHECKING:
    from polybus.app.batch import BatchInvoker

__all__ = ["Around", "AroundBatch", "within_thread"]

_log = logging.getLogger("polybus.app")


class Around:
    """An executor whose calls pass through middleware, outermost first."""

    def __init__(self, executor: Executor, middleware: Sequence[AnyMiddleware]) -> None:
        self._executor = executor
        self._call: Callable[[Delivery], Awaitable[None]] = surround(handling(middleware), executor.call)

    async def open(self) -> None:
        await self._executor.open()

    async def call(self, delivery: Delivery) -> None:
        await self._call(delivery)

    def left(self) -> list[str]:
        return self._executor.left()

    async def aclose(self) -> None:
        await self._executor.aclose()


class AroundBatch:
    """What gathers deliveries for a handler of several, with middleware around each of them, outermost first.

    Raises ConfigError for blocking middleware: it would hold a thread for each message of a batch until its end.
    """

    def __init__(self, invoker: BatchInvoker, handler: Handler, middleware: Sequence[AnyMiddleware]) -> None:
        for each in middleware:
            if handles(each) and isinstance(each, SyncMiddleware):
                raise ConfigError(
                    f"handler {handler.name} ({handler.signature.place}): {type(each).__qualname__} is a "
                    "SyncMiddleware, and would hold a thread for each message of a batch; make it a Middleware"
                )
        self.name = invoker.name
        self.let_go = invoker.let_go
        self.take_at_once = invoker.take_at_once
        self._invoker = invoker
        self._links = handling(middleware)

    async def __call__(self, delivery: Delivery) -> None:
        told: list[BaseException] = []

        async def end(changed: Delivery) -> None:
            try:
                await self._invoker(changed)
            except BaseException as error:
                told.append(error)
                raise

        # The invoker keeps the order of arrival, whatever middleware waits for.
        self._invoker.expect(delivery)
        try:
            await surround(self._links, end)(delivery)
        except Exception as error:
            if signal_in(error) is None and not any(error is each for each in told):
                _log.error("middleware of handler %s failed: %s", self.name, describe(delivery), exc_info=error)
            raise
        finally:
            self._invoker.expect_no_more(delivery)


def within_thread(handler: Handler, middleware: Sequence[AnyMiddleware]) -> tuple[Handler, Sequence[AnyMiddleware]]:
    """Return a handler with the middleware that runs in its own thread around it, and the rest, which is further out.

    That is the blocking one next to a handler that blocks: what is asynchronous needs the event loop in between.
    """
    around = [each for each in middleware if handles(each)]
    inner: list[SyncMiddleware] = []
    while handler.where == "thread" and around and isinstance(around[-1], SyncMiddleware):
        inner.insert(0, around.pop())  # type: ignore[arg-type]
    if not inner:
        return handler, around
    return dataclasses.replace(handler, signature=_surrounded(handler.signature, inner)), around


def _surrounded(signature: Signature, inner: Sequence[SyncMiddleware]) -> Signature:
    """Return a signature whose call decodes the body only once the middleware has seen the delivery."""

    def call(_: Any, delivery: Delivery) -> Any:
        results: list[Any] = []

        def end(changed: Delivery) -> None:
            results[:] = [signature.call(decode(signature.decode, changed), changed)]

        proceed: Callable[[Delivery], None] = end
        for each in reversed(inner):
            proceed = _step(each, proceed)
        proceed(delivery)
        return results[0] if results else None

    return dataclasses.replace(signature, decode=_nothing, call=call)


def _step(middleware: SyncMiddleware, proceed: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
    return lambda delivery: middleware.handle(delivery, proceed)


def _nothing(_: object) -> None:
    return None
