"""When leases end."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence

from polybus.localcloud.pubsub.state import NO_LEASE, Entry

__all__ = ["Leases"]


class Leases:
    """The leases of one subscription, by ack id and by deadline.

    Deadlines are kept by batch: all of a batch end at once, so that a heap of batches does for them what a timer each
    would do, at a hundredth of the cost. What was acked meanwhile stays in its batch until that is due, or until such
    entries outnumber the live ones, when the heap is rebuilt: memory follows what is out, not how long leases are.
    """

    # Rebuilding costs the size of the heap and happens after as many additions: constant per lease. Below this size it
    # is not worth looking.
    REBUILD_FROM = 4_096

    def __init__(self) -> None:
        self.by_id: dict[str, Entry] = {}
        self._heap: list[tuple[float, int, Sequence[Entry]]] = []
        self._order = itertools.count()
        self._listed = 0

    def __len__(self) -> int:
        return len(self.by_id)

    def schedule(self, deadline: float, entries: Sequence[Entry]) -> None:
        """Note that `entries`, each leased until `deadline`, are due then."""
        heapq.heappush(self._heap, (deadline, next(self._order), entries))
        self._listed += len(entries)
        if self._listed > self.REBUILD_FROM and self._listed > 3 * len(self.by_id):
            self._rebuild()

    @property
    def next_deadline(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Entry]:
        """Yield each entry whose lease has ended by `now` and is still in force when its turn comes."""
        while self._heap and self._heap[0][0] <= now:
            _, _, entries = heapq.heappop(self._heap)
            self._listed -= len(entries)
            for entry in entries:
                if entry.ack_id != NO_LEASE and entry.deadline <= now:
                    yield entry

    def clear(self) -> None:
        self.by_id.clear()
        self._heap.clear()
        self._listed = 0

    def _rebuild(self) -> None:
        batches: dict[float, list[Entry]] = {}
        for entry in self.by_id.values():
            batches.setdefault(entry.deadline, []).append(entry)
        self._heap = [(deadline, next(self._order), entries) for deadline, entries in batches.items()]
        heapq.heapify(self._heap)
        self._listed = len(self.by_id)
