"""One streaming pull: what it has out, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import grpc
from google.pubsub_v1 import SubscriberAsyncClient, types

from polybus.backends.gcp.wire import Pb
from polybus.clock import Clock, wait_for

__all__ = ["Lease", "Stream"]

_Request: Any = types.StreamingPullRequest.pb()

# grpc-stubs has no name for what a stream reads at its end.
_END: object = grpc.aio.EOF  # type: ignore[attr-defined]

# Seconds that a stream which was closed here gets to deliver what is under way. What it would bring later stays leased
# until its lease ends; a round trip is far less.
CLOSING = 3.0


class Lease:
    """A delivery's receipt: `until` (a reading of the clock's `monotonic`) is when the lease ends, by our count."""

    __slots__ = ("ack_id", "stream", "until")

    def __init__(self, ack_id: str, until: float, stream: Stream) -> None:
        self.ack_id = ack_id
        self.until = until
        self.stream = stream

    def over(self) -> None:
        """Note that the delivery is settled, or lost: its stream has room for another."""
        self.stream.out.discard(self)


class Stream:
    """A stream that brings up to `limit` messages that aren't settled; `out` are those.

    `on_messages` gets what comes, `on_end` is called once, with the error unless it ended as asked.
    """

    def __init__(
        self,
        client: SubscriberAsyncClient,
        subscription: str,
        *,
        seconds: int,
        limit: int,
        client_id: str,
        clock: Clock,
        on_messages: Callable[[Stream, Sequence[Pb]], None],
        on_end: Callable[[Stream, Exception | None], None],
    ) -> None:
        self.limit = limit
        self.out: set[Lease] = set()
        self.opened = clock.monotonic()
        self.heard = self.opened
        self.beats = False
        self._client = client
        self._subscription = subscription
        self._clock = clock
        self._on_messages = on_messages
        self._on_end = on_end
        # protocol_version 1: the server sends heartbeats too. The client's id lets ordering keys stay with this
        # consumer when it reconnects (StreamingPullRequest in the API reference).
        first = _Request(
            subscription=subscription,
            stream_ack_deadline_seconds=seconds,
            max_outstanding_messages=limit,
            client_id=client_id,
            protocol_version=1,
        )
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._requests.put_nowait(types.StreamingPullRequest.wrap(first))
        self._task = asyncio.get_running_loop().create_task(self._read())

    def room(self) -> int:
        """Return how many more messages the server may send, by our count."""
        return self.limit - len(self.out)

    def sweep(self, now: float) -> None:
        """Forget what was never settled and whose lease is over."""
        self.out = {lease for lease in self.out if lease.until > now}

    def beat(self) -> None:
        """Tell the server that this side is alive."""
        self._requests.put_nowait(types.StreamingPullRequest.wrap(_Request()))

    async def finish(self) -> None:
        """End the stream once what is under way has come; returns when nothing comes any more."""
        self._requests.put_nowait(None)
        try:
            await wait_for(self._clock, asyncio.shield(self._task), CLOSING)
        except TimeoutError:
            await self.cut()

    async def cut(self) -> None:
        """End the stream at once; what is under way stays leased until its lease ends."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _sending(self) -> AsyncIterator[Any]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self) -> None:
        error: Exception | None = None
        try:
            # The library's defaults are a deadline of 30 minutes, and a retry that would reuse the used-up requests.
            call: Any = await self._client.streaming_pull(
                requests=self._sending(),
                retry=None,
                timeout=None,
                metadata=(("x-goog-request-params", urlencode({"subscription": self._subscription})),),
            )
            while (response := await call.read()) is not _END:
                self._take(types.StreamingPullResponse.pb(response).received_messages)
        except Exception as raised:  # noqa: BLE001 - whoever consumes is told
            raised.add_note(self._subscription)
            error = raised
        self._on_end(self, error)

    def _take(self, messages: Sequence[Pb]) -> None:
        first, self.heard = self.heard == self.opened, self._clock.monotonic()
        if messages:
            self._on_messages(self, messages)
        elif not first:
            self.beats = True
