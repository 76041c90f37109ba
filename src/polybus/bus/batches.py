"""When what waits in a publisher leaves, and in which calls."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import cast

from polybus.bus.options import PublisherOptions
from polybus.bus.send_queue import DONE, Item, SendQueue
from polybus.bus.sending import Sender
from polybus.clock import Clock, Timer

__all__ = ["Batches"]


class Batches:
    """Sends what may leave: at once while nothing is under way, else in full batches, or after the linger."""

    def __init__(self, queue: SendQueue, sender: Sender, *, clock: Clock, options: PublisherOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._sender = sender
        self._clock = clock
        self._options = options
        self._sending: dict[asyncio.Task[None], list[Item]] = {}
        # Cancelled calls that have not ended: they are over their time, and nothing waits for them.
        self._given_up: set[asyncio.Task[None]] = set()
        self._next_flush: asyncio.Handle | None = None
        self._linger: Timer | None = None
        self._flushing = False

    def schedule(self) -> None:
        """See to it that what may leave does."""
        if self._next_flush is not None:
            return
        if self._linger is not None and self._sending and not self._flushing and not self._queue.full:
            return  # it lingers already: nearly always, where many are published
        if not self._queue or len(self._sending) >= self._options.batches_in_flight:
            return
        if not self._sending or self._queue.full or self._flushing:
            # On the loop's next turn, so that what is published in this one shares the batch.
            self._next_flush = self._loop.call_soon(self._flush_now)
        elif self._linger is None:
            self._linger = self._clock.call_later(self._options.linger, self._lingered)

    def flush(self) -> None:
        """Linger no more."""
        self._flushing = True
        self.schedule()

    def give_up(self, calls: Container[object]) -> None:
        """Cancel those of the calls of which every outcome is told; nothing waits for them, since they may hang."""
        for task, items in list(self._sending.items()):
            if task in calls and all(item.stage == DONE for item in items):
                del self._sending[task]
                self._given_up.add(task)
                task.cancel()
        self.schedule()

    def ended(self, batch: list[Item]) -> None:
        """Take note that a batch is done, before those who wait for it go on: what they publish needn't linger."""
        if self._sending.pop(cast(asyncio.Task[None], batch[0].batch), None) is not None:
            self.schedule()

    async def aclose(self) -> None:
        """Wait for the calls that have not ended; all that was taken has its outcome."""
        for timer in (self._linger, self._next_flush):
            if timer is not None:
                timer.cancel()
        ending = [*self._sending, *self._given_up]
        if ending:
            await asyncio.wait(ending)

    def _lingered(self) -> None:
        self._linger = None
        if self._queue and len(self._sending) < self._options.batches_in_flight:
            self._start()
        self.schedule()

    def _flush_now(self) -> None:
        self._next_flush = None
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        while self._queue and len(self._sending) < self._options.batches_in_flight:
            self._start()
            if not (self._queue.full or self._flushing):
                break
        self.schedule()

    def _start(self) -> None:
        batch = self._queue.take()
        task = self._loop.create_task(self._sender.send(batch))
        self._sending[task] = batch
        for item in batch:
            item.batch = task
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._given_up.discard(task)
        if self._sending.pop(task, None) is not None:
            self.schedule()
