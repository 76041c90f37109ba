"""Pub/Sub's clients, and the connections that they are on, made on the event loop that first calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable, Unauthenticated
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient

from polybus.clouds.gcp.driver import credentials
from polybus.clouds.gcp.driver.endpoint import Place
from polybus.clouds.gcp.driver.faults import refused
from polybus.clouds.gcp.driver.forks import FORKS
from polybus.clouds.gcp.driver.line import Line, Method, google_line, local_line

__all__ = ["QUICK", "Clients", "noted", "upload_seconds"]

# How long one call may take, in seconds. All but publishes are small, and sooner tried again, on a fresh connection,
# than waited for.
QUICK = 10.0
# Seconds after which a caller that gives up a call is taken for right about the connection: an answer takes a fraction.
UNANSWERED = 5.0
# Bytes a second that a publish has at least, beside that: the 10 MB that a request may have take 30 s more.
UPLOAD_RATE = 350_000
# Seconds that finding credentials may take. google-auth asks the machine's metadata server three times, 3 s each, and
# waits in between (google.auth.compute_engine._metadata).
FINDING = 30.0
# Streams on one connection: Google's servers allow 100 calls at once on it (HTTP/2's SETTINGS_MAX_CONCURRENT_STREAMS),
# and what is over waits without a word. Each has two more at most that confirm what it brought.
STREAMS = 30
# Seconds that closing one connection may take: it only cancels what is under way.
CLOSING = 3.0


def upload_seconds(size: int) -> float:
    """Return how long a call that carries `size` bytes may take."""
    return QUICK + size / UPLOAD_RATE


class Clients:
    """The connections of one driver.

    One is for calls that are answered once, so that no stream keeps them waiting; streams share others. One that
    doesn't answer is left behind: what it still has under way may end on it, and the next call makes a fresh one.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        FORKS.refuse_in_child()
        self._place = Place(settings)
        self._credentials: Any = None
        self._lock = asyncio.Lock()
        self._calls: Line | None = None
        self._streams: list[Line] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def endpoint(self) -> str | None:
        """HOST:PORT of a server that isn't Google's, and takes anyone."""
        return self._place.endpoint

    # Calls -----------------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: Callable[[Line], Method],
        request: Any,
        resource: str,
        timeout: float = QUICK,
        line: Line | None = None,
    ) -> Any:
        """Make one call, once, within `timeout` seconds; what it raises names the `resource` in a note.

        `method` picks it of a connection: of `line` while that isn't left. Where credentials couldn't be had,
        google-auth's own error is raised.
        """
        self._forget_refused()
        if line is None or line.left:
            line = self._calls or await self._line()
        failures = line.watch.failures
        begun = asyncio.get_running_loop().time()
        line.used += 1
        try:
            return await method(line)(request=request, retry=None, timeout=timeout)
        except DeadlineExceeded as error:
            self.leave(line)
            error.add_note(resource)
            raise
        except asyncio.CancelledError:
            if asyncio.get_running_loop().time() - begun >= UNANSWERED:
                self.leave(line)
            raise
        except Unauthenticated as error:
            self._forget()
            error.add_note(resource)
            raise
        except ServiceUnavailable as error:
            cause = line.watch.since(failures)
            if cause is None:
                error.add_note(resource)
                raise
        except Exception as error:
            error.add_note(resource)
            raise
        finally:
            self.free(line)
        raise noted(cause, resource)

    async def ready(self) -> None:
        """Find credentials, and make the connection for calls; raises what is wrong with either."""
        if self._calls is None:
            await self._line()

    def made(self) -> tuple[PublisherAsyncClient, SubscriberAsyncClient]:
        """Return both clients, making them here and now if need be; call it on the event loop that uses them."""
        if self._calls is None:
            if self._credentials is None and self.endpoint is None:
                self._credentials = credentials.find()
            self._calls = self._connect()
        return self._calls.publisher, self._calls.subscriber

    async def _line(self) -> Line:
        async with self._lock:
            await self._find()
            if self._calls is None:
                self._calls = self._connect()
            return self._calls

    # Streams ---------------------------------------------------------------------------------------------------------

    async def stream_line(self) -> Line:
        """Return a connection with room for one more stream, which `free` gives back."""
        async with self._lock:
            self._forget_refused()
            await self._find()
            line = next((line for line in self._streams if line.used < STREAMS), None)
            if line is None:
                line = self._connect()
                self._streams.append(line)
            line.used += 1
            return line

    def free(self, line: Line) -> None:
        """Note that a call or stream on a connection has ended."""
        line.used -= 1
        if line.left and not line.used:
            self._close(line)

    def leave(self, line: Line) -> None:
        """Use a connection for nothing new: it doesn't answer."""
        if line.left:
            return
        line.left = True
        if line is self._calls:
            self._calls = None
        elif line in self._streams:
            self._streams.remove(line)
        if not line.used:
            self._close(line)

    # Connecting ------------------------------------------------------------------------------------------------------

    async def _find(self) -> None:
        """Find credentials, once there are any: those that come late are found then."""
        if self._credentials is None and self.endpoint is None:
            # In a thread: it reads files, and may ask the metadata server of the machine.
            self._credentials = await asyncio.wait_for(asyncio.to_thread(credentials.find), FINDING)

    def _forget_refused(self) -> None:
        """Look for credentials anew where those in use were refused: somebody may have replaced them since."""
        if any(refused(line.watch.error) for line in self._lines()):
            self._forget()

    def _forget(self) -> None:
        self._credentials = None
        for line in self._lines():
            self.leave(line)

    def _lines(self) -> list[Line]:
        return [*self._streams, *([self._calls] if self._calls is not None else [])]

    def _connect(self) -> Line:
        FORKS.refuse_in_child()
        if self.endpoint is not None:
            line = local_line(self.endpoint, self._place.ca_file)
        else:
            line = google_line(self._credentials, self._place.api_endpoint, self._place.ca_file)
        FORKS.opened()
        return line

    def _close(self, line: Line) -> None:
        task = asyncio.get_running_loop().create_task(_end(line))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the connections; no call is under way."""
        lines = self._lines()
        self._streams, self._calls = [], None
        for line in lines:
            line.left = True
            self._close(line)
        if self._closing:
            await asyncio.wait(self._closing)


def noted(error: Exception, resource: str) -> Exception:
    """Note the resource on an error that several calls may end with; `faults` reads the first."""
    if not getattr(error, "__notes__", None):
        error.add_note(resource)
    return error


async def _end(line: Line) -> None:
    try:
        async with asyncio.timeout(CLOSING):
            await line.close()
    except TimeoutError:
        pass  # its process's end closes it
    finally:
        FORKS.closed()
