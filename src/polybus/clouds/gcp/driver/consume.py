"""Receiving from a subscription, and settling."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.faults import fault
from polybus.clouds.gcp.driver.intake import Intake
from polybus.clouds.gcp.driver.publish import request_bytes, send
from polybus.clouds.gcp.driver.settle import acknowledge, modify_each
from polybus.clouds.gcp.driver.stream import Lease
from polybus.clouds.gcp.driver.wire import Wire, decode, encode, published, why
from polybus.clouds.gcp.limits import GCP
from polybus.driver import Ack, BatchLimits, LeaseUntil, Nack, Outgoing, Prepared, Received, Settlement, ToDeadLetters
from polybus.errors import Fault, FaultKind

__all__ = ["StreamConsumer"]

# How many messages that were handed on and not settled are remembered, of an ordered source: ten times what the bus
# holds back of one, whose leases may have been lost all at once.
REMEMBERED = 10_000

_ENDED = Fault(FaultKind.LEASE_LOST, "its lease is over by this process's clock, or it was given back")

Settle = Ack[Lease] | Nack[Lease] | ToDeadLetters[Lease]


class StreamConsumer:
    """Consumes one subscription: a topology's own, a queue's, or one of dead letters."""

    limits = BatchLimits(count=GCP.ack_ids.most, total_bytes=GCP.request_bytes.most)

    def __init__(
        self,
        clients: Clients,
        source: Entity,
        clock: Clock,
        prefetch: int,
    ) -> None:
        self._clients = clients
        self._source = source
        self._clock = clock
        self._grouped = source.keeps_order
        self._handed: dict[str, None] = {}
        seconds = math.ceil(GCP.lease.clamp(source.lease))
        self._intake = Intake(
            clients, source.address, seconds=seconds, prefetch=prefetch, ordered=self._grouped, clock=clock
        )

    # Receiving -------------------------------------------------------------------------------------------------------

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Lease]]:
        """Return what a stream has brought; it is opened, and opened again after an error was raised, from here."""
        return [self._received(lease) for lease in await self._intake.take(count, wait)]

    def _received(self, lease: Lease) -> Received[Lease]:
        raw, lease.raw = lease.raw, None  # what is handed on is held in one form, not in two
        message, envelope = decode(raw.message, self._source)
        # 0 without a dead-letter policy, which only the subscriptions of dead letters are planned without.
        attempt = raw.delivery_attempt or 1
        number = raw.message.message_id
        return Received(
            message,
            attempt,
            lease.until,
            lease,
            (raw.message.ordering_key or None) if self._grouped else None,
            attempt > 1 or envelope.moves > 0 or envelope.again or (self._grouped and self._was_handed(number)),
            envelope.moves,
            why(envelope, self._source),
            envelope.description or None,
            number,
            published(raw.message) if self._source.kind is Kind.DEAD_LETTERS else None,
        )

    def _was_handed(self, number: str) -> bool:
        """Say whether a message was handed on before, and note that it is.

        What comes again behind an earlier message of its key isn't counted by Pub/Sub: its own lease didn't end.
        """
        if number in self._handed:
            return True
        self._handed[number] = None
        if len(self._handed) > REMEMBERED:
            del self._handed[next(iter(self._handed))]
        return False

    # Settling --------------------------------------------------------------------------------------------------------

    async def settle_batch(self, settlements: Sequence[Settlement[Lease]]) -> Sequence[Fault | None]:
        found: list[Fault | None] = [None] * len(settlements)
        acks: list[int] = []
        nacks: dict[int, list[int]] = {}
        letters: list[int] = []
        now = self._clock.monotonic()
        for place, settlement in enumerate(settlements):
            if not isinstance(settlement, Nack) and not _is_ours(settlement.received.receipt, now):
                found[place] = _ENDED
            elif isinstance(settlement, Ack):
                acks.append(place)
            elif isinstance(settlement, ToDeadLetters) and self._source.kind is Kind.DEAD_LETTERS:
                found[place] = Fault(FaultKind.INVALID, "a dead letter can't be dead-lettered again")
            elif isinstance(settlement, Nack):
                delay = min(math.ceil(settlement.delay), int(GCP.extension.most))
                nacks.setdefault(delay, []).append(place)
            else:
                letters.append(place)
        calls = [self._nack(settlements, places, delay, found) for delay, places in nacks.items()]
        if letters:
            calls.append(self._dead_letter(settlements, letters, found))
        if acks:
            calls.append(self._ack(settlements, acks, found))
        if len(calls) == 1:
            await calls[0]
        else:
            await asyncio.gather(*calls)
        return found

    async def _ack(self, settlements: Sequence[Settle], places: Sequence[int], found: list[Fault | None]) -> None:
        leases = [settlements[place].received.receipt for place in places]
        faults = await acknowledge(self._clients, self._source.address, [lease.ack_id for lease in leases])
        for place, lease, failed in zip(places, leases, faults, strict=True):
            found[place] = failed
            if failed is None or not failed.retryable:
                lease.over()
            if failed is None:
                self._handed.pop(settlements[place].received.token, None)

    async def _nack(
        self, settlements: Sequence[Settle], places: Sequence[int], delay: int, found: list[Fault | None]
    ) -> None:
        """Give back: the lease ends after the delay, at once without one."""
        leases = [settlements[place].received.receipt for place in places]
        dropped = []
        if self._grouped:
            for place, lease in zip(places, leases, strict=True):
                received = settlements[place].received
                dropped.append(self._intake.drop(received.group or "", lease, received.token, delay))
        begun = self._clock.monotonic()
        ack_ids = [lease.ack_id for lease in leases]
        faults = await modify_each(self._clients, self._source.address, ack_ids, delay)
        for first in dropped:
            if first is not None:
                first.heard = self._clock.monotonic()
        for place, lease, failed in zip(places, leases, faults, strict=True):
            found[place] = failed
            if failed is None and delay:
                lease.until, lease.held = begun + delay, False  # it is out until then, as the server counts
            elif failed is None or not failed.retryable:
                lease.held = False
                lease.over()

    async def _dead_letter(
        self, settlements: Sequence[Settle], places: Sequence[int], found: list[Fault | None]
    ) -> None:
        """Publish copies to the dead-letter topic, then ack what has one (contract, D7)."""
        target = self._source.dead_letters
        topic = str(self._source.options["dead_letter_topic"])
        batch: list[tuple[int, Prepared[Wire]]] = []
        size = 0
        for place in places:
            prepared = self._letter(settlements[place], target, request_bytes(topic))
            if isinstance(prepared, Fault):
                found[place] = prepared
                continue
            # A request has one ordering key: none, but for a letter without room for it elsewhere.
            other = bool(batch) and batch[-1][1].wire.key != prepared.wire.key
            if other or size + prepared.size > request_bytes(topic):
                await self._send(topic, batch, found)
                batch, size = [], 0
            batch.append((place, prepared))
            size += prepared.size
        await self._send(topic, batch, found)
        copied = [place for place in places if found[place] is None]
        if copied:
            await self._ack(settlements, copied, found)

    def _letter(self, settlement: Settle, target: Entity, room: int) -> Prepared[Wire] | Fault:
        received = settlement.received
        reason, description = "unknown", ""
        if isinstance(settlement, ToDeadLetters):
            reason, description = settlement.reason or reason, settlement.description
        outgoing = Outgoing(received.message, moves=received.moves + 1, token=received.token)
        return encode(outgoing, target, reason=reason, description=description, room=room)

    async def _send(self, topic: str, batch: Sequence[tuple[int, Prepared[Wire]]], found: list[Fault | None]) -> None:
        """Publish the copies, at most as many as the ack ids of one batch: no more than a request may have."""
        if not batch:
            return
        try:
            await send(self._clients, topic, [prepared.wire for _, prepared in batch])
        except Exception as error:  # noqa: BLE001 - the other calls of this batch have answers of their own
            failed = fault(error)
            for place, _ in batch:
                found[place] = failed

    # Leases ----------------------------------------------------------------------------------------------------------

    async def extend_batch(self, received: Sequence[Received[Lease]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        whole = max(math.floor(min(seconds, GCP.extension.most)), 1)
        until = self._clock.monotonic() + whole
        ack_ids = [each.receipt.ack_id for each in received]
        faults = await modify_each(self._clients, self._source.address, ack_ids, whole)
        granted = LeaseUntil(until)
        answers: list[LeaseUntil | Fault] = []
        for each, failed in zip(received, faults, strict=True):
            if failed is None:
                each.receipt.until = until
            answers.append(failed or granted)
        return answers

    def lost(self, received: Received[Lease]) -> None:
        """Hear that a delivery was given up unsettled: what is here of its key must not pass it."""
        self._intake.lose(received.receipt)

    def rest(self) -> None:
        """Leave the streams until something is asked for: what is given back would come again on them."""
        self._intake.rest()

    # Ending ----------------------------------------------------------------------------------------------------------

    async def stop(self) -> Sequence[Received[Lease]]:
        """End the streams; what they brought and was not returned goes back with the answer."""
        return [self._received(lease) for lease in await self._intake.stop()]

    async def aclose(self) -> None:
        await self._intake.close()


def _is_ours(lease: Lease, now: float) -> bool:
    """Say whether a message is still ours: Pub/Sub takes an ack after that too, whoever has the message by then.

    Only an exactly-once subscription would refuse it, and none keeps a copy from the dead letters.
    """
    return lease.held and now < lease.until
