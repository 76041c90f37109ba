"""Sending what was committed: in order per ordering key, until the backend has answered for each message."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from polybus.binding import Entity
from polybus.bus.bus import Bus, connection_of, publisher_of, through_of
from polybus.bus.outage import Outage
from polybus.bus.retry import backoff
from polybus.bus.send_queue import Item, Listener
from polybus.clock import wait_for
from polybus.driver import Outgoing
from polybus.durations import Duration, seconds
from polybus.errors import (
    BackendError,
    BindingError,
    BusClosed,
    ConfigError,
    Fault,
    FaultKind,
    NotDeclared,
    PolybusError,
    PublishFailed,
    UnsupportedFeature,
)
from polybus.message import Sent
from polybus.middleware import Publication
from polybus.outbox.failures import in_words
from polybus.outbox.opening import open_store
from polybus.outbox.row import Row, outgoing_of
from polybus.outbox.sql import TABLE
from polybus.outbox.store import Answers
from polybus.telemetry import Publishing

if TYPE_CHECKING:
    from polybus.bus.publisher import Publisher
    from polybus.bus.through import Through

__all__ = ["Relay"]

_log = logging.getLogger("polybus.outbox")

# What one claim holds at most: a few batches of any cloud, and bodies that fit into the publisher twice.
COUNT = 500
ROOM = 16 * 1024 * 1024
# Claims that are open at once, over all targets; each holds a connection to the database, of which an engine has five
# at least by default, and one is for news.
LANES = 4
# Seconds to wait after a failure that is not the message's: of a target, or of the database.
AGAIN_FIRST = 1.0
AGAIN_LAST = 60.0

_OF_THE_MESSAGE = frozenset({FaultKind.INVALID, FaultKind.TOO_LARGE})


class _Target:
    """What a relay knows of one topic or queue that fails: how often, and when it is tried again."""

    def __init__(self, name: str, bus: Bus) -> None:
        self.outage = Outage(f"sending from the outbox to {name!r}", bus.clock)
        self.tries = 0
        self.again_at = 0.0


class Relay:
    """Sends by a bus what is committed to an outbox, for the length of `async with Relay(bus, database)`.

    Arguments and errors are those of `Outbox.relay`. A message is deleted once the backend has it. What the backend
    refuses for good stays, with the reason, and holds up its ordering key until `polybus outbox retry` or `discard`;
    anything else is tried again for as long as it takes. A relay that is killed between the backend's answer and the
    deletion leaves a message that is sent once more, with the same id; backends that drop duplicates may drop it
    (contract, O3). Publish with one ordering key either through the outbox or by this bus: after a failure the relay
    resumes the key.
    """

    def __init__(self, bus: Bus, database: Any, *, table: str = TABLE, grace: Duration = 30.0) -> None:
        self._bus = bus
        self._store = open_store(database, table)
        self._grace = seconds(grace, "grace")
        self._targets: dict[str, _Target] = {}
        # One for each target that has something to send; they take turns at the claims.
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(LANES)
        # Targets with a sender that had seen all there was, perhaps, when something new came.
        self._looked_at: set[str] = set()
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._outage = Outage("the outbox's database", bus.clock)

    @property
    def problem(self) -> str | None:
        """Why it can't send, in one line: of the database or the first target that fails; None while it can."""
        found = (self._outage.text, *(target.outage.text for target in self._targets.values()))
        return next((text for text in found if text is not None), None)

    async def __aenter__(self) -> Relay:
        try:
            await self._store.check()
        except BaseException as error:
            await self._store.aclose()
            if isinstance(error, PolybusError) or not isinstance(error, Exception):
                raise
            raise BackendError(_fault_of(error)) from error
        _log.info("sending to bus %r what is committed to its outbox", self._bus.binding.bus)
        self._running = asyncio.create_task(self._run(), name="polybus outbox relay")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take nothing more, and wait up to the grace for what is being sent; what has no answer then stays."""
        self._stopping.set()
        try:
            if self._senders:
                await self._bounded(list(self._senders.values()))
        finally:
            tasks = [*self._senders.values(), *([] if self._running is None else [self._running])]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            await self._store.aclose()

    async def _bounded(self, senders: Sequence[asyncio.Task[None]]) -> None:
        async def ended() -> None:
            await asyncio.wait(senders)

        try:
            await wait_for(self._bus.clock, ended(), self._grace)
        except TimeoutError:
            _log.warning("the outbox's relay ends with messages under way: they stay, and may be sent twice")

    # Rounds -----------------------------------------------------------------------------------------------------------

    async def send_due(self) -> int:
        """Send what there is now, target by target; return how many messages were sent. For tests and scripts.

        Raises what the database raises. A relay that runs does this by itself.
        """
        sent = 0
        while (await self._store.promote(self._bus.clock.time(), COUNT)).moved:
            pass
        for target in await self._store.targets():
            while (done := await self._round(target)) is not None:
                sent += done
                if not done:
                    break
        return sent

    async def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                wait = await self._look()
                failures = 0
                self._outage.over()
                await self._store.wait(wait)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a database raises; what is told of it holds no secret
                failures += 1
                wait = backoff(AGAIN_FIRST, AGAIN_LAST / 2, failures)
                self._outage.failed(_fault_of(error), wait)
                await self._bus.clock.sleep(wait)

    async def _look(self) -> float:
        """Start a sender for each target that has something to send; return the seconds until something is due."""
        now = self._bus.clock.time()
        promoted = await self._store.promote(now, COUNT)
        if promoted.moved:
            self._store.woken()
        monotonic = self._bus.clock.monotonic()
        waits = [AGAIN_LAST if promoted.due_at is None else promoted.due_at - now]
        for target in await self._store.targets():
            known = self._targets.get(target)
            if target in self._senders:
                self._looked_at.add(target)
            elif known is not None and known.again_at > monotonic:
                waits.append(known.again_at - monotonic)
            else:
                self._senders[target] = sender = asyncio.create_task(
                    self._serve(target), name=f"polybus outbox {target}"
                )
                sender.add_done_callback(functools.partial(self._sender_ended, target))
        return max(min(waits), 0.0)

    def _sender_ended(self, target: str, task: asyncio.Task[None]) -> None:
        self._senders.pop(target, None)
        if target in self._looked_at:
            self._looked_at.discard(target)
            self._store.woken()
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            known = self._targets.setdefault(target, _Target(target, self._bus))
            self._failed(known, _fault_of(error))

    async def _serve(self, target: str) -> None:
        """Send to one target until nothing is left that may be sent now."""
        while not self._stopping.is_set():
            async with self._turns:
                if not await self._round(target):
                    break
            self._store.woken()

    async def _round(self, target: str) -> int | None:
        """Send one claim's rows; return how many were sent, None where there were none to send."""
        async with self._store.claim(target, COUNT, ROOM) as claim:
            if not claim.rows:
                return None
            outcomes = await self._send(target, claim.rows)
            answers = self._judge(target, claim.rows, outcomes)
            await claim.settle(answers, self._bus.clock.time())
        return len(answers.sent)

    async def _send(self, target: str, rows: Sequence[Row]) -> list[Sent | Fault]:
        """Send rows in their order; return what became of each."""
        try:
            publisher = publisher_of(self._bus, target)
            entity = self._bus.binding.target(target)
        except (BindingError, NotDeclared) as error:
            return [Fault(FaultKind.NOT_FOUND, str(error))] * len(rows)
        now = self._bus.clock.time()
        drafts: list[Outgoing | Fault] = [_draft(row, entity, now) for row in rows]
        through = through_of(self._bus)
        if through is None:
            outcomes = await self._put(publisher, entity, rows, drafts)
        else:
            outcomes = list(await asyncio.gather(*(_pass(through, target, draft) for draft in drafts)))
        for draft, outcome in zip(drafts, outcomes, strict=True):
            # A key that failed would be held up for as long as the bus is open; here the rows hold it up.
            if isinstance(outcome, Fault) and isinstance(draft, Outgoing) and draft.message.ordering_key is not None:
                publisher.resume(draft.message.ordering_key)
        return outcomes

    async def _put(
        self, publisher: Publisher, entity: Entity, rows: Sequence[Row], drafts: Sequence[Outgoing | Fault]
    ) -> list[Sent | Fault]:
        sending: list[Item | Fault] = []
        for row, draft in zip(rows, drafts, strict=True):
            if isinstance(draft, Fault):
                sending.append(draft)
            else:
                keyed = row.ordering_key is not None
                sending.append(publisher.put(draft, self._listener(entity, draft), blocks=keyed))
        try:
            return [each if isinstance(each, Fault) else await publisher.outcome(each) for each in sending]
        except asyncio.CancelledError:
            for each in sending:
                if not isinstance(each, Fault):
                    publisher.withdraw(each)
            raise

    def _listener(self, entity: Entity, outgoing: Outgoing) -> Listener | None:
        hooks = connection_of(self._bus).hooks
        if hooks is None:
            return None
        return hooks.publishing(Publishing(self._bus.backend, entity, outgoing.message))

    # Outcomes ---------------------------------------------------------------------------------------------------------

    def _judge(self, target: str, rows: Sequence[Row], outcomes: Sequence[Sent | Fault]) -> Answers:
        """Say what is written down of each row, and when the target is tried again."""
        sent: list[int] = []
        failed: list[tuple[int, str]] = []
        again: list[tuple[int, str]] = []
        known = self._targets.setdefault(target, _Target(target, self._bus))
        worst: Fault | None = None
        stuck: set[str] = set()
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, Sent):
                sent.append(row.seq)
                continue
            key = row.ordering_key
            if key in stuck or outcome.kind is FaultKind.CANCELLED:
                continue  # it is as it was: what came before it on its key is why
            if key is not None:
                stuck.add(key)
            if outcome.kind in _OF_THE_MESSAGE:
                failed.append((row.seq, str(outcome)))
                _log.error("outbox: message %s to %r is refused for good, and kept: %s", row.id, target, outcome)
            else:
                again.append((row.seq, str(outcome)))
                worst = outcome
        if worst is not None:
            self._failed(known, worst)
        elif sent or failed:
            known.tries, known.again_at = 0, 0.0
            known.outage.over()
        return Answers(sent, failed, again)

    def _failed(self, known: _Target, fault: Fault) -> None:
        known.tries += 1
        wait = max(backoff(AGAIN_FIRST, AGAIN_LAST, known.tries), fault.retry_after or 0.0)
        known.again_at = self._bus.clock.monotonic() + wait
        known.outage.failed(fault, wait)


def _draft(row: Row, entity: Entity, now: float) -> Outgoing | Fault:
    """Return what is sent for a row, or why it can't be any more."""
    if row.ordering_key is not None and not entity.ordered:
        detail = f"{entity.kind.value} {entity.name!r} is not ordered any more, and takes no ordering key"
        return Fault(FaultKind.INVALID, detail)
    return outgoing_of(row, ordered=entity.ordered, now=now)


async def _pass(through: Through, target: str, draft: Outgoing | Fault) -> Sent | Fault:
    """Send through the bus's middleware; what that raises by itself may pass."""
    if isinstance(draft, Fault):
        return draft
    try:
        return Sent(await through.again(Publication(target, draft.message, draft.delay), draft.token))
    except PublishFailed as error:
        return error.faults[0]
    except (UnsupportedFeature, TypeError, ValueError) as error:
        return Fault(FaultKind.INVALID, str(error))
    except Exception as error:  # noqa: BLE001 - middleware may raise anything
        return Fault(FaultKind.INTERNAL, f"middleware raised {type(error).__qualname__}: {error}")


def _fault_of(error: BaseException) -> Fault:
    known = isinstance(error, BusClosed | ConfigError)
    return Fault(FaultKind.UNAVAILABLE, str(error) if known else in_words(error))
