"""Looking at dead letters: SQS shows nothing that it doesn't hand over, so they are leased, and given back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from polybus.binding import Entity
from polybus.clock import Clock
from polybus.clouds.aws.driver.consume import change_visibility, receive_arguments

__all__ = ["Look"]

Raw = Mapping[str, Any]

# The lease of what is looked at, in seconds, whatever the source's own is: a process that dies while it looks hides
# letters for that long. It is extended when half of it is over.
LEASE = 120
# Seconds that a receive waits: with any wait SQS asks all of its servers, without one only some (SQS developer guide,
# short and long polling).
WAIT = 1
# So many receives in a row that bring nothing say that there is nothing more, even where SQS's count, which is
# approximate, says otherwise; one does where the count agrees.
EMPTY = 5


class Look:
    """One look at the letters of one queue; runs in a thread. `stop` ends it early, from any thread.

    Every letter is received once and held until the end, so that each is seen once in whatever order they come, and
    the work grows with their number alone.
    """

    wait = WAIT

    def __init__(self, letters: Entity, count: int, clock: Clock) -> None:
        self._letters = letters
        self._count = count
        self._clock = clock
        self._stopped = threading.Event()
        self._found: dict[str, Raw] = {}
        self._renewed = 0.0

    def stop(self) -> None:
        """Receive nothing more: what was found is given back, and nobody waits for it."""
        self._stopped.set()

    def run(self, client: Any) -> Sequence[Raw]:
        """Return up to `count` letters as SQS's client shows them, the oldest first."""
        try:
            self._receive_all(client)
        finally:
            self._change(client, 0)
        return sorted(self._found.values(), key=lambda raw: int(raw["Attributes"].get("SentTimestamp", 0)))

    def _receive_all(self, client: Any) -> None:
        self._renewed = self._clock.monotonic()
        empty = 0
        while len(self._found) < self._count and not self._stopped.is_set():
            arguments = receive_arguments(self._letters, self._count - len(self._found), WAIT, LEASE)
            messages = client.receive_message(**arguments).get("Messages", ())
            # By its latest receipt, should one come again all the same.
            self._found.update((raw["MessageId"], raw) for raw in messages)
            empty = 0 if messages else empty + 1
            if empty >= EMPTY or (empty and not self._waiting(client)):
                return
            self._renew(client)

    def _waiting(self, client: Any) -> int:
        name = "ApproximateNumberOfMessages"
        answer = client.get_queue_attributes(QueueUrl=self._letters.address, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def _renew(self, client: Any) -> None:
        now = self._clock.monotonic()
        if now - self._renewed < LEASE / 2:
            return
        self._renewed = now
        self._change(client, LEASE)

    def _change(self, client: Any, seconds: int) -> None:
        handles = [raw["ReceiptHandle"] for raw in self._found.values()]
        change_visibility(client, self._letters.address, handles, seconds)
