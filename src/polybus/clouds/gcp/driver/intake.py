"""What a consumer's streams bring, until the bus asks for it."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from polybus.clock import Clock, Timer, wait_for
from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.faults import fault
from polybus.clouds.gcp.driver.given_back import GivenBack, GivenBackKeys
from polybus.clouds.gcp.driver.receipts import Receipts
from polybus.clouds.gcp.driver.settle import modify_each
from polybus.clouds.gcp.driver.sizing import Sizing
from polybus.clouds.gcp.driver.stream import CLOSING, Lease, Stream
from polybus.clouds.gcp.driver.wire import Pb
from polybus.errors import BackendError, Fault

__all__ = ["Intake"]

# Seconds between the looks at what falls due here; all of it is due in tens of seconds.
TICK = 1.0
# Seconds between heartbeats, as the library's own client sends them, and the server.
HEARTBEAT = 30.0
# A stream that was silent for two of the server's heartbeats, and 10 s more for them to come, is dead: a connection
# that was cut without a word, or a stream that was never served, shows in no other way.
SILENCE = 2 * HEARTBEAT + 10.0
# A stream that lived for this many seconds had worked: Pub/Sub ends streams as a matter of course, every half hour or
# so, and that is nothing to report. One that ended sooner is an error, or it would be reopened without a pause.
LIVED = 5.0
# Seconds longer than it was asked to that a receive waits for what is here and not confirmed yet, or for the first word
# of a stream: that nothing came would be no answer. A call is answered or given up by then, and a heartbeat is due.
LATE = HEARTBEAT + 10.0


class Intake:
    """The streams of one consumer, and the buffer between them and the bus.

    The server keeps to each stream's limit, so that what waits here is what the bus asked for. What all the same waits
    for most of its lease is given back: it isn't needed here, and may be elsewhere. `prefetch` is what the bus asks for
    as long as it knows no better.
    """

    def __init__(
        self,
        clients: Clients,
        subscription: str,
        *,
        seconds: int,
        prefetch: int,
        ordered: bool,
        clock: Clock,
    ) -> None:
        self._clients = clients
        self._subscription = subscription
        self._seconds = seconds
        self._sizing = Sizing(prefetch, ordered=ordered, clock=clock)
        self._ordered = ordered
        self._clock = clock
        self._receipts = Receipts(
            clients,
            subscription,
            seconds=seconds,
            clock=clock,
            on_confirmed=self._confirmed,
            on_lost=self._lost,
        )
        self._ids: list[str] = []
        self._streams: list[Stream] = []
        self._ending: set[Stream] = set()
        self._gone: list[Stream] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._buffer: deque[Lease] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._given_back = GivenBackKeys()
        self._asked = 0
        self._error: Exception | None = None
        self._timer: Timer | None = None
        self._looked = self._beaten = clock.monotonic()
        self._stopping = False
        self._resting = False

    # Taking ----------------------------------------------------------------------------------------------------------

    async def take(self, count: int, wait: float) -> list[Lease]:
        """Return up to `count` messages as soon as there is one, or none after about `wait` seconds."""
        if self._stopping:
            return []
        if self._timer is None:
            self._tick()
        self._drop_overdue(self._clock.monotonic())
        self._resting = False
        self._asked = count
        self._provide()
        if not self._buffer and self._error is None:
            await self._wait(wait)
        late = self._clock.monotonic() + LATE
        while not self._has_answer() and (left := late - self._clock.monotonic()) > 0:
            await self._wait(min(left, TICK))
        self._asked = 0
        self._drop_overdue(self._clock.monotonic())
        if self._streams and not self._has_answer() and not any(stream.answered for stream in self._streams):
            raise TimeoutError(f"{self._subscription}: no word from the server since the stream was opened")
        if not self._buffer and self._error is not None:
            error, self._error = self._error, None
            raise error
        buffer = self._buffer
        if len(buffer) <= count:
            taken = list(buffer)
            buffer.clear()
            return taken
        return [buffer.popleft() for _ in range(count)]

    def _has_answer(self) -> bool:
        if self._buffer or self._error is not None or self._stopping or self._resting:
            return True
        return not self._receipts and any(stream.answered for stream in self._streams)

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

    def drop(self, key: str, lease: Lease, number: str, delay: float) -> GivenBack | None:
        """Let go of what waits of an ordering key of which an earlier message is given back now, as it comes again.

        What is given back after another of its key that came with it has nothing behind it any more, and None is
        returned: what waits then has come again already, and is in order. Otherwise the caller sets `heard`.
        """
        first = self._given_back.note(key, lease, number, delay, self._clock.monotonic())
        if first is None:
            return None
        behind = self._remove(lambda waiting: waiting.raw.message.ordering_key == key)
        if delay:
            self._put_off(behind, first)
        for waiting in behind:  # without a delay they come again at once, by the first one's return
            waiting.over()
        return first

    def _put_off(self, leases: Sequence[Lease], first: GivenBack) -> None:
        """Give back what is behind a message that was given back, so that it doesn't come before that."""
        for lease in leases:
            lease.over()
        ack_ids = [lease.ack_id for lease in leases]
        seconds = first.left(self._clock.monotonic())
        if ack_ids:
            self._background(modify_each(self._clients, self._subscription, ack_ids, seconds))

    def _remove(self, unwanted: Callable[[Lease], bool]) -> list[Lease]:
        """Take out of the buffer, and of what waits to be confirmed; return it, in the order in which it came."""
        found = [lease for lease in self._buffer if unwanted(lease)]
        if found:
            self._buffer = deque(lease for lease in self._buffer if not unwanted(lease))
        return found + self._receipts.take(unwanted)

    # Streams ---------------------------------------------------------------------------------------------------------

    def _provide(self) -> None:
        """See to it that the server may send what was asked for, and no more.

        What waits here is given back sooner or later, which counts as an attempt. So each stream has the room that is
        missing when it is opened, and what it grows by comes from another one.
        """
        missing = self._asked - self._room()
        if missing > 0 and self._error is None:
            self._sweep()
            missing = self._asked - self._room()
        self._sizing.note(self._streams, missing)
        if missing <= 0:
            if self._asked:
                self._sizing.enough()
            return
        if self._error is not None:
            return
        if not self._streams:
            self._open(self._sizing.first(missing, self._handed()))
        elif self._ordered and not any(stream.handed() for stream in self._streams):
            self._start_over()
        elif (size := self._sizing.another(self._streams, missing)) > 0:
            self._open(size)

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        for stream in (*self._streams, *self._gone, *self._ending):
            stream.sweep(now)
        self._gone = [stream for stream in self._gone if stream.out]

    def _start_over(self) -> None:
        """Open one stream instead of those that are too small, of which nothing is in anybody's hands.

        An ordering key stays with the stream that has some of it out, and gets no more than that has room for.
        """
        for stream in list(self._streams):
            self._retire(stream)
        self._open(max(self._asked - self._room(), 1))

    def _handed(self) -> int:
        return sum(stream.handed() for stream in (*self._streams, *self._gone, *self._ending))

    def _room(self) -> int:
        return len(self._buffer) + len(self._receipts) + sum(stream.room() for stream in self._streams)

    def _open(self, limit: int) -> None:
        self._sizing.opened()
        stream = Stream(
            self._clients,
            self._subscription,
            limit=limit,
            client_id=self._ids.pop(0) if self._ids else uuid.uuid4().hex,
            clock=self._clock,
            on_messages=self._arrived,
            on_end=self._ended,
        )
        self._streams.append(stream)

    def _arrived(self, stream: Stream, messages: Sequence[Pb], since: float) -> None:
        now = stream.heard
        until = now + self._seconds
        leases = [Lease(raw.ack_id, until, stream, raw, now, since) for raw in messages]
        stream.out.update(leases)
        if stream.unwanted:
            self._give_back(leases, [stream])
            return
        self._receipts.add([lease for lease in leases if not self._is_behind(lease)] if self._given_back else leases)

    def _is_behind(self, lease: Lease) -> bool:
        """Say whether a message was on its way when an earlier one of its key was given back; then it is, too."""
        first = self._given_back.ahead_of(lease)
        if first is None:
            return False
        self._put_off([lease], first)
        return True

    def _confirmed(self, leases: Sequence[Lease]) -> None:
        self._buffer.extend(leases)
        self._wake()

    def _lost(self, leases: Sequence[Lease], why: Fault | None) -> None:
        """Give back what can't be shown to be ours, and tell the bus where a call failed for it."""
        if why is not None and self._error is None and not self._stopping:
            self._error = BackendError(why)
        self._refuse(leases, anew=why is None)
        self._wake()

    def _ended(self, stream: Stream, error: Exception | None) -> None:
        self._ids.append(stream.client_id)
        if stream.out:
            self._gone.append(stream)
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
        else:
            self._provide()

    def _retire(self, stream: Stream) -> None:
        """End a stream in the background; what it still brings is taken."""
        self._streams.remove(stream)
        self._ending.add(stream)
        self._background(self._finish(stream))

    async def _finish(self, stream: Stream) -> None:
        await stream.finish()
        if stream in self._ending:  # it was cut
            self._ended(stream, None)

    def _replace(self, stream: Stream) -> None:
        """Leave a stream that is dead, with its connection, and open another one in its place."""
        self._streams.remove(stream)
        self._ids.append(stream.client_id)
        if stream.out:
            self._gone.append(stream)
        self._background(stream.give_up())
        self._provide()

    def _background(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Giving back -----------------------------------------------------------------------------------------------------

    def _drop_overdue(self, now: float, left: float = 0.0) -> None:
        """Give back what has waited here until `left` seconds before its lease ends."""
        overdue = [lease for lease in self._buffer if lease.until <= now + left]
        if overdue:
            leases = set(overdue)
            self._buffer = deque(lease for lease in self._buffer if lease not in leases)
            self._refuse(overdue)

    def _refuse(self, leases: Sequence[Lease], *, anew: bool = False) -> None:
        """Give back, and leave its stream where what else that brings is no better.

        So it is where nobody knows when it was sent (`anew`), and where there is an order: what came after it and isn't
        handed on comes again behind it, and what is under way to us on that stream would overtake it. Otherwise more
        came than the bus had room for: the latest stream is closed.
        """
        streams = list({lease.stream: None for lease in leases})
        if anew or self._ordered:
            for stream in streams:
                self._leave(stream)
        elif self._streams:
            streams = self._streams[-1:]
            self._retire(streams[0])
        self._give_back(leases, streams)
        self._provide()

    def lose(self, lease: Lease) -> None:
        """Take note that a delivery was lost, unsettled: where there is an order, its stream is left.

        When its lease ends at the server, the later ones of its key come again behind it. Those that wait here, or were
        on their way to us by then, would pass it: their ack ids are no good any more, and nothing shows that.
        """
        if not self._ordered or self._stopping:
            return
        lease.over()
        if not lease.stream.unwanted:
            self._leave(lease.stream)
            self._provide()

    def rest(self) -> None:
        """Leave all streams, and give back what they brought and nobody took, until more is asked for."""
        self._resting = True
        self._asked = 0
        for stream in list(self._streams):
            self._leave(stream)
        self._wake()

    def _leave(self, stream: Stream) -> None:
        """Give back what a stream brought that waits here, and what it still brings, and end it."""
        stream.unwanted = True
        if stream in self._streams:
            self._retire(stream)
        self._give_back(self._remove(lambda lease: lease.stream is stream), [stream])

    def _give_back(self, leases: Sequence[Lease], streams: Sequence[Stream] = ()) -> None:
        """Give back once `streams` have ended, or it would come again on those; each time is an attempt."""
        if leases:
            for lease in leases:
                lease.over()
            self._background(self._after([lease.ack_id for lease in leases], streams))

    async def _after(self, ack_ids: Sequence[str], streams: Sequence[Stream]) -> None:
        for stream in streams:
            await stream.ended()
        # Whether that is heard or not: then they end by themselves.
        await modify_each(self._clients, self._subscription, ack_ids, 0)

    # Time ------------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = self._clock.call_later(TICK, self._tick)
        now = self._clock.monotonic()
        stood_still, self._looked = now - self._looked > 2 * TICK, now
        if now - self._beaten >= HEARTBEAT:
            self._beaten = now
            for stream in self._streams:
                stream.beat()
        # Not where time has jumped: what the server said meanwhile is yet to be read.
        silent = [] if stood_still else [stream for stream in self._streams if now - stream.heard > SILENCE]
        for stream in silent:
            self._replace(stream)
        self._sizing.note(self._streams, self._asked - self._room())
        if (unneeded := self._sizing.unneeded(self._streams)) is not None:
            self._retire(unneeded)
        self._drop_overdue(now, self._seconds / 4)
        self._provide()

    # Ending ----------------------------------------------------------------------------------------------------------

    async def stop(self) -> list[Lease]:
        """End all streams and return what was never taken; what isn't confirmed is given back from here."""
        self._stopping = True
        self._wake()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(stream.finish() for stream in self._streams))
        self._receipts.cancel()
        self._give_back(self._receipts.take())
        if self._tasks:
            await asyncio.wait([asyncio.ensure_future(self._bounded(task)) for task in self._tasks])
        taken = list(self._buffer)
        self._buffer.clear()
        return taken

    async def _bounded(self, task: asyncio.Task[Any]) -> None:
        try:
            await wait_for(self._clock, asyncio.shield(task), CLOSING)
        except TimeoutError:
            task.cancel()

    async def close(self) -> None:
        """End what `stop` didn't, at once."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self._receipts.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for stream in [*self._streams, *self._ending]:
            await stream.cut()
        if tasks:
            await asyncio.wait(tasks)
