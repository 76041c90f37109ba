"""Publishing to a topic or a queue."""

from __future__ import annotations

from collections.abc import Sequence

from polybus.binding import Entity
from polybus.clock import Clock
from polybus.clouds.azure.driver.bounds import ANSWER
from polybus.clouds.azure.driver.faults import fault, is_of_one
from polybus.clouds.azure.driver.senders import Sender
from polybus.clouds.azure.driver.wire import Wire, encode
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault, FaultKind
from polybus.message import Sent

__all__ = ["AzurePublisher"]

# Service Bus limits a batch by its bytes alone. This bounds what one refused batch takes down with it.
COUNT = 1_000
# Bytes that the envelope of a batch takes besides its messages, whose ids it repeats once.
ENVELOPE_BYTES = 512
_NEXT_CALL = Fault(FaultKind.UNAVAILABLE, "not sent yet: this entity takes one message at a time")


class AzurePublisher:
    """Sends batches, which Service Bus accepts or refuses as a whole: so what fails fails together, and in order.

    A batch that is refused for what is in it is sent again one by one, so that each message has its own outcome: one
    that is too large, or a partitioned entity with duplicate detection, which takes no batch of different ids or keys.
    The bus would find it out too, by halves; but each refusal costs the library its link, a second, and the next batch
    would be refused again.
    """

    def __init__(self, sender: Sender, target: Entity, clock: Clock, *, to: str | None = None) -> None:
        self._sender = sender
        self._target = target
        self._clock = clock
        self._to = to
        self.limits = BatchLimits(count=COUNT, total_bytes=sender.batch_bytes - ENVELOPE_BYTES)
        # Whether the entity was found to take no batches of different ids or keys.
        self._singly = False

    def prepare(self, outgoing: Outgoing) -> Prepared[Wire] | Fault:
        return encode(outgoing, self._target, now=self._clock.time(), to=self._to)

    async def publish_batch(self, batch: Sequence[Prepared[Wire]]) -> Sequence[Sent | Fault]:
        if len(batch) == 1 or not self._singly:
            try:
                await self._sender.send([one.wire for one in batch], sum(one.size for one in batch))
            except Exception as error:
                if len(batch) == 1 or not is_of_one(error):
                    raise
            else:
                return [Sent(prepared.outgoing.message.id) for prepared in batch]
        return await self._one_by_one(batch)

    async def _one_by_one(self, batch: Sequence[Prepared[Wire]]) -> list[Sent | Fault]:
        """Send each message by itself; after one that failed none of its key is sent, so that nothing overtakes.

        What is not sent when the time for one call is over, or the way to the service is down, is for the next call.
        """
        outcomes: list[Sent | Fault] = []
        failed: dict[str | None, Fault] = {}
        rest: Fault | None = None
        end = self._clock.monotonic() + ANSWER
        for one in batch:
            key = one.outgoing.message.ordering_key
            outcome = rest or (failed.get(key) if key is not None else None) or await self._alone(one)
            if outcome is None:
                outcomes.append(Sent(one.outgoing.message.id))
                rest = _NEXT_CALL if self._clock.monotonic() > end else None
                continue
            failed[key] = outcome
            rest = outcome if outcome.retryable else None
            outcomes.append(outcome)
        # That nothing was wrong with any of them says that the entity takes no such batches.
        self._singly = self._singly or not failed
        return outcomes

    async def _alone(self, one: Prepared[Wire]) -> Fault | None:
        try:
            await self._sender.send([one.wire], one.size)
        except Exception as error:  # noqa: BLE001 - each message has an outcome of its own
            return fault(error)
        return None

    async def aclose(self) -> None:
        """Nothing is held: the sender is the driver's."""
