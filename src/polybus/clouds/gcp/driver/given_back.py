"""The order of what is given back: what came behind it comes again behind it."""

from __future__ import annotations

import math

from polybus.clouds.gcp.driver.stream import Lease, Stream
from polybus.clouds.gcp.limits import GCP

__all__ = ["GivenBack", "GivenBackKeys"]

# Ordering keys of which it is remembered when something was given back: more than one consumer has under way at once.
KEYS_KEPT = 10_000


class GivenBack:
    """The first message of an ordering key that was given back for `delay` seconds, by its number, with its stream.

    `heard` is when the server had heard of it, at the latest. What the stream brings of its key comes again behind it,
    until it came itself, or something that was sent after its delay.
    """

    __slots__ = ("at", "delay", "heard", "number", "stream")

    def __init__(self, at: float, delay: float, number: str, stream: Stream) -> None:
        self.at = at
        self.delay = delay
        self.number = number
        self.heard = math.inf
        self.stream: Stream | None = stream

    def is_ahead_of(self, lease: Lease) -> bool:
        """Say whether a message that came just now of this key comes again behind it."""
        if lease.stream is not self.stream:
            return False
        if lease.since <= self.heard + self.delay and lease.raw.message.message_id != self.number:
            return True
        self.stream = None
        return False

    def left(self, now: float) -> int:
        """Return for how many seconds what is behind it is put off: not at all without a delay, or longer than that."""
        return min(math.ceil(max(self.at + self.delay - now, 0.0)) + 1, int(GCP.extension.most)) if self.delay else 0


class GivenBackKeys:
    """The ordering keys of one consumer of which something was given back, each with the first that was."""

    def __init__(self) -> None:
        self._first: dict[str, GivenBack] = {}

    def __bool__(self) -> bool:
        return bool(self._first)

    def note(self, key: str, lease: Lease, number: str, delay: float, now: float) -> GivenBack | None:
        """Note that a message is given back; None where an earlier one of its key was, that came with it."""
        before = self._first.pop(key, None)  # so that the latest is the last
        if before is not None and lease.came <= before.at:
            self._first[key] = before
            return None
        first = self._first[key] = GivenBack(now, delay, number, lease.stream)
        if len(self._first) > KEYS_KEPT:
            del self._first[next(iter(self._first))]
        return first

    def ahead_of(self, lease: Lease) -> GivenBack | None:
        """Return what a message that came just now comes again behind: it was on its way when that was given back."""
        first = self._first.get(lease.raw.message.ordering_key)
        return first if first is not None and first.is_ahead_of(lease) else None
