"""What waits in one subscription, ordering keys included, and who may take it."""

from __future__ import annotations

from collections import deque

from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.state import Consumer, Entry, KeyQueue

__all__ = ["Backlog"]


class Backlog:
    """Entries without a key in one queue, those of an ordering key in one of their own.

    A key is listed either with the consumer that has some of it out, or, where nobody has, for all.
    """

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._ready: deque[Entry] = deque()
        self._keys: dict[str, KeyQueue] = {}
        self._free_keys: deque[KeyQueue] = deque()
        self._in_keys = 0

    @property
    def free(self) -> int:
        """How many entries wait for just anyone, about: those of keys that are taken count as well."""
        return len(self._ready) + (self._in_keys if self._free_keys else 0)

    def has(self, consumer: Consumer) -> bool:
        return bool(consumer.keys or self._ready or self._free_keys)

    def add(self, entry: Entry) -> None:
        """Put an entry last."""
        key = entry.message.key
        if not (self._ordered and key):
            self._ready.append(entry)
            return
        queue = self._keys.get(key)
        if queue is None:
            queue = self._keys[key] = KeyQueue(key)
        entry.queue = queue
        queue.waiting.append(entry)
        self._in_keys += 1
        self.offer(queue)

    def offer(self, queue: KeyQueue) -> None:
        """List a key where the consumer that may take it finds it."""
        if queue.listed or queue.held or not queue.waiting:
            return
        owner = queue.owner
        if owner is None:
            queue.listed = True
            self._free_keys.append(queue)
        elif owner.sticky and owner.open and queue.leased < owner.per_key:
            queue.listed = True
            owner.keys.append(queue)
            if owner.room > 0:
                owner.wake()

    def take(self, consumer: Consumer, count: int) -> list[Entry]:
        """Take up to `count` entries for the consumer, and no more once they are of the size of a response."""
        size = min(limits.RESPONSE_BYTES, consumer.max_bytes - consumer.out_bytes)
        batch: list[Entry] = []
        for keys in (consumer.keys, self._free_keys):
            # Each key that is listed now is looked at once: one that stays listed must not be taken over and over.
            for _ in range(len(keys)):
                if not keys or len(batch) >= count or size <= 0:
                    break
                size -= self._take_key(keys.popleft(), consumer, count - len(batch), size, batch)
        ready = self._ready
        while ready and len(batch) < count and size > 0:
            entry = ready.popleft()
            if not entry.gone:
                batch.append(entry)
                size -= len(entry.message.wire)
        return batch

    def _take_key(self, queue: KeyQueue, consumer: Consumer, count: int, size: int, batch: list[Entry]) -> int:
        queue.listed = False
        if queue.held or queue.owner not in (None, consumer):
            self.offer(queue)
            return 0
        waiting = len(queue.waiting)
        taken = queue.take(min(count, consumer.per_key - queue.leased), size)
        self._in_keys -= waiting - len(queue.waiting)
        if taken:
            queue.owner = consumer
            queue.leased += len(taken)
            batch += taken
        self.offer(queue)
        return sum(len(entry.message.wire) for entry in taken)

    def restore(self, entry: Entry, consumer: Consumer) -> bool:
        """Take back an entry that was out before a restart, or acked while an earlier one of its key was out.

        `consumer` stands for whoever had it, and is not open. Returns False, and does nothing, where neither can be so.
        """
        key = entry.message.key
        if not (self._ordered and key):
            return not entry.gone
        queue = self._keys.get(key) or KeyQueue(key)
        if not queue.restore(entry):
            return False
        self._keys[key] = entry.queue = queue
        if not entry.gone:
            queue.owner = consumer
            queue.leased += 1
        return True

    def unlease(self, entry: Entry) -> None:
        """Note that an entry is no longer out."""
        queue = entry.queue
        if queue is not None:
            queue.leased -= 1
            if not queue.leased:
                queue.owner = None

    def settle(self, entry: Entry) -> list[Entry]:
        """Note that an entry is acked; return those that are final by it."""
        entry.gone = True
        queue = entry.queue
        if queue is None:
            return [entry]
        final = queue.settle()
        if queue.empty:
            self._keys.pop(queue.key, None)
        else:
            self.offer(queue)
        return final

    def rewind(self, entry: Entry) -> list[Entry]:
        """Take an entry with a key back, and all that were sent after it; return those."""
        queue = entry.queue
        if queue is None:
            return []
        later = queue.rewind(entry)
        self._in_keys += 1 + len(later)
        return later

    def forwarded(self, entry: Entry) -> list[Entry]:
        """Settle an entry that was just taken back by `rewind`; return those that are final by it."""
        if entry.queue is not None:
            entry.queue.sent.append(entry.queue.waiting.popleft())
            self._in_keys -= 1
        return self.settle(entry)

    def hold(self, entry: Entry) -> Entry | KeyQueue:
        """Keep an entry that came back, or its key, from being taken; return what to `resume`."""
        if entry.queue is None:
            return entry
        entry.queue.held = True
        return entry.queue

    def resume(self, item: Entry | KeyQueue) -> None:
        """Let what came back be taken again."""
        if isinstance(item, KeyQueue):
            item.held = False
            self.offer(item)
        elif item.queue is not None:
            self.offer(item.queue)
        elif not item.gone:
            self._ready.append(item)

    def discard(self, entry: Entry) -> None:
        """Forget an entry, whatever its state."""
        entry.gone = True
        queue = entry.queue
        if queue is None:
            return
        if entry in queue.sent:
            queue.sent.remove(entry)
        elif entry in queue.waiting:
            queue.waiting.remove(entry)
            self._in_keys -= 1
        self.offer(queue)

    def prune(self) -> None:
        """Forget the discarded entries at the head of the queue: where nobody takes any, nothing else would."""
        while self._ready and self._ready[0].gone:
            self._ready.popleft()

    def sent(self, entry: Entry) -> bool:
        """Say whether an entry could still come again with an earlier one of its key."""
        return entry.queue is not None and entry in entry.queue.sent

    def leave(self, consumer: Consumer) -> None:
        """Give the keys that are listed with a consumer back to all, once nothing of them is out."""
        keys = list(consumer.keys)
        consumer.keys.clear()
        for queue in keys:
            queue.listed = False
            if not queue.leased:
                queue.owner = None
            self.offer(queue)
