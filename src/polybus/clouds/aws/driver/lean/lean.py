"""The calls themselves: encoded, signed, sent and read on the event loop, with no thread for any of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from polybus.clouds.aws.driver import faults
from polybus.clouds.aws.driver.lean import codec
from polybus.clouds.aws.driver.lean.connection import Connection, Route, connect
from polybus.clouds.aws.driver.lean.http1 import Answer
from polybus.clouds.aws.driver.lean.pool import Pool
from polybus.clouds.aws.driver.lean.raised import OURS, checked, from_answer, translated
from polybus.clouds.aws.driver.lean.route import Trust, masked, route_of
from polybus.clouds.aws.driver.lean.sigv4 import Keys
from polybus.clouds.aws.driver.lean.template import CannotHonour, Template, keys_of, template
from polybus.clouds.aws.driver.threads import Threads
from polybus.errors import BusClosed

__all__ = ["Lean", "Left", "Line", "Service"]

RETURN = "ChangeMessageVisibilityBatch"
"""The call that gives messages back."""

Left = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""Makes the arguments of RETURN from what a receive brought; None where that is nothing."""

# Seconds for which credentials that need no renewal are taken for the same: asking botocore costs as much as signing.
KEPT = 1.0


# What a receive may bring, for a request that gives it back.
_SAMPLE = {"Messages": [{"ReceiptHandle": "x"}]}

_Sent = tuple[Connection, asyncio.Future[Answer]]


class Line(NamedTuple):
    """Calls that share connections: up to `most` at once to each endpoint, each of which waits `timeout` seconds."""

    kind: str
    most: int
    timeout: float


class _Call:
    """How one call to one address is made: its requests, their way, and what is said of that."""

    __slots__ = ("proxy_authorization", "proxy_url", "route", "template")

    def __init__(self, made: Template, route: Route, proxy_url: str | None) -> None:
        self.template = made
        self.route = route
        self.proxy_url = masked(proxy_url)
        plain = route.proxy is not None and route.tls is None
        self.proxy_authorization = route.proxy[2] if plain and route.proxy is not None else None


class Service:
    """One client of boto3's, as far as these calls need it: its credentials, and how it makes each call."""

    # Here for who mustn't import this on an event loop: with it comes most of botocore.
    cannot = CannotHonour
    line = Line

    def __init__(
        self, lean: Lean, client: Any, credentials: Any, trust: Trust, threads: Threads, *, validate: bool
    ) -> None:
        self.lean = lean
        self.client = client
        self._credentials = credentials
        self._trust = trust
        self._threads = threads
        self._validate = validate
        self._renewable = faults.renewable(credentials)
        self._keys: Keys | None = None
        self._keys_until = 0.0
        self._calls: dict[tuple[str, str], _Call] = {}
        self._making = threading.Lock()

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> _Call:
        """Return how to make a call; the first one to an address asks botocore, in a thread. Raises CannotHonour."""
        key = (operation, arguments.get("QueueUrl", ""))
        found = self._calls.get(key)
        if found is None:
            made: _Call = await self._in_thread(partial(self._make, key, arguments))
            found = made
        if self._validate:
            checked(self.client, operation, arguments)
        return found

    def knows(self, operation: str, arguments: Mapping[str, Any]) -> bool:
        """Say whether a call to the address of these arguments was made before."""
        return (operation, arguments.get("QueueUrl", "")) in self._calls

    async def keys(self) -> Keys:
        """Return the credentials to sign with now; those that have to be renewed are, in a thread."""
        now = time.monotonic()
        if self._keys is not None and now < self._keys_until:
            return self._keys
        if self._renewable and self._credentials.refresh_needed():
            renewed: Keys = await self._in_thread(partial(keys_of, self._credentials))
            return renewed
        self._keys, self._keys_until = keys_of(self._credentials), now + KEPT
        return self._keys

    def _make(self, key: tuple[str, str], arguments: Mapping[str, Any]) -> _Call:
        with self._making:
            found = self._calls.get(key)
            if found is None:
                made = template(self.client, key[0], arguments, self._credentials)
                found = self._calls[key] = _Call(made, *route_of(self.client, made.url, self._trust))
            return found

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(self._threads.submit(work))


class Lean:
    """Makes the calls of HOT, over connections of its own; every loop that it is used on has some.

    `threads` are for what botocore does by blocking, and for names of hosts.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._pools: dict[tuple[asyncio.AbstractEventLoop, str, Route], Pool] = {}
        self._left: set[asyncio.Task[None]] = set()
        self._closed = False

    async def call(self, service: Service, operation: str, arguments: Mapping[str, Any], line: Line) -> dict[str, Any]:
        """Make a call, and return what boto3 would; raise what boto3 would, or CannotHonour before anything is sent.

        A call that is cancelled may have been done.
        """
        self._check()
        return await self._call(service, operation, arguments, line)

    async def _call(self, service: Service, operation: str, arguments: Mapping[str, Any], line: Line) -> dict[str, Any]:
        how = await service.call(operation, arguments)
        try:
            connection, answer = await self._send(service, how, arguments, line)
            try:
                answered = await answer
            except asyncio.CancelledError:
                connection.abort()  # nobody is there for what comes
                raise
            return self._read(service, how, arguments, answered)
        except OURS as error:
            raise self._translated(how, error) from error

    async def poll(
        self,
        service: Service,
        arguments: Mapping[str, Any],
        line: Line,
        left: Left,
    ) -> dict[str, Any]:
        """Receive, as `call` does; where the caller is cancelled meanwhile, what comes all the same is given back."""
        self._check()
        how = await service.call("ReceiveMessage", arguments)
        if not service.knows(RETURN, arguments):  # before it is needed, which may be when all is closed
            await service.call(RETURN, left(_SAMPLE) or {})
        try:
            sent = await self._send(service, how, arguments, line)
        except OURS as error:
            raise self._translated(how, error) from error
        try:
            answered = await asyncio.shield(sent[1])
            found = self._read(service, how, arguments, answered)
        except asyncio.CancelledError:
            self._keep(self._end_poll(service, how, sent, line, left))
            raise
        except codec.Damaged as error:
            self._keep(self._end_poll(service, how, sent, line, left))
            raise self._translated(how, error) from error
        except OURS as error:
            raise self._translated(how, error) from error
        return found

    def discard(self) -> None:
        """Use no connection again that is open now."""
        loop = asyncio.get_running_loop()
        for (theirs, _, _), pool in self._pools.items():
            if theirs is loop:
                pool.discard()

    def close(self) -> None:
        """Close connections; polls that nobody waits for end by themselves, as long as their loop runs."""
        self._closed = True
        pools, self._pools = self._pools, {}
        here = _running()
        for (loop, _, _), pool in pools.items():
            if loop is here:
                pool.close()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(pool.close)

    # ---------------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        self._threads.check()
        if self._closed:
            raise BusClosed("closed")

    async def _send(self, service: Service, how: _Call, arguments: Mapping[str, Any], line: Line) -> _Sent:
        body = how.template.encode(arguments)
        keys = await service.keys()
        connection = await self._pool(how.route, line).acquire()
        try:
            # Signed now: who waited for a connection has waited for as long as it took.
            request = how.template.request(body, keys, time.time(), proxy_authorization=how.proxy_authorization)
            return connection, connection.send(request, line.timeout)
        except BaseException:
            connection.freed(connection)
            raise

    def _read(self, service: Service, how: _Call, arguments: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        if answer.status >= 300:
            raise from_answer(service.client, how.template, answer)
        found = how.template.decode(answer)
        codec.check_digests(how.template.operation, arguments, found)
        return found

    def _translated(self, how: _Call, error: Exception) -> Exception:
        return translated(error, how.template.operation, how.template.url, how.proxy_url)

    def _pool(self, route: Route, line: Line) -> Pool:
        loop = asyncio.get_running_loop()
        key = (loop, line.kind, route)
        pool = self._pools.get(key)
        if pool is None:
            for old in [each for each in self._pools if each[0].is_closed()]:
                del self._pools[old]
            pool = self._pools[key] = Pool(partial(connect, route, _Resolver(self._threads)), line.most)
            if self._closed:
                pool.close()
        return pool

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    async def _end_poll(self, service: Service, how: _Call, sent: _Sent, line: Line, left: Left) -> None:
        """Wait for an answer that nobody waits for any more, and give back what it brings; ends with the loop."""
        connection, answer = sent
        try:
            answered = await answer
            arguments = left(how.template.decode(answered)) if answered.status < 300 else None
            if arguments is not None:
                await self._call(service, RETURN, arguments, line)
        except asyncio.CancelledError:
            connection.abort()
            raise
        except Exception:  # noqa: BLE001, S110 - nobody is there to be told; what it was about comes back with its lease
            pass


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Resolver:
    """Looks up the addresses of an endpoint's host, once for all that ask at the same time."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._asking: asyncio.Future[Sequence[Any]] | None = None

    async def __call__(self, host: str, port: int) -> Sequence[Any]:
        if self._asking is None:
            import socket

            look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            try:
                self._asking = asyncio.wrap_future(self._threads.submit(look_up))
            except BusClosed:  # what a poll brings after the end is given back all the same
                self._asking = asyncio.get_running_loop().run_in_executor(None, look_up)
            self._asking.add_done_callback(self._answered)
        return await asyncio.shield(self._asking)

    def _answered(self, asked: asyncio.Future[Sequence[Any]]) -> None:
        self._asking = None
        if not asked.cancelled():
            asked.exception()  # seen, even where nobody waits any more
