"""Publishing in the transaction that a message tells of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybus.binding import Binding
from polybus.bus.encoders import encoder_for
from polybus.bus.hooks import combine
from polybus.bus.outgoing import Encoder
from polybus.bus.resolve import find
from polybus.bus.rights import Checker
from polybus.clock import Clock, SystemClock
from polybus.durations import Duration, seconds
from polybus.outbox.row import values_of
from polybus.outbox.sessions import awaited, blocking
from polybus.outbox.sql import TABLE, Insertion, checked, ddl, insertion, slot_of
from polybus.telemetry import Hooks, everywhere

if TYPE_CHECKING:
    from polybus.bus.bus import Bus
    from polybus.outbox.relay import Relay
    from polybus.topology.model import Topology

__all__ = ["Outbox"]

Values = dict[str, Any]


class Outbox:
    """Publishes in the caller's database transaction; a relay sends what was committed.

    `source` is as in `polybus.connect`: it says which topics and queues there are. With `service`, what that service
    hasn't declared is refused. Nothing is connected; one outbox serves the whole process, any thread and event loop.
    `table` is its name in the database, with or without a schema. Raises ConfigError for what is wrong with `source`.

    What takes a `session` takes a SQLAlchemy session or connection, or a connection of psycopg, asyncpg, aiosqlite,
    sqlite3 or Django, on PostgreSQL or SQLite, in whose transaction it runs; it raises ValueError where none is under
    way there, and what the database raises as it is. The methods with `_sync` are for those that block.
    """

    def __init__(
        self,
        source: Binding | Topology | Path | str | None = None,
        *,
        service: str | None = None,
        clock: Clock | None = None,
        hooks: Sequence[Hooks] = (),
        table: str = TABLE,
    ) -> None:
        self.binding = find(source).binding
        self.clock = clock or SystemClock()
        self.table = checked(table)
        self._checker = Checker(self.binding, service)
        self._hooks = combine((*hooks, *everywhere()))
        self._encoders: dict[str, Encoder] = {}
        self._insertions: dict[str, Insertion] = {}

    def __repr__(self) -> str:
        return f"Outbox({self.binding.bus!r}, table={self.table!r})"

    async def publish(
        self,
        session: Any,
        target: str,
        body: object,
        *,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
        delay: Duration = 0.0,
    ) -> str:
        """Put one message to a topic or queue into the outbox; return the id that its receivers will see.

        It is sent once the transaction is committed, and never if it isn't. Arguments and errors are those of
        `Bus.publish`, but for what only the backend can refuse, such as a body over its limit: that is what
        `polybus outbox list` shows. On PostgreSQL, transactions that publish with the same ordering key wait for each
        other's end. `delay` counts from this call.
        """
        values = self._values(target, body, attributes, ordering_key, delay)
        dialect, run = await awaited(session)
        for statement, given in self._insertion(dialect, values):
            await run(statement, given)
        return str(values["id"])

    def publish_sync(
        self,
        session: Any,
        target: str,
        body: object,
        *,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
        delay: Duration = 0.0,
    ) -> str:
        """Put one message into the outbox, as `publish` does, by a session or connection that blocks."""
        values = self._values(target, body, attributes, ordering_key, delay)
        dialect, run = blocking(session)
        for statement, given in self._insertion(dialect, values):
            run(statement, given)
        return str(values["id"])

    async def schedule(
        self,
        session: Any,
        target: str,
        body: object,
        *,
        at: datetime | None = None,
        in_: Duration | None = None,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
    ) -> str:
        """Have one message published at a time, however far off; return its id, by which it can be cancelled.

        Give `at`, with a time zone, or `in_` from now. It is published when a relay runs then, or when the next one
        starts, after what its ordering key has in the outbox by then. Raises as `publish`.
        """
        values = {**self._values(target, body, attributes, ordering_key, 0.0), "due_at": self._due(at, in_)}
        dialect, run = await awaited(session)
        await run(self._statements(dialect).later, values)
        return str(values["id"])

    def schedule_sync(
        self,
        session: Any,
        target: str,
        body: object,
        *,
        at: datetime | None = None,
        in_: Duration | None = None,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
    ) -> str:
        """Have one message published at a time, as `schedule` does, by a session or connection that blocks."""
        values = {**self._values(target, body, attributes, ordering_key, 0.0), "due_at": self._due(at, in_)}
        dialect, run = blocking(session)
        run(self._statements(dialect).later, values)
        return str(values["id"])

    async def cancel(self, session: Any, id: str) -> bool:
        """Cancel what was scheduled, once the transaction is committed; return False where it isn't there any more.

        Then it was published, is about to be, or was cancelled before.
        """
        dialect, run = await awaited(session)
        return await run(self._statements(dialect).cancel, {"id": id}) > 0

    def cancel_sync(self, session: Any, id: str) -> bool:
        """Cancel what was scheduled, as `cancel` does, by a session or connection that blocks."""
        dialect, run = blocking(session)
        return run(self._statements(dialect).cancel, {"id": id}) > 0

    async def create_tables(self, session: Any) -> None:
        """Create the tables where they aren't there, in the transaction of `session`."""
        dialect, run = await awaited(session)
        for statement in ddl(dialect, self.table):
            await run(statement, {})

    def create_tables_sync(self, session: Any) -> None:
        """Create the tables where they aren't there, in the transaction of `session`, which blocks."""
        dialect, run = blocking(session)
        for statement in ddl(dialect, self.table):
            run(statement, {})

    def relay(self, bus: Bus, database: Any, *, grace: Duration = 30.0) -> Relay:
        """Return what sends by an open bus what was committed, for the length of `async with outbox.relay(...)`.

        `database` is a SQLAlchemy AsyncEngine, a URL (`sqlite:///shop.db`, `postgresql://...`), or the path of a SQLite
        file. Any number of relays may run side by side. At the end of the block it has `grace` to learn what becomes of
        what it is sending. Raises ConfigError for a database that is none, and where the tables are missing; the block
        raises BackendError where the database can't be reached as it begins.
        """
        from polybus.outbox.relay import Relay

        return Relay(bus, database, table=self.table, grace=grace)

    def _values(
        self,
        target: str,
        body: object,
        attributes: Mapping[str, str] | None,
        ordering_key: str | None,
        delay: Duration,
    ) -> Values:
        encoder = self._encoders.get(target) or self._encoder(target)
        outgoing, keyed = encoder.outgoing(body, attributes, ordering_key, delay)
        return values_of(outgoing, target, keyed=keyed, now=self.clock.time())

    def _due(self, at: datetime | None, in_: Duration | None) -> float:
        if (at is None) == (in_ is None):
            raise TypeError("give one of at= and in_=")
        if in_ is not None:
            wait = seconds(in_, "in_")
            if not 0 <= wait < float("inf"):
                raise ValueError(f"in_={in_!r}: 0 seconds or more")
            return self.clock.time() + wait
        if at is None or at.tzinfo is None:
            raise ValueError(f"at={at!r}: a time with its zone, as datetime.now(UTC) has it")
        return at.timestamp()

    def _encoder(self, target: str) -> Encoder:
        entity = self._checker.target(target)
        service = self._checker.service
        encoder = encoder_for(entity, self.binding, self._hooks, service=service, clock=self.clock)
        self._encoders[target] = encoder
        return encoder

    def _statements(self, dialect: str) -> Insertion:
        found = self._insertions.get(dialect)
        if found is None:
            found = self._insertions[dialect] = insertion(dialect, self.table)
        return found

    def _insertion(self, dialect: str, values: Values) -> Iterator[tuple[str, Values]]:
        """Give the statements that put a message into the outbox, one after the other."""
        statements = self._statements(dialect)
        if values["ordering_key"] is not None and statements.lock:
            yield statements.lock, {"slot": slot_of(self.table, values["target"], values["ordering_key"])}
        yield statements.message, values
