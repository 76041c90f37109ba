"""Local clouds as pytest fixtures, for tests of code that uses the clouds' own libraries: no topology, no polybus app.

The fixtures `aws_messaging`, `servicebus` and `pubsub` each start a local server in a thread for one test, point the
environment at it, and are a `LocalCloud`. They come as a pytest plugin of their own (`-p no:polybus-clouds` leaves it
out), which imports nothing of a cloud until a test asks for one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from polybus.localcloud.control.desk import Desk, Station
    from polybus.localcloud.control.steering import Entity, Shown
    from polybus.localcloud.events import Event
    from polybus.localcloud.server import ThreadedServer
    from polybus.localcloud.store import Row

__all__ = ["LocalCloud", "aws_messaging", "pubsub", "servicebus"]


class LocalCloud:
    """A local server, and what a test sees of it and does with it; every method blocks, and is for any thread.

    Names of entities are as on the cloud: a queue's or topic's name on AWS, a path on Azure (`jobs`,
    `orders/Subscriptions/billing`, `jobs/$DeadLetterQueue`), `topics/orders` and `subscriptions/billing` on Google.
    """

    def __init__(self, cloud: str, threaded: ThreadedServer, desk: Desk, environment: Mapping[str, str]) -> None:
        self.cloud = cloud
        self.server: Any = threaded.server
        self.environment = environment
        """The variables that point the cloud's own libraries here; set while the test runs."""
        self._threaded = threaded
        self._desk = desk

    @property
    def _station(self) -> Station:
        return self._desk.stations[self.cloud]

    def _call(self, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        async def there() -> Any:
            found = method(*args, **named)
            return await found if hasattr(found, "__await__") else found

        return self._threaded.call(there)

    def entities(self) -> Sequence[Entity]:
        """Return the queues, topics and subscriptions, and how many messages each has in which state."""
        return cast("list[Entity]", self._call(self._station.steering.entities))

    def messages(self, entity: str, limit: int = 100) -> Sequence[Shown]:
        """Return up to `limit` messages as they lie there, oldest first, without taking them."""
        return cast("list[Shown]", self._call(self._station.steering.messages, entity, limit))

    def publish(
        self, entity: str, body: bytes | str, attributes: Mapping[str, str] | None = None, key: str | None = None
    ) -> str:
        """Publish as another service would; return the message's id."""
        data = body.encode() if isinstance(body, str) else body
        return cast("str", self._call(self._station.steering.publish, entity, data, attributes or {}, key))

    def redrive(self, entity: str) -> int:
        """Give back to an entity what it has among its dead letters; return how many those were."""
        return cast("int", self._call(self._station.steering.redrive, entity))

    def wait(
        self, kind: str, entity: str | None = None, *, count: int = 1, after: int = 0, timeout: float = 10.0
    ) -> Sequence[Event]:
        """Wait until `count` messages were published, delivered, consumed or dead_lettered; return those events.

        Events number from the server's start, and only those `after` a number count. Raises TimeoutError, with what has
        happened, after `timeout` real seconds.
        """
        from polybus.localcloud.events import Wanted

        events = self._station.steering.events
        found: list[Event] = self._call(events.wait, Wanted(after, kind, entity), count, timeout)
        if len(found) < count:
            told = ", ".join(f"{one.kind} {one.entity}" for one in events.found(Wanted(after))) or "nothing"
            raise TimeoutError(f"{len(found)} of {count} {kind} within {timeout:g} s; what happened: {told}")
        return found

    def fail(self, operation: str, error: str, *, count: int = 1, after: bool = False) -> None:
        """Have the next `count` calls of an operation fail, with `after` once they have done what they do.

        Operations and errors are the cloud's own: `SendMessage` and `Throttling`, or `cut` for no answer, on AWS;
        `send` and `com.microsoft:server-busy`, or `cut`, on Azure; `Publish` and `UNAVAILABLE` on Google.
        """
        self._call(self._station.steering.fail, operation, error, count, after=after)

    def delay(self, operation: str, seconds: float, *, count: int = 1) -> None:
        """Have the next `count` calls of an operation wait for so many seconds of the server's clock."""
        self._call(self._station.steering.delay, operation, seconds, count)

    def clear(self) -> None:
        """Forget what was to fail or to wait, and hasn't."""
        self._call(self._station.steering.clear)

    def advance(self, seconds: float) -> None:
        """Move the server's clock forward: leases, delays and retention end by it."""
        self._desk.clock.advance(seconds)

    def cut(self) -> None:
        """Break every connection."""
        self._call(self._station.steering.cut)

    def snapshot(self) -> Sequence[Row]:
        """Return all that the server has, for `restore`."""
        return cast("list[Row]", self._call(self._station.steering.rows))

    def restore(self, snapshot: Sequence[Row]) -> None:
        """Have the server be as it was at a snapshot; connections end, and the clock goes on."""
        self._call(self._station.steering.restore, snapshot)


@contextmanager
def _running(cloud: str, patch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    from polybus.localcloud.control.desk import Desk
    from polybus.localcloud.run import load
    from polybus.localcloud.server import LOOPBACK, ThreadedServer

    desk, server = Desk(), load(cloud, host=LOOPBACK, port=0, data=None)
    desk.take(cloud, cast("Any", server))
    threaded = ThreadedServer(server)
    threaded.start()
    try:
        environment = dict(server.env())
        for name in ("NO_PROXY", "no_proxy"):  # a proxy has another loopback
            before = os.environ.get(name)
            environment[name] = f"{before},{LOOPBACK},localhost" if before else f"{LOOPBACK},localhost"
        for name, value in environment.items():
            patch.setenv(name, value)
        yield LocalCloud(cloud, threaded, desk, environment)
    finally:
        threaded.stop()


@pytest.fixture
def aws_messaging(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """SNS and SQS, empty, for one test; boto3 and AWS's other SDKs reach them by the environment."""
    with _running("aws", monkeypatch) as found:
        yield found


@pytest.fixture
def servicebus(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A Service Bus namespace, empty, for one test; AZURE_SERVICEBUS_CONNECTION_STRING leads to it."""
    with _running("azure", monkeypatch) as found:
        yield found


@pytest.fixture
def pubsub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """Pub/Sub, empty, for one test; PUBSUB_EMULATOR_HOST leads to it."""
    with _running("gcp", monkeypatch) as found:
        yield found
