"""What a publisher and a consumer can be told, and how far ahead of its handlers a consumer takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from polybus.bus.retry import RetryPolicy
from polybus.durations import Duration, seconds

__all__ = ["ConsumerOptions", "Pace", "PublisherOptions"]


@dataclass(init=False, frozen=True, slots=True)
class PublisherOptions:
    """How messages are sent.

    Durations are given as numbers of seconds, texts such as "5ms" or timedeltas, and kept as seconds. `linger` is how
    long a batch that isn't full may wait while others are under way; with nothing under way nothing waits.
    `max_outstanding` messages and `max_outstanding_bytes` are what may be accepted from the caller and not yet sent:
    publish waits for room (contract, P7). `deadline` is how long one publish takes at most, from the call: its wait for
    the opening and for room, its tries and their answers (contract, P5).
    `batches_in_flight` is how many calls one target has under way: enough to hide the round trip to a cloud region
    (10 ms at 4,000 messages a second in batches of 10 is 4), and few enough not to be throttled for it. `retry` is a
    `polybus.bus.retry.RetryPolicy(initial, maximum)`: how long to wait between tries of a call that failed.
    """

    linger: float = 0.005
    max_outstanding: int = 10_000
    max_outstanding_bytes: int = 64 * 1024 * 1024
    deadline: float = 60.0
    batches_in_flight: int = 8
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __init__(  # noqa: PLR0917 - its fields, in their order
        self,
        linger: Duration = 0.005,
        max_outstanding: int = 10_000,
        max_outstanding_bytes: int = 64 * 1024 * 1024,
        deadline: Duration = 60.0,
        batches_in_flight: int = 8,
        retry: RetryPolicy | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "linger", seconds(linger, "linger"))
        put(self, "max_outstanding", max_outstanding)
        put(self, "max_outstanding_bytes", max_outstanding_bytes)
        put(self, "deadline", seconds(deadline, "deadline"))
        put(self, "batches_in_flight", batches_in_flight)
        put(self, "retry", RetryPolicy() if retry is None else retry)
        self._check()

    def _check(self) -> None:
        if self.linger < 0 or self.deadline <= 0:
            raise ValueError(
                f"linger {self.linger!r} must be 0 or more, deadline {self.deadline!r} more than 0 seconds"
            )
        if min(self.max_outstanding, self.max_outstanding_bytes, self.batches_in_flight) < 1:
            raise ValueError("max_outstanding, max_outstanding_bytes and batches_in_flight must be at least 1")


@dataclass(init=False, frozen=True, slots=True)
class ConsumerOptions:
    """How messages are received and handled.

    Durations are given as numbers of seconds, texts such as "1h" or timedeltas, and kept as seconds. `concurrency`
    handlers run at once; `prefetch` messages are held at most, those that are being handled included. Where it is None
    that is twice the concurrency, and no more than the concurrency while handlers take a second or longer on a backend
    that counts what is given back as an attempt (SQS, Google). What can't be handled yet, since it waits for its retry
    or behind others of its ordering key, is held besides, up to 1,000. `max_lease` is how long a delivery's lease is
    extended at most, and from its receipt on how long a handler that has settled it by itself keeps its place. `grace`
    is how long handlers may go on after a drain began. `retry` is a `polybus.bus.retry.RetryPolicy(initial, maximum)`:
    how long to wait between tries to receive and to settle; between attempts of a message it is the topology's backoff.
    """

    concurrency: int = 16
    prefetch: int | None = None
    max_lease: float = 3600.0
    grace: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __init__(
        self,
        concurrency: int = 16,
        prefetch: int | None = None,
        max_lease: Duration = 3600.0,
        grace: Duration = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "concurrency", concurrency)
        put(self, "prefetch", prefetch)
        put(self, "max_lease", seconds(max_lease, "max_lease"))
        put(self, "grace", seconds(grace, "grace"))
        put(self, "retry", RetryPolicy() if retry is None else retry)
        self._check()

    def _check(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"concurrency={self.concurrency!r}: at least 1")
        if self.prefetch is not None and self.prefetch < self.concurrency:
            raise ValueError(f"prefetch={self.prefetch!r}: at least the concurrency, {self.concurrency}")
        # SQS ends a message's invisibility 12 hours after it was received, whatever is asked for.
        if not 0 < self.max_lease <= 43_200:
            raise ValueError(f"max_lease={self.max_lease!r}: more than 0 s, at most 43,200 s (12 h)")
        if self.grace < 0:
            raise ValueError(f"grace={self.grace!r}: 0 s or more")

    @property
    def window(self) -> int:
        """How many messages are held at most, beside those that can't be handled yet."""
        return self.prefetch if self.prefetch is not None else 2 * self.concurrency


# Seconds that handlers may take, on average, for messages to be held ready behind them. What one receive brings within
# a round trip saves nothing where a handler takes longer than that; and what waits behind a handler is given back at
# each drain, which backends that count every delivery (SQS) take for an attempt (contract, D5).
BRISK = 1.0
# What the latest call of a handler counts in the average: about the last ten.
LATEST = 0.2


class Pace:
    """Says how many messages to hold: those of the options, or as many as are handled at once where that is slow.

    Only where nobody chose `prefetch`, where a give-back counts as an attempt (`counts`), and once `follow` was called:
    who iterates by hand tells no pace. Nothing is known before the first handler has ended: a service that is restarted
    again and again must not take ahead each time.
    """

    def __init__(self, options: ConsumerOptions, *, counts: bool) -> None:
        self._options = options
        self._may_adapt = counts and options.prefetch is None
        self.adapts = False
        self._took: float | None = None

    @property
    def at_first(self) -> int:
        """How many messages a driver may take before a handler has ended; who iterates by hand asks for more."""
        return self._options.concurrency if self._may_adapt else self._options.window

    def resize(self, options: ConsumerOptions) -> None:
        """Go by other options."""
        self._options = options

    def follow(self) -> None:
        """Go by how long handlers take, from now on."""
        self.adapts = self._may_adapt

    @property
    def window(self) -> int:
        """How many messages to hold at most, beside those that can't be handled yet."""
        if not self.adapts or (self._took is not None and self._took < BRISK):
            return self._options.window
        return self._options.concurrency

    def took(self, seconds: float) -> None:
        """Note how long a handler took."""
        self._took = seconds if self._took is None else self._took + LATEST * (seconds - self._took)
