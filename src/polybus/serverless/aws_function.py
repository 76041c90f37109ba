"""An app's handlers as an AWS Lambda function, for SQS event source mappings and SNS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from polybus.app import App
from polybus.binding import Binding, Entity
from polybus.bus.bus import connection_of
from polybus.clock import Clock
from polybus.driver import Received, ToDeadLetters
from polybus.errors import BackendError, ConfigError, Fault
from polybus.serverless.aws_event import sns_message, sqs_message
from polybus.serverless.bus import FunctionBus
from polybus.serverless.failure import HandlersFailed
from polybus.serverless.groups import run_all
from polybus.serverless.host import Host
from polybus.serverless.inlet import Verdict
from polybus.serverless.routes import Router, from_queue, from_topic

if TYPE_CHECKING:
    from polybus.topology.model import Topology

__all__ = ["AwsLambda", "aws_lambda"]

T = TypeVar("T")
_log = logging.getLogger("polybus.serverless")

# Seconds of an invocation that are kept for its end: cancelled handlers clean up, and the response gets out, so that
# what was done isn't done again with what wasn't. A response takes milliseconds; a second leaves room for clean-up.
# Of a short timeout (3 s is Lambda's default) no more than a tenth.
RESERVE = 1.0
RESERVE_SHARE = 0.1
# Where there is no context to ask (a test, a local call): Lambda's longest timeout, 15 min (its quotas).
LONGEST = 900.0


class Context(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int: ...


class AwsLambda:
    """A Lambda handler; call it with an event and a context.

    The app is opened by the first invocation, on an event loop of this object, and stays open for those that follow.
    """

    def __init__(self, host: Host, router: Router, *, partial_batches: bool) -> None:
        self._host = host
        self._router = router
        self._partial = partial_batches
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, event: Mapping[str, Any], context: Context | None = None) -> dict[str, Any] | None:
        """Handle one event; return which messages failed (SQS), or None.

        Raises HandlersFailed where raising is how Lambda is told (SNS, or without partial batch responses), and
        ConfigError for an event that is neither SQS's nor SNS's or comes from what the app doesn't handle. What an
        event holds comes again after any of these.
        """
        return self._run(self._handle(event, context))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """End the app's lifespan and close its bus, for tests and custom runtimes: Lambda itself gives no chance to."""
        if self._loop is not None:
            self._run(self._host.close())
            self._run(self._loop.shutdown_default_executor())
            self._loop.close()
            self._loop = None

    async def _handle(self, event: Mapping[str, Any], context: Context | None) -> dict[str, Any] | None:
        started = self._host.clock.monotonic()
        remaining = LONGEST if context is None else context.get_remaining_time_in_millis() / 1000
        until = started + remaining - min(RESERVE, remaining * RESERVE_SHARE)
        records = event.get("Records")
        if not isinstance(records, Sequence) or not records or not isinstance(records[0], Mapping):
            raise ConfigError("the event has no Records: only SQS's and SNS's are handled")
        origin = records[0].get("eventSource", records[0].get("EventSource"))
        if origin not in ("aws:sqs", "aws:sns"):
            raise ConfigError(f"the event is from {origin!r}: only aws:sqs and aws:sns are handled")
        bus = await self._host.open()
        if origin == "aws:sqs":
            return await self._handle_queue(bus, records, until)
        await self._handle_topic(bus, records, until)
        return None

    async def _handle_queue(
        self, bus: FunctionBus, records: Sequence[Mapping[str, Any]], until: float
    ) -> dict[str, Any]:
        with _documented():
            arn = records[0]["eventSourceARN"]
            inlet = bus.inlets[self._router.find(arn, from_queue(arn))]
            batch = [sqs_message(record, inlet.source, until, bus.binding.topics) for record in records]

        async def bury(letter: ToDeadLetters[Any]) -> Fault | None:
            return await _bury(bus, inlet.source, letter)

        can_bury = bus.backend == "aws" and inlet.source.dead_letter is not None
        verdicts = await run_all(inlet, batch, lambda one: inlet.deliver(one, bury if can_bury else None))
        failed = [
            record["messageId"]
            for record, verdict in zip(records, verdicts, strict=True)
            if verdict is not Verdict.DONE
        ]
        if failed and not self._partial:
            raise HandlersFailed(inlet.source.name, failed, len(records), "all of the batch comes again")
        return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in failed]}

    async def _handle_topic(self, bus: FunctionBus, records: Sequence[Mapping[str, Any]], until: float) -> None:
        with _documented():
            arn = records[0]["Sns"]["TopicArn"]
            inlet = bus.inlets[self._router.find(arn, from_topic(arn))]
            batch: list[Received[str]] = [sns_message(record["Sns"], inlet.source, until) for record in records]
        verdicts = await run_all(inlet, batch, inlet.deliver)
        failed = [one.message.id for one, verdict in zip(batch, verdicts, strict=True) if verdict is not Verdict.DONE]
        if failed:
            # Of one message each in practice (Lambda developer guide), so nothing comes again that was done.
            raise HandlersFailed(inlet.source.name, failed, len(batch), "Lambda tries twice more, then its destination")


@contextlib.contextmanager
def _documented() -> Iterator[None]:
    """Say of an event that can't be read that it isn't one of Lambda's: someone made it up, to try or to test."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"a record of the event is not what Lambda documents: {error!r}") from error


async def _bury(bus: FunctionBus, source: Entity, letter: ToDeadLetters[Any]) -> Fault | None:
    """Send a copy to the dead letters and delete the message, by the receipt that Lambda passes on."""
    try:
        settler = await bus.settler(source)
        return (await settler.settle_batch([letter]))[0]
    except BackendError as error:
        return error.fault
    except Exception as error:  # noqa: BLE001 - the driver says what its SDK's exceptions mean
        return connection_of(bus).opened().fault(error)


def aws_lambda(
    app: App,
    source: Binding | Topology | Path | str | None = None,
    *,
    handles: str | None = None,
    partial_batches: bool = True,
    clock: Clock | None = None,
) -> AwsLambda:
    """Return a Lambda handler that runs an app's handlers for SQS and SNS events.

    `source` is the binding as in `polybus.connect` (default: the app's own, then POLYBUS_BINDING). The handler is found
    by the event's queue or topic in the binding; `handles` names it for all events instead. The SQS event source
    mapping must report batch item failures (FunctionResponseTypes: ReportBatchItemFailures), or Lambda deletes what
    failed; with `partial_batches=False` any failure fails the batch, and a mapping without it loses nothing.

    The invocation's own time is the lease: what still runs shortly before its end is cancelled and reported as failed.
    On FIFO queues the rest of a message group is given back after a failure. On SQS a message that a handler
    dead-letters, can't decode, or fails at the last of max_attempts is sent to the dead letters and deleted. Raises
    ConfigError for a binding that is missing or wrong.
    """
    host = Host(app, source, clock)
    return AwsLambda(host, Router(app, host.binding, handles), partial_batches=partial_batches)
