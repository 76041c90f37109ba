"""Consuming, as the tests of the suite do it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any

from polybus.bus.bus import Bus
from polybus.bus.delivery import Delivery
from polybus.errors import LeaseLost
from polybus.message import Message

__all__ = ["Listener", "until"]


async def until(condition: asyncio.Condition, patience: float, what: str, predicate: Any) -> None:
    """Wait until `predicate` holds; raise AssertionError that says `what` after `patience` real seconds."""
    try:
        async with asyncio.timeout(patience), condition:
            await condition.wait_for(predicate)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {patience:g} s") from None


async def _discard(delivery: Delivery) -> None:
    if not delivery.settled and not delivery.lost:
        with contextlib.suppress(LeaseLost):
            await delivery.ack()


class Listener:
    """Consumes one source all the while it is entered, and hands out its deliveries by the id of their message.

    What a test asked for is the test's to settle. What it didn't ask for is acked when the listener is left: it is
    what other tests left behind.
    """

    def __init__(
        self,
        bus: Bus,
        source: str,
        *,
        patience: float,
        hasten: Callable[[Awaitable[Any]], Awaitable[Any]],
        may_repeat: bool = False,
        **options: Any,
    ) -> None:
        self.seen: list[Delivery] = []
        self._bus = bus
        self._source = source
        self._patience = patience
        self._hasten = hasten
        self._may_repeat = may_repeat
        self._options = options
        self._claimed: set[Delivery] = set()
        self._changed = asyncio.Condition()
        self._failed: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()

    async def __aenter__(self) -> Listener:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._consume(ready))
        await ready
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ack what was not asked for, drain, and stop; raises what ended the consuming before."""
        for delivery in list(self.seen):
            if delivery not in self._claimed:
                await _discard(delivery)
        self._leave.set()
        task, self._task = self._task, None
        if task is not None:
            await self._hasten(task)

    async def tidy(self) -> None:
        """Ack all that came and isn't settled, and forget it."""
        seen, self.seen = self.seen, []
        self._claimed.clear()
        for delivery in seen:
            await _discard(delivery)

    async def crash(self) -> None:
        """Stop without settling; the driver must have been cut off before (`Faults.sever`)."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await self._hasten(asyncio.wait([task]))

    async def get(self, identity: str) -> Delivery:
        """Wait for a delivery of this message that was not handed out yet."""
        await self._wait(f"a delivery of message {identity}", lambda: self._unclaimed(identity) is not None)
        delivery = self._unclaimed(identity)
        assert delivery is not None
        self._claimed.add(delivery)
        return delivery

    async def take(self, identities: Iterable[str]) -> list[Delivery]:
        """Wait for one new delivery of each of these messages; return them in the order in which they came."""
        wanted = set(identities)
        await self._wait(
            f"deliveries of {len(wanted)} messages", lambda: all(self._unclaimed(each) is not None for each in wanted)
        )
        found = [delivery for each in wanted if (delivery := self._unclaimed(each)) is not None]
        self._claimed.update(found)
        return sorted(found, key=self.seen.index)

    async def ack(self, identities: Iterable[str], *, repeats: bool = False) -> list[Message]:
        """Ack each of these messages as it comes, until all have come; return them in that order.

        One that comes again before all have come is a repeat: it is acked and returned too, at its place, where
        `repeats` says that it may be, and an AssertionError otherwise.
        """
        missing = set(identities)
        wanted = frozenset(missing)
        messages: list[Message] = []

        def next_one() -> Delivery | None:
            return next((each for each in self.seen if each.id in wanted and each not in self._claimed), None)

        while missing:
            await self._wait(f"{len(missing)} of {len(wanted)} messages", lambda: next_one() is not None)
            while (delivery := next_one()) is not None:
                self._claimed.add(delivery)
                if delivery.id not in missing and not (repeats or self._may_repeat):
                    raise AssertionError(f"{delivery!r} from {self._source!r} is a repeat of what was acked")
                missing.discard(delivery.id)
                messages.append(delivery.message)
                await delivery.ack()
        return messages

    def count(self, identity: str) -> int:
        """Count the deliveries of a message so far."""
        return sum(delivery.id == identity for delivery in self.seen)

    async def find(self, body: bytes) -> Delivery:
        """Wait for a delivery with this body that was not handed out yet, whatever its id."""

        def first() -> Delivery | None:
            return next((each for each in self.seen if each.body == body and each not in self._claimed), None)

        await self._wait(f"a delivery of {body[:40]!r}", lambda: first() is not None)
        delivery = first()
        assert delivery is not None
        self._claimed.add(delivery)
        return delivery

    def _unclaimed(self, identity: str) -> Delivery | None:
        return next(
            (each for each in self.seen if each.id == identity and each not in self._claimed and not each.lost), None
        )

    async def _wait(self, what: str, predicate: Any) -> None:
        where = f"{what} from {self._source!r}"
        await until(self._changed, self._patience, where, lambda: self._failed is not None or predicate())
        if not predicate():
            raise AssertionError(f"{where}: consuming ended") from self._failed

    async def _consume(self, ready: asyncio.Future[None]) -> None:
        try:
            async with self._bus.consume(self._source, **self._options) as deliveries:
                ready.set_result(None)
                pump = asyncio.create_task(self._pump(deliveries))
                try:
                    await self._leave.wait()
                finally:
                    pump.cancel()
                    await asyncio.wait([pump])
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
                return
            raise

    async def _pump(self, deliveries: Any) -> None:
        try:
            async for delivery in deliveries:
                async with self._changed:
                    self.seen.append(delivery)
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - it is told to the test, which waits for a delivery
            async with self._changed:
                self._failed = error
                self._changed.notify_all()
