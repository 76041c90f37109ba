"""The clients of a driver, and the threads that they block; and the way around both for the calls of every message."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from polybus.clouds.aws.driver import faults
from polybus.clouds.aws.driver.boto import new_client
from polybus.clouds.aws.driver.polls import Look, Poll
from polybus.clouds.aws.driver.threads import Threads
from polybus.errors import BindingError

if TYPE_CHECKING:
    from polybus.clouds.aws.driver.lean import Lean, Left, Service

T = TypeVar("T")

__all__ = ["LONG_POLL", "MOST_CONSUMERS", "Clients"]

# Publishes under way at once, and as many settlements, extensions and other calls: each their own, so that a topic that
# doesn't answer can't keep leases from being extended. boto3 is bound by the interpreter lock: more threads hide more
# of the round trip, and give no more throughput (measured: 8 threads are no faster than 1 on a fast server).
THREADS = 16
# Clients that are made at once: SNS's, SQS's, and those for polls. They share one look for credentials.
MAKERS = 4
# Each consumer that waits has a connection, and with boto3 a thread. A bus that needs more is refused, not starved; so
# many threads take some 100 MB.
MOST_CONSUMERS = 4_096
# The longest that ReceiveMessage waits, in seconds (SQS API reference).
LONG_POLL = 20
# Seconds without an answer after which a call has failed: AWS's own take milliseconds, and a publisher's deadline of
# 60 s holds three such calls.
CALL_TIMEOUT = 20
# Seconds that a poll has for its answer on top of the time that it waits, in steps: each step is a client of its own.
POLL_TIMEOUT = 10
STEP = 5

_Key = tuple[str, int | None]

# The calls that a bus makes all the time: these go the lean way.
HOT = frozenset(
    {"ChangeMessageVisibilityBatch", "DeleteMessageBatch", "PublishBatch", "ReceiveMessage", "SendMessageBatch"}
)
# What the binding's setting `client` may say; the first is what there is without it.
CLIENTS = ("lean", "boto3")

_log = logging.getLogger("polybus")


class Clients:
    """The clients of one driver; made at the first call, in a thread, since that reads files and asks for credentials.

    None is kept that was made without credentials, or whose credentials were refused: those that come later are found.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        chosen = settings.get("client", CLIENTS[0])
        if chosen not in CLIENTS:
            raise BindingError(f"settings.client: {chosen!r}; allowed: {', '.join(CLIENTS)}")
        self._settings = settings
        self._leanly: bool = chosen == "lean"
        self._lean: Lean | None = None
        self._services: dict[Any, Service] = {}
        self._made: dict[_Key, Any] = {}
        self._making: dict[_Key, asyncio.Future[Any]] = {}
        self._session: Any = None
        self._refused: Any = None
        self._lock = threading.Lock()
        self._failed: tuple[float, Exception] | None = None
        self._publishing = Threads(THREADS, "polybus-aws-publish")
        self._calls = Threads(THREADS, "polybus-aws")
        self._polls = Threads(MOST_CONSUMERS, "polybus-aws-poll")
        self._makers = Threads(MAKERS, "polybus-aws-client")

    @property
    def lean(self) -> bool:
        """Whether the calls of every message go the lean way: as the settings say, until that can't be kept to."""
        return self._leanly

    @property
    def long_poll(self) -> int:
        """How long a receive may wait, in seconds; the binding's setting `long_poll` shortens it, for quick drains."""
        return min(int(self._settings.get("long_poll", LONG_POLL)), LONG_POLL)

    async def warm(self, service: str) -> None:
        """Make the client of a service, so that what is wrong with the configuration is said at once.

        Credentials that can't be had now are no reason to give up: each call looks for them again.
        """
        try:
            await self.get(service)
        except Exception as error:
            if not faults.fault(error).retryable:
                raise

    async def get(self, service: str, wait: int | None = None) -> Any:
        """Return the client of a service; with `wait`, one for polls that wait so many seconds."""
        return await self._get(_key(service, wait))

    async def _get(self, key: _Key) -> Any:
        client = self._made.get(key)
        if client is not None:
            return client
        making = self._making.get(key)
        if making is None:
            # In threads of their own: those for calls may all be waiting for a server that doesn't answer.
            making = asyncio.wrap_future(self._makers.submit(self._make, key))
            self._making[key] = making
            making.add_done_callback(partial(self._end_making, key))
        return await asyncio.shield(making)

    def _end_making(self, key: _Key, making: asyncio.Future[Any]) -> None:
        self._making.pop(key, None)
        if not making.cancelled():
            making.exception()  # seen, even where all that waited were cancelled

    def made(self, service: str) -> Any:
        """Return the client of a service, making it here and now if need be; it can be used for long polls."""
        self._calls.check()
        key = _key(service, LONG_POLL)
        return self._made.get(key) or self._make(key)

    async def run(self, call: Callable[[], T]) -> T:
        """Run a blocking call in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._calls, call)

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        """Make one call of a service, by AWS's name of it; what it raises names its queue or topic in a note."""
        return await self._call(self._calls, service, operation, arguments)

    async def publish(self, service: str, operation: str, **arguments: Any) -> Any:
        """Make one call that publishes."""
        return await self._call(self._publishing, service, operation, arguments)

    async def _call(self, threads: Threads, service: str, operation: str, arguments: Mapping[str, Any]) -> Any:
        key = _key(service, None)
        client = await self._get(key)
        address = arguments.get("QueueUrl") or arguments.get("TopicArn", "")
        way = self._way(client) if operation in HOT else None
        if way is not None:
            kind = "publish" if threads is self._publishing else "call"
            made = way.lean.call(way, operation, arguments, way.line(kind, THREADS, CALL_TIMEOUT))
            try:
                return await self._by_lean(way, address, made)
            except way.cannot as reason:
                self._leave_to_boto3(reason)
            except asyncio.CancelledError:
                way.lean.discard()  # as below
                raise
        call = partial(getattr(client, _method(operation)), **arguments)
        checked = partial(self._checked, key, client, address, call)
        running = threads.submit(checked)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            # Whoever called has waited for long enough: as good as no answer.
            threads.stand_in(running)
            self._replace(key, client)
            raise

    async def receive(self, arguments: Mapping[str, Any], wait: int, left: Left) -> Mapping[str, Any]:
        """Receive from a queue, waiting up to `wait` seconds; what it raises names the queue.

        Where the caller is cancelled meanwhile, what is received all the same is given back: by a call of
        ChangeMessageVisibilityBatch whose arguments `left` makes of the answer.
        """
        address = arguments["QueueUrl"]
        way = self._way(await self._get(_key("sqs", None))) if self._leanly else None
        if way is not None:
            made = way.lean.poll(way, arguments, way.line("poll", MOST_CONSUMERS, wait + POLL_TIMEOUT), left)
            try:
                return await self._by_lean(way, address, made)
            except way.cannot as reason:
                self._leave_to_boto3(reason)

        def receive(client: Any) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = client.receive_message(**arguments)
            return answer

        def give_back(client: Any, answer: Mapping[str, Any]) -> None:
            returning = left(answer)
            if returning is not None:
                client.change_message_visibility_batch(**returning)

        return await self.poll(address, wait, receive, give_back)

    def _way(self, client: Any) -> Service | None:
        if not self._services:
            return None
        self._calls.check()
        return self._services.get(client)

    async def _by_lean(self, way: Service, address: str, made: Awaitable[T]) -> T:
        try:
            return await made
        except way.cannot:
            raise
        except Exception as error:
            error.add_note(address)
            if faults.unanswered(error):
                way.lean.discard()
            elif faults.refused(error):
                # In a thread: looking for credentials reads files, and may ask for some.
                await asyncio.wrap_future(self._makers.submit(self._look_again, way.client, error))
            raise

    def _leave_to_boto3(self, reason: Exception) -> None:
        """Make all calls by boto3 from now on, and say why."""
        if self._leanly:
            self._leanly = False
            self._services.clear()
            _log.info("aws: calls are made by boto3, which takes more CPU time, since %s", reason)

    async def poll(self, address: str, wait: int, work: Callable[[Any], T], left: Callable[[Any, T], object]) -> T:
        """Run work on a queue that waits up to `wait` seconds, with SQS's client; what it raises names the queue.

        Where the caller is cancelled meanwhile, `left` gets the client and what the work brought, in a thread too.
        """
        key = _key("sqs", wait)
        client = await self._get(key)
        checked = partial(self._checked, key, client, address, partial(work, client))
        poll = Poll(checked, partial(left, client))
        self._polls.check()
        running = self._polls.submit(poll)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if poll.leave():
                self._polls.submit(poll.give_back)
            raise

    def later(self, work: Callable[[Any], object]) -> None:
        """Run work with SQS's client in a thread, without anyone waiting for it."""
        client = next((made for key, made in list(self._made.items()) if key[0] == "sqs"), None)
        if client is not None:
            self._polls.submit(partial(work, client))

    async def look(self, address: str, look: Look[T]) -> T:
        """Run a look at a queue in a thread; a caller that is cancelled waits for what was received to be given back.

        That takes one short receive and the giving back: whoever cancels may close everything right after.
        """
        key = _key("sqs", look.wait)
        client = await self._get(key)
        checked = partial(self._checked, key, client, address, partial(look.run, client))
        running = asyncio.wrap_future(self._polls.submit(checked))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            look.stop()
            await asyncio.wait({running})
            if not running.cancelled():
                running.exception()  # seen: the cancellation is what is told
            raise

    def _checked(self, key: _Key, client: Any, address: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:
            error.add_note(address)
            if faults.unanswered(error):
                self._replace(key, client)
            elif faults.refused(error):
                self._look_again(client, error)
            raise

    def _look_again(self, client: Any, error: Exception) -> None:
        """Forget credentials that were refused; raise Expired where the next call has others. Blocks."""
        used = self._forget(client)
        if (faults.expired(error) and faults.renewable(used)) or self._replaced(used):
            raise faults.Expired(error) from error

    def _replace(self, key: _Key, client: Any) -> None:
        """Make a new client next time: the other connections of one that isn't answered may be as dead.

        A router that forgot one flow forgot all that were idle as long, and each would cost a whole timeout.
        """
        kept = self._made.get(key)
        if kept is not None and kept is client:
            # Without the lock, which is held while credentials are looked for: this runs on the loop, too. At worst
            # a client that was made this moment goes as well.
            self._made.pop(key, None)
            self._services.pop(kept, None)
            kept.close()

    def _forget(self, client: Any) -> Any:
        """Look for credentials anew next time; return those that were used."""
        with self._lock:
            if client not in self._made.values():
                return self._refused  # someone was quicker: there may be new ones already
            self._refused = None if self._session is None else self._session.get_credentials()
            old, self._made, self._session = self._made, {}, None
            self._services.clear()
        for each in old.values():
            each.close()
        return self._refused

    def _replaced(self, used: Any) -> bool:
        """Say whether others are found now in place of those that were refused: a file that was written anew, say."""
        if used is None or faults.renewable(used):
            return False
        import boto3

        try:
            found = boto3.Session(region_name=self._settings.get("region")).get_credentials()
        except Exception:  # noqa: BLE001 - what is wrong there is said by the next try
            return False
        return found is not None and (faults.renewable(found) or _keys(found) != _keys(used))

    def _make(self, key: _Key) -> Any:
        begun = time.monotonic()
        with self._lock:
            if key in self._made:
                return self._made[key]
            # Who waited while another looked for credentials in vain, a second or two, need not look again.
            if self._failed is not None and self._failed[0] > begun:
                raise self._failed[1]
            try:
                client = self._made[key] = self._new(*key)
            except Exception as error:
                self._session = None
                self._failed = (time.monotonic(), error)
                raise
            return client

    def _new(self, service: str, wait: int | None) -> Any:
        import boto3

        if self._session is None:
            self._session = boto3.Session(region_name=self._settings.get("region"))
        if self._session.get_credentials() is None:
            raise faults.no_credentials()
        client = new_client(
            self._session,
            service,
            endpoint=self._settings.get("endpoint"),
            read_timeout=CALL_TIMEOUT if wait is None else wait + POLL_TIMEOUT,
            connections=2 * THREADS if wait is None else MOST_CONSUMERS,
            validate=bool(self._settings.get("validate", False)),
        )
        if self._leanly and wait is None:
            self._services[client] = self._service(client)
        return client

    def _service(self, client: Any) -> Service:
        from polybus.clouds.aws.driver.lean import Lean, Service, Trust

        if self._lean is None:
            self._lean = Lean(self._makers)
        core = self._session._session  # botocore's own session: boto3's shows neither it nor its variables
        trust = Trust(core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE"))
        validate = bool(self._settings.get("validate", False))
        return Service(self._lean, client, self._session.get_credentials(), trust, self._makers, validate=validate)

    def close(self) -> None:
        """Close connections; what is still under way was given up, and ends by itself.

        In a forked process they are the parent's: there it does nothing.
        """
        if self._calls.forked:
            return
        for threads in (self._publishing, self._calls, self._polls, self._makers):
            threads.shutdown()
        if self._lean is not None:
            self._lean.close()
        made, self._made = self._made, {}
        for client in made.values():
            client.close()


def _keys(credentials: Any) -> tuple[str, str, str | None]:
    return credentials.access_key, credentials.secret_key, credentials.token


def _key(service: str, wait: int | None) -> _Key:
    return service, None if wait is None else math.ceil(wait / STEP) * STEP


@cache
def _method(operation: str) -> str:
    return re.sub("(?<=.)[A-Z]", lambda found: f"_{found[0]}", operation).lower()
