"""Publishing to a topic or a queue."""

from __future__ import annotations

from collections.abc import Sequence

from polybus.backends.azure.clients import Sender
from polybus.backends.azure.wire import Wire, encode
from polybus.binding import Entity
from polybus.clock import Clock
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault
from polybus.message import Sent

__all__ = ["AzurePublisher"]

# Service Bus limits a batch by its bytes alone. This bounds what one refused batch takes down with it.
COUNT = 1_000
# Bytes that the envelope of a batch takes besides its messages, whose ids it repeats once.
ENVELOPE_BYTES = 512


class AzurePublisher:
    """Sends batches, which Service Bus accepts or refuses as a whole: so what fails fails together, and in order."""

    def __init__(self, sender: Sender, target: Entity, clock: Clock, *, to: str | None = None) -> None:
        self.limits = BatchLimits(count=COUNT, total_bytes=sender.batch_bytes - ENVELOPE_BYTES)
        self._sender = sender
        self._target = target
        self._clock = clock
        self._to = to

    def prepare(self, outgoing: Outgoing) -> Prepared[Wire] | Fault:
        return encode(outgoing, self._target, now=self._clock.time(), to=self._to)

    async def publish_batch(self, batch: Sequence[Prepared[Wire]]) -> Sequence[Sent | Fault]:
        link = self._sender.link
        async with self._sender.turn:
            if len(batch) == 1:
                # A message of Premium may be larger than any batch.
                await link.send_messages(batch[0].wire)
            else:
                messages = await link.create_message_batch()
                for prepared in batch:
                    messages.add_message(prepared.wire)
                await link.send_messages(messages)
        return [Sent(prepared.outgoing.message.id) for prepared in batch]

    async def aclose(self) -> None:
        """Nothing is held: the sender is the driver's."""
