"""An app's handlers as the body of an Azure Functions trigger for Service Bus.

The Functions host holds the lock, completes a message when the function returns, and abandons it when it raises
(https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger, PeekLock behavior); a
function can't dead-letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from polybus.app import App
from polybus.binding import Binding, Entity
from polybus.clock import Clock
from polybus.driver import Received
from polybus.errors import ConfigError
from polybus.serverless.failure import HandlersFailed
from polybus.serverless.groups import run_all
from polybus.serverless.host import Host
from polybus.serverless.inlet import Verdict
from polybus.serverless.routes import Router

if TYPE_CHECKING:
    from polybus.clouds.azure.driver.sieve import Sieve
    from polybus.topology.model import Topology

__all__ = ["AzureFunction", "ServiceBusMessage", "azure_functions"]

# The host renews a lock for as long as a function runs, up to its maxAutoLockRenewalDuration, and tells neither: this
# is that setting's default, 5 min (host.json reference).
LEASE = 300.0
# Between a topic and its subscription in the address of one.
_SUBSCRIPTIONS = "/Subscriptions/"


class ServiceBusMessage(Protocol):
    """What is used of azure.functions.ServiceBusMessage."""

    def get_body(self) -> bytes: ...
    @property
    def message_id(self) -> str: ...
    @property
    def sequence_number(self) -> int | None: ...
    @property
    def session_id(self) -> str | None: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def delivery_count(self) -> int | None: ...
    @property
    def enqueued_time_utc(self) -> datetime | None: ...
    @property
    def user_properties(self) -> Mapping[str, Any]: ...


class AzureFunction:
    """The body of a Service Bus trigger: await it with the message, or with the list of them (cardinality many).

    The app is opened by the first call, on the event loop that the worker runs functions on, and stays open.
    """

    def __init__(self, host: Host, source: str) -> None:
        self._host = host
        self._source = source
        self._sieve: Sieve | None = None

    @property
    def trigger(self) -> dict[str, Any]:
        """What its trigger's decorator is to be told, from the binding: the entity's names, and `is_sessions_enabled`.

        The names are `topic_name` and `subscription_name` for `service_bus_topic_trigger`, or `queue_name`
        for `service_bus_queue_trigger`. Raises ConfigError for a binding of another cloud.
        """
        binding = self._host.binding
        if binding.backend != "azure":
            raise ConfigError(f"bus {binding.bus!r} is on {binding.backend!r}, where Service Bus triggers nothing")
        entity = binding.entity(self._source)
        topic, found, name = entity.address.partition(_SUBSCRIPTIONS)
        names = {"topic_name": topic, "subscription_name": name} if found else {"queue_name": topic}
        return {**names, "is_sessions_enabled": entity.ordered}

    async def __call__(self, messages: ServiceBusMessage | Sequence[ServiceBusMessage]) -> None:
        """Handle what the trigger got; returning completes it.

        Raises HandlersFailed where anything failed: the host then abandons all that the call got. After a failure in
        an ordered subscription or queue, the later messages of its session aren't handled.
        """
        batch = list(messages) if isinstance(messages, Sequence) else [messages]
        bus = await self._host.open()
        inlet = bus.inlets[self._source]
        batch = self._sifted(batch, inlet.source)
        until = self._host.clock.monotonic() + LEASE
        received = [_received(one, inlet.source, until) for one in batch]
        verdicts = await run_all(inlet, received, inlet.deliver)
        failed = [
            one.message.id for one, verdict in zip(received, verdicts, strict=True) if verdict is not Verdict.DONE
        ]
        if failed:
            consequence = "it comes again" if len(batch) == 1 else "all of the batch comes again, what was done too"
            raise HandlersFailed(self._source, failed, len(batch), consequence)

    def _sifted(self, batch: list[ServiceBusMessage], source: Entity) -> list[ServiceBusMessage]:
        """Leave out what the subscription's rule refuses and came before it: the host completes that with the rest."""
        from polybus.clouds.azure.driver.sieve import Sieve

        if self._sieve is None:
            self._sieve = Sieve(source)
        wanted, _ = self._sieve.divide(batch, lambda one: cast(Any, one.user_properties))
        return wanted

    async def close(self) -> None:
        """End the app's lifespan and close its bus, for tests: the host itself gives no chance to."""
        await self._host.close()


def _received(raw: ServiceBusMessage, source: Entity, lease_until: float) -> Received[None]:
    from azure.servicebus.amqp import AmqpMessageBodyType

    from polybus.clouds.azure.driver.wire import decode

    view = _View(raw, AmqpMessageBodyType.DATA)
    message, envelope = decode(cast(Any, view), source)
    attempt = max(1, raw.delivery_count or 1)
    # Hosts before version 5.4 of the Service Bus extension don't say the session; a batch is of one session then.
    group = (raw.session_id or "") if source.ordered else None
    return Received(message, attempt, lease_until, None, group, attempt > 1 or envelope.moves > 0, envelope.moves)


class _View:
    """A message of the Functions library as one of the Service Bus library, whose body is bytes."""

    def __init__(self, raw: ServiceBusMessage, body_type: object) -> None:
        stamp = raw.enqueued_time_utc
        self.application_properties = raw.user_properties
        self.body_type = body_type
        self.body = [raw.get_body() or b""]
        self.session_id = raw.session_id
        self.message_id = raw.message_id
        self.sequence_number = raw.sequence_number
        # The library's times are UTC, with or without saying so.
        self.enqueued_time_utc = stamp if stamp is None or stamp.tzinfo else stamp.replace(tzinfo=UTC)
        self.content_type = raw.content_type


def azure_functions(
    app: App,
    source: Binding | Topology | Path | str | None = None,
    *,
    handles: str | None = None,
    clock: Clock | None = None,
) -> AzureFunction:
    """Return the body of a Service Bus trigger that runs one handler of an app.

    `source` is the binding as in `polybus.connect` (default: the app's own, then POLYBUS_BINDING). `handles` names the
    subscription or queue of the trigger; it may be left out where the app has one handler. Its `trigger` is what the
    trigger's decorator needs. Raises ConfigError for a binding that is missing or wrong.

    A handler's failure, Retry and DeadLetter alike, fails the call: the message comes again at once, until Service Bus
    dead-letters it with its own reason, MaxDeliveryCountExceeded, after the entity's own limit.
    """
    host = Host(app, source, clock)
    return AzureFunction(host, Router(app, host.binding, handles).only())
