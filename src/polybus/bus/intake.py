"""Receiving from the backend for as long as there is room, and the end of that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from polybus.bus.retry import RetryPolicy
from polybus.clock import Clock, wait_for
from polybus.driver import ConsumerDriver, Received
from polybus.errors import BackendError, Fault

__all__ = ["Intake"]

_log = logging.getLogger("polybus")

# The longest long poll that every cloud grants (SQS: 20 s, limits.md); nothing is gained by polling more often.
WAIT = 20.0


class Intake:
    """Asks the driver for as many deliveries as there is room for, again and again.

    `room` says how many that are, 0 or less for none; setting `widened` has it asked again. `accept` gets what came,
    `failed` the error that ends receiving. `stopping` is set once nothing more is to be taken.
    """

    def __init__(
        self,
        consumer: ConsumerDriver[Any],
        source: str,
        *,
        clock: Clock,
        retry: RetryPolicy,
        fault: Callable[[Exception], Fault],
        room: Callable[[], int],
        widened: asyncio.Event,
        accept: Callable[[Received[Any]], None],
        failed: Callable[[BackendError], None],
    ) -> None:
        self._consumer = consumer
        self._source = source
        self._clock = clock
        self._retry = retry
        self._fault = fault
        self._room = room
        self._accept = accept
        self._failed = failed
        self._widened = widened
        self._stopping = asyncio.Event()
        self.stopping = False
        """Whether nothing more is to be taken."""
        self._receiving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to receive."""
        self._receiving = asyncio.get_running_loop().create_task(self._receive())

    def stop(self) -> None:
        """Take nothing more; `end` waits for what is under way."""
        self.stopping = True
        self._stopping.set()
        self._widened.set()

    async def end(self) -> None:
        """Stop the driver, and hand over whatever it still brings."""
        try:
            buffered = await self._consumer.stop()
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            _log.warning("%r did not stop cleanly: %s", self._source, self._fault(error))
            buffered = ()
        for received in buffered:
            self._accept(received)
        if self._receiving is not None:
            await self._receiving

    async def _receive(self) -> None:
        failures = 0
        while not self.stopping:
            room = self._room()
            if room <= 0:
                self._widened.clear()
                await self._widened.wait()
                continue
            try:
                batch = await self._consumer.receive_batch(room, wait=WAIT)
            except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
                failures += 1
                if not await self._survive(self._fault(error), failures):
                    return
                continue
            failures = 0
            for received in batch:
                self._accept(received)

    async def _survive(self, fault: Fault, failures: int) -> bool:
        """Wait out a fault that may pass; say whether to go on."""
        if self.stopping:
            return False
        if not fault.retryable:
            self._failed(BackendError(fault))
            return False
        wait = self._retry.wait(failures, fault.retry_after)
        level = logging.WARNING if failures == 1 else logging.DEBUG
        _log.log(level, "receiving from %r failed, next try in %.1f s: %s", self._source, wait, fault)
        try:
            await wait_for(self._clock, self._stopping.wait(), wait)
        except TimeoutError:
            return True
        return False
