"""Publishing: a message goes to the queue, or a copy of it to each subscription whose filter passes it."""

from __future__ import annotations

from collections.abc import Sequence

from polybus.binding import Entity
from polybus.clock import Clock
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.embedded.memory.source import Source
from polybus.embedded.memory.store import Store, Topic
from polybus.embedded.rules import BATCH, check, check_key
from polybus.errors import Fault
from polybus.message import Message, Sent

__all__ = ["Publisher"]


class Publisher:
    """Publishes to a topic or a queue, or returns messages to one subscription or queue (`returning`)."""

    def __init__(self, store: Store, clock: Clock, entity: Entity, to: Topic | Source, *, returning: bool) -> None:
        self._store = store
        self._clock = clock
        self._entity = entity
        self._to = to
        self._returning = returning

    @property
    def limits(self) -> BatchLimits:
        return BATCH

    def prepare(self, outgoing: Outgoing) -> Prepared[Message] | Fault:
        checked = check(outgoing, self._entity, "memory")
        if isinstance(checked, Fault):
            return checked
        message, size = checked
        if self._entity.ordered or not self._returning:
            # An unordered subscription of an ordered topic takes back messages that have a key.
            wrong = check_key(message, self._entity, "memory")
            if wrong is not None:
                return wrong
        return Prepared(outgoing, size, message)

    async def publish_batch(self, batch: Sequence[Prepared[Message]]) -> Sequence[Sent | Fault]:
        now, at = self._clock.monotonic(), self._clock.time()
        to = self._to
        with self._store.lock:
            dedup = to.dedup
            dedup.turn(now)
            if isinstance(to, Topic):
                for prepared in batch:
                    if dedup.admit(prepared.outgoing.dedup_id):
                        message = _stamped(prepared.wire, at)
                        for source, passes in to.subscriptions:
                            if passes is None or passes.matches(message.attributes):
                                source.add(message, now, at, prepared.outgoing.delay)
                sources = [source for source, _ in to.subscriptions]
            else:
                for prepared in batch:
                    outgoing = prepared.outgoing
                    if dedup.admit(outgoing.dedup_id):
                        message = prepared.wire
                        if not self._returning or message.published_at is None:
                            message = _stamped(message, at)
                        to.add(message, now, at, outgoing.delay, outgoing.moves)
                sources = [to]
            for source in sources:
                if source.line:
                    source.wake()
        return [Sent(prepared.wire.id) for prepared in batch]

    async def aclose(self) -> None:
        """Do nothing: the store holds all."""


def _stamped(m: Message, at: float) -> Message:
    return Message(m.body, m.attributes, m.ordering_key, m.id, at, m.content_type)
