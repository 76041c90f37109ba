"""One streaming pull: what it has out, when what it brings was sent, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import msgspec
from google.api_core import exceptions
from google.pubsub_v1 import types

from polybus.clock import Clock, wait_for
from polybus.clouds.gcp.driver.clients import Clients, noted
from polybus.clouds.gcp.driver.line import Line
from polybus.clouds.gcp.driver.wire import Pb

__all__ = ["GRANT", "Lease", "Stream"]

_Request: Any = types.StreamingPullRequest.pb()

# grpc-stubs has no name for what a stream reads at its end.
_END: object = grpc.aio.EOF  # type: ignore[attr-defined]

# Seconds of lease that the server gives to what it sends, until we set it ourselves at receipt (`receipts`). Twice the
# 30 s between its heartbeats: what comes on a stream that is alive can be proven to be younger than that. It is also
# for how long a message stays away that was sent to a connection which is dead, or to a process that ends just then.
GRANT = 60
# Seconds that a stream which was closed here gets to deliver what is under way. What it would bring later stays leased
# until its lease ends; a round trip is far less.
CLOSING = 3.0
# A stream that was silent for more than this many seconds, or whose loop stood still, brings what has piled up: for as
# long again, what is read may have been sent when the silence began. Reading all that fits into a window takes less.
QUIET = 5.0


class Lease(msgspec.Struct, eq=False):
    """A delivery's receipt: `until` (a reading of the clock's `monotonic`) is when the lease ends, by our count.

    `raw` is the message until it is handed on, which came at `came` and was sent no earlier than `since`. `held` is
    whether it is in this process: given back with a delay it is still out, for the server.
    """

    ack_id: str
    until: float
    stream: Stream
    raw: Pb
    came: float
    since: float
    held: bool = True

    def over(self) -> None:
        """Note that the delivery is settled, or lost: its stream has room for another."""
        self.stream.out.discard(self)


class Stream:
    """A stream that brings up to `limit` messages that aren't settled; `out` are those.

    `on_messages` gets what comes, with the time before which none of it was sent (of the clock's `monotonic`). `on_end`
    is called once, with the error unless it ended as asked; not where it was cut.
    """

    def __init__(
        self,
        clients: Clients,
        subscription: str,
        *,
        limit: int,
        client_id: str,
        clock: Clock,
        on_messages: Callable[[Stream, Sequence[Pb], float], None],
        on_end: Callable[[Stream, Exception | None], None],
    ) -> None:
        self.limit = limit
        self.client_id = client_id
        self.out: set[Lease] = set()
        self.opened = clock.monotonic()
        self.heard = self.opened
        self.answered = False
        self.exactly_once = False
        self.unwanted = False
        """What it still brings is to be given back."""
        self._clients = clients
        self._subscription = subscription
        self._clock = clock
        self._on_messages = on_messages
        self._on_end = on_end
        self._floor = self._floor_ends = self.opened
        self.line: Line | None = None
        # protocol_version 1: the server sends heartbeats too. The client's id lets ordering keys stay with this stream
        # when it is opened again, and must be no other live stream's (StreamingPullRequest in the API reference).
        first = _Request(
            subscription=subscription,
            stream_ack_deadline_seconds=GRANT,
            max_outstanding_messages=limit,
            client_id=client_id,
            protocol_version=1,
        )
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._requests.put_nowait(first)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def room(self) -> int:
        """Return how many more messages the server may send, by our count."""
        return self.limit - len(self.out)

    def sweep(self, now: float) -> None:
        """Forget what was never settled and whose lease is over."""
        self.out = {lease for lease in self.out if lease.until > now}

    def handed(self) -> int:
        """Return how many of its messages were handed on and are neither settled nor put off."""
        return sum(lease.held and lease.raw is None for lease in self.out)

    # Ending ----------------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Tell the server that this side is alive."""
        self._requests.put_nowait(_Request())

    async def finish(self) -> None:
        """End the stream once what is under way has come; returns when nothing comes any more."""
        self._requests.put_nowait(None)
        try:
            await wait_for(self._clock, asyncio.shield(self._task), CLOSING)
        except TimeoutError:
            await self.cut()

    async def ended(self) -> None:
        """Return once nothing comes any more; somebody else ends it."""
        await asyncio.wait([self._task])

    async def cut(self) -> None:
        """End the stream at once; what is under way stays leased until its lease ends."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def give_up(self) -> None:
        """End a stream whose connection is dead, and have no other begin on that."""
        if self.line is not None:
            self._clients.leave(self.line)
        await self.cut()

    # Reading ---------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        error: Exception | None = None
        try:
            line = self.line = await self._clients.stream_line()
            try:
                await self._read(line)
            finally:
                self._clients.free(line)
        except Exception as raised:  # noqa: BLE001 - whoever consumes is told
            error = noted(raised, self._subscription)
        self._on_end(self, error)

    async def _read(self, line: Line) -> None:
        failures = line.watch.failures
        call = line.streaming_pull(self._subscription)
        writing = asyncio.get_running_loop().create_task(self._write(call))
        try:
            while (response := await call.read()) is not _END:
                self._take(response)
        except grpc.aio.AioRpcError as error:
            cause = line.watch.since(failures) if error.code() is grpc.StatusCode.UNAVAILABLE else None
            raised = cause or exceptions.from_grpc_error(error)  # type: ignore[no-untyped-call]
        else:
            raised = None
        finally:
            # Both, or the task that feeds the call outlives it and is destroyed while it waits.
            call.cancel()
            writing.cancel()
            await asyncio.wait([writing])
        if raised is not None:
            raise raised

    async def _write(self, call: Any) -> None:
        try:
            while (request := await self._requests.get()) is not None:
                await call.write(request)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call is over, of which its reader hears

    def _take(self, response: Any) -> None:
        since = self._sent_since(self._clock.monotonic())
        self.answered = True
        if response.HasField("subscription_properties"):
            self.exactly_once = response.subscription_properties.exactly_once_delivery_enabled
        if response.received_messages:
            self._on_messages(self, response.received_messages, since)

    def _sent_since(self, now: float) -> float:
        """Return before when nothing was sent of what is read now: what came before it was sent before it.

        That was heard as it came unless it piled up somewhere, here or on the way, which a silence shows.
        """
        heard, self.heard = self.heard, now
        if now - heard > QUIET:
            self._floor, self._floor_ends = heard, now + QUIET
        return self._floor if now < self._floor_ends else heard
