"""What a consumer's streams bring, until the bus asks for it."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence

from google.pubsub_v1 import SubscriberAsyncClient

from polybus.backends.gcp.faults import fault
from polybus.backends.gcp.settle import modify_each
from polybus.backends.gcp.stream import Lease, Stream
from polybus.backends.gcp.wire import Pb
from polybus.clock import Clock, Timer

__all__ = ["Intake"]

# Seconds between the looks at what falls due here; all of it is due in tens of seconds.
TICK = 1.0
# Seconds between heartbeats, as the library's own client sends them.
HEARTBEAT = 30.0
# A stream whose server sends heartbeats and has been silent for three is dead: a connection that was cut without a word
# shows in no other way.
SILENCE = 3 * HEARTBEAT
# A stream that lived for this many seconds had worked: Pub/Sub ends streams as a matter of course, every half hour or
# so, and that is nothing to report. One that ended sooner is an error, or it would be reopened without a pause.
LIVED = 5.0
# Pub/Sub doesn't say when a lease began. It is counted from this many seconds before the response arrived (a quarter of
# a short lease): a response takes half a round trip, and waits here while other callbacks of the loop run.
TRANSIT = 5.0
# What is nacked with a delay, or held back in its order, is still out for the server. Streams with room for that many
# more are opened beside the first; the bus holds back at most as many (contract, D4).
HELD_BACK = 1_000
# Seconds after which a stream that was opened for them, and isn't needed any more, is closed.
SPARE = 60.0


class Intake:
    """The streams of one consumer, and the buffer between them and the bus.

    The server keeps to each stream's limit, so that what waits here is what the bus asked for. It is more only for a
    while after a reconnect or where much was held back; its leases are extended here, until it is taken.
    """

    def __init__(
        self, client: SubscriberAsyncClient, subscription: str, *, seconds: int, prefetch: int, clock: Clock
    ) -> None:
        self._client = client
        self._subscription = subscription
        self._seconds = seconds
        self._prefetch = prefetch
        self._clock = clock
        self._id = uuid.uuid4().hex
        self._streams: list[Stream] = []
        self._ending: set[Stream] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._buffer: deque[tuple[Pb, Lease]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._timer: Timer | None = None
        self._beaten = clock.monotonic()
        self._needed = self._beaten
        self._stopping = False

    # Taking ----------------------------------------------------------------------------------------------------------

    async def take(self, count: int, wait: float) -> list[tuple[Pb, Lease]]:
        """Return up to `count` messages as soon as there is one, or none after `wait` seconds."""
        if self._stopping:
            return []
        self._provide(count)
        if not self._buffer and self._error is None:
            await self._wait(wait)
        if not self._buffer and self._error is not None:
            error, self._error = self._error, None
            raise error
        buffer = self._buffer
        if len(buffer) <= count:
            taken = list(buffer)
            buffer.clear()
            return taken
        return [buffer.popleft() for _ in range(count)]

    async def _wait(self, seconds: float) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def drop(self, key: str) -> None:
        """Forget what waits of an ordering key of which an earlier message was given back: it comes again with it."""
        kept: deque[tuple[Pb, Lease]] = deque()
        for raw, lease in self._buffer:
            if raw.message.ordering_key == key:
                lease.over()
            else:
                kept.append((raw, lease))
        self._buffer = kept

    # Streams ---------------------------------------------------------------------------------------------------------

    def _provide(self, count: int) -> None:
        """See to it that the server may send `count` messages."""
        if self._timer is None:
            self._tick()
        if not self._streams:
            if self._error is None:
                self._open(self._prefetch)
            return
        missing = count - self._room()
        if missing > 0:
            now = self._clock.monotonic()
            for stream in self._streams:
                stream.sweep(now)
            missing = count - self._room()
        if len(self._streams) > 1 and missing + self._streams[-1].limit > 0:
            self._needed = self._clock.monotonic()
        limit = sum(stream.limit for stream in self._streams)
        most = self._prefetch + HELD_BACK - limit
        if missing > 0 and most > 0:
            # Twice the whole each time, so that streams stay few however much is held back.
            self._open(min(max(missing, limit), most))

    def _room(self) -> int:
        return len(self._buffer) + sum(stream.room() for stream in self._streams)

    def _open(self, limit: int) -> None:
        self._needed = self._clock.monotonic()
        stream = Stream(
            self._client,
            self._subscription,
            seconds=self._seconds,
            limit=limit,
            client_id=self._id,
            clock=self._clock,
            on_messages=self._arrived,
            on_end=self._ended,
        )
        self._streams.append(stream)

    def _arrived(self, stream: Stream, messages: Sequence[Pb]) -> None:
        since = max(stream.opened, self._clock.monotonic() - min(TRANSIT, self._seconds / 4))
        until = since + self._seconds
        for received in messages:
            lease = Lease(received.ack_id, until, stream)
            stream.out.add(lease)
            self._buffer.append((received, lease))
        self._wake()

    def _ended(self, stream: Stream, error: Exception | None) -> None:
        if stream in self._ending:
            self._ending.discard(stream)
            return
        self._streams.remove(stream)
        if self._stopping:
            return
        lived = self._clock.monotonic() - stream.opened >= LIVED
        if error is None and not lived:
            error = ConnectionError(f"{self._subscription}: the server ended the stream as soon as it was opened")
        if error is not None and not (lived and fault(error).retryable):
            self._error = error
            self._wake()
        elif not self._streams:
            self._open(self._prefetch)

    def _retire(self, stream: Stream) -> None:
        """End a stream in the background; what it still brings is buffered."""
        self._streams.remove(stream)
        self._ending.add(stream)
        self._background(asyncio.get_running_loop().create_task(stream.finish()))

    def _background(self, task: asyncio.Task[object] | asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Time ------------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = self._clock.call_later(TICK, self._tick)
        now = self._clock.monotonic()
        if now - self._beaten >= HEARTBEAT:
            self._beaten = now
            for stream in self._streams:
                stream.beat()
        elif silent := [stream for stream in self._streams if stream.beats and now - stream.heard > SILENCE]:
            # Not in the tick of a heartbeat: after a long sleep of the machine the server's is yet to come.
            self._retire(silent[0])
            if not self._streams:
                self._open(self._prefetch)
        if len(self._streams) > 1 and now - self._needed > SPARE:
            self._needed = now
            self._retire(self._streams[-1])
        self._keep(now)

    def _keep(self, now: float) -> None:
        """Extend the leases of what waits here, once half of one is over; forget what was lost all the same."""
        if not self._buffer or min(lease.until for _, lease in self._buffer) - now > self._seconds / 2:
            return
        for _, lease in self._buffer:
            if lease.until <= now:
                lease.over()
        self._buffer = deque(each for each in self._buffer if each[1].until > now)
        leases = [lease for _, lease in self._buffer]
        if leases:
            self._background(asyncio.get_running_loop().create_task(self._extend(leases, now)))

    async def _extend(self, leases: Sequence[Lease], now: float) -> None:
        ack_ids = [lease.ack_id for lease in leases]
        answers = await modify_each(self._client, self._subscription, ack_ids, self._seconds)
        for lease, answer in zip(leases, answers, strict=True):
            if answer is None:
                lease.until = max(lease.until, now + self._seconds)

    # Ending ----------------------------------------------------------------------------------------------------------

    async def stop(self) -> list[tuple[Pb, Lease]]:
        """End all streams and return what was never taken."""
        self._stopping = True
        self._wake()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(stream.finish() for stream in self._streams), *self._tasks)
        taken = list(self._buffer)
        self._buffer.clear()
        return taken

    async def close(self) -> None:
        """End what `stop` didn't, at once."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        for stream in [*self._streams, *self._ending]:
            await stream.cut()
