"""Making leases ours: what a stream brings is handed on once our own extension of its lease is confirmed.

Pub/Sub doesn't say when it sent a message, so neither when its lease began: an answer that comes late, or is read late
by a process that stood still, brings leases that are over. So each message's lease is set here at its receipt, and
counts from before that call. An exactly-once subscription confirms each ack id. Others accept the ids of leases that
are over as well: there it must be sure that the lease which the stream gave (GRANT) wasn't over by then, by what is
known of when the message was sent. A call that was made before, and wasn't answered in time, may have cut that lease
short: what it set is then all that is sure.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from polybus.clock import Clock
from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.faults import fault
from polybus.clouds.gcp.driver.settle import modify_each
from polybus.clouds.gcp.driver.stream import GRANT, Lease
from polybus.clouds.gcp.driver.wire import published
from polybus.clouds.gcp.limits import GCP
from polybus.errors import Fault, FaultKind

__all__ = ["Receipts"]

# Seconds that a message may have been under way and waited for its confirmation, by what can be proven, to be sure of a
# lease of GRANT: the rest is for what preceded it, and says since when it can have been sent, to have come itself.
PROVEN = GRANT - 10.0
# Calls under way at once: what comes while they are waits for the next one and shares it, and a round trip of one is
# no pause for the others.
CALLS = 2


class _Batch:
    __slots__ = ("fault", "kept", "leases", "lost")

    def __init__(self, leases: Sequence[Lease]) -> None:
        self.leases = leases
        self.kept: Sequence[Lease] | None = None
        self.lost: list[Lease] = []
        self.fault: Fault | None = None


class Receipts:
    """Confirms the leases of what comes; `on_confirmed` gets it in the order in which it came.

    `on_lost` gets what can't be confirmed, with the fault of a call that failed for it.
    """

    def __init__(
        self,
        clients: Clients,
        subscription: str,
        *,
        seconds: int,
        clock: Clock,
        on_confirmed: Callable[[Sequence[Lease]], None],
        on_lost: Callable[[Sequence[Lease], Fault | None], None],
    ) -> None:
        self._clients = clients
        self._subscription = subscription
        self._seconds = seconds
        self._clock = clock
        self._on_confirmed = on_confirmed
        self._on_lost = on_lost
        self._waiting: list[Lease] = []
        self._batches: deque[_Batch] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._least: float | None = None

    def __len__(self) -> int:
        """Return how many messages wait for their confirmation."""
        return len(self._waiting) + sum(len(batch.leases) for batch in self._batches)

    def add(self, leases: Sequence[Lease]) -> None:
        self._waiting += leases
        self._go_on()

    def take(self, wanted: Callable[[Lease], bool] = lambda lease: True) -> list[Lease]:
        """Return what waits and is `wanted`; it is confirmed no more."""
        taken = [lease for batch in self._batches for lease in batch.leases if wanted(lease)]
        taken += [lease for lease in self._waiting if wanted(lease)]
        gone = set(taken)
        for batch in self._batches:
            batch.leases = [lease for lease in batch.leases if lease not in gone]
            if batch.kept is not None:
                batch.kept = [lease for lease in batch.kept if lease not in gone]
            batch.lost = [lease for lease in batch.lost if lease not in gone]
        self._waiting = [lease for lease in self._waiting if lease not in gone]
        return taken

    def cancel(self) -> None:
        """End the calls that are under way."""
        for task in self._tasks:
            task.cancel()

    # Confirming ------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        while self._waiting and len(self._tasks) < CALLS:
            batch = _Batch(self._waiting[: GCP.ack_ids.most])
            del self._waiting[: GCP.ack_ids.most]
            self._batches.append(batch)
            task = asyncio.get_running_loop().create_task(self._confirm(batch))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        while self._batches and self._batches[0].kept is not None:
            batch = self._batches.popleft()
            if batch.kept:
                self._on_confirmed(batch.kept)
            if batch.lost:
                self._on_lost(batch.lost, batch.fault)
        self._go_on()

    async def _confirm(self, batch: _Batch) -> None:
        """Confirm a batch, however that ends: what comes after it waits for its end."""
        try:
            await self._try(batch)
        except Exception as error:  # noqa: BLE001 - a batch without an end would hold up all that comes
            batch.fault = fault(error)
            batch.kept, batch.lost = (), list(batch.leases)

    async def _try(self, batch: _Batch) -> None:
        kept: set[Lease] = set()
        pending = list(batch.leases)
        first = self._clock.monotonic()
        for last in (False, True):
            if not pending:  # all of it was taken meanwhile
                break
            begun = self._clock.monotonic()
            ack_ids = [lease.ack_id for lease in pending]
            # On the connection that brought them, which is alive, and then on another.
            line = None if last else pending[0].stream.line
            faults = await modify_each(self._clients, self._subscription, ack_ids, self._seconds, line)
            now = self._clock.monotonic()
            until = begun + self._seconds
            sure = now < first + self._seconds  # no lease that a call of ours has set is over
            if sure and not any(faults) and now - min([lease.since for lease in pending]) <= PROVEN:
                for lease in pending:
                    lease.until = until
                if not last:  # nearly always; what was taken meanwhile isn't among them any more
                    self._keep(batch, batch.leases)
                    return
                kept.update(pending)
                break
            again: list[Lease] = []
            for lease, failed in zip(pending, faults, strict=True):
                may_be = sure or lease.stream.exactly_once
                if failed is None and may_be and now < until and self._is_proven(lease, now):
                    lease.until = until
                    kept.add(lease)
                elif may_be and not last and (failed.retryable if failed is not None else now >= until):
                    again.append(lease)
                elif failed is not None and failed.kind is not FaultKind.LEASE_LOST:
                    batch.fault = failed
            here = set(batch.leases)
            pending = [lease for lease in again if lease in here]
        # What was taken meanwhile isn't among them any more.
        batch.lost = [lease for lease in batch.leases if lease not in kept]
        self._keep(batch, [lease for lease in batch.leases if lease in kept] if batch.lost else batch.leases)

    def _keep(self, batch: _Batch, leases: Sequence[Lease]) -> None:
        batch.kept = leases
        if leases:
            self._note(leases[-1])

    def _is_proven(self, lease: Lease, now: float) -> bool:
        """Say whether the server's own lease was good when it heard of us, `now` at the latest."""
        if lease.stream.exactly_once or now - lease.since <= PROVEN:
            return True
        # It wasn't sent before it was published. The service's clock is another than ours: how far it is behind shows
        # in the message that took the least time, and before there is one ours is taken for it.
        least = lease.came - self._clock.time() if self._least is None else self._least
        return now - published(lease.raw.message) - least <= PROVEN

    def _note(self, lease: Lease) -> None:
        """Note how long a message that came in time was under way, by the service's clock and ours."""
        took = lease.came - published(lease.raw.message)
        self._least = took if self._least is None else min(self._least, took)
