"""Claims in a database, by SQLAlchemy; and handlers that work in the transaction that notes their key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from polybus.bus.delivery import Delivery, was_given_back
from polybus.claims import RETENTION, Busy, Claim, Done, check_key
from polybus.clock import Clock, SystemClock
from polybus.durations import Duration, seconds
from polybus.errors import LeaseLost, MissingExtra
from polybus.middleware import AnyMiddleware, Middleware, SyncMiddleware
from polybus.once.claiming import tell_done, until_next_look
from polybus.once.once import KeyOf

try:
    import sqlalchemy as sa
    from sqlalchemy.exc import IntegrityError, OperationalError
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session
except ModuleNotFoundError as error:
    raise MissingExtra("sqlalchemy", "database") from error

if TYPE_CHECKING:
    from sqlalchemy.sql import ColumnElement

__all__ = ["SqlStore", "claims_table"]

T = TypeVar("T")

TABLE = "polybus_once"
# The claim of what a transaction notes as done lasts as long as the transaction, which the database keeps to itself.
_NO_LEASE = 0.0

_session: ContextVar[Any] = ContextVar("polybus_once_session")


def claims_table(metadata: sa.MetaData, name: str = TABLE) -> sa.Table:
    """Return the table of a SqlStore, as part of `metadata`: Alembic's autogenerate finds it there."""
    return sa.Table(
        name,
        metadata,
        sa.Column("scope", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("done", sa.Double, nullable=True, index=True),
    )


class SqlStore:
    """Claims in a database, of whichever kind SQLAlchemy reaches, by an asynchronous engine or a blocking one.

    A handler with a parameter annotated AsyncSession (asynchronous engine, `async def`) or Session (blocking engine,
    `def`) works in the transaction that notes its key: both are committed as it returns, or neither is. `table` is the
    name of the table, `retention` how long a key is kept. The time is the database's on PostgreSQL and MySQL, else the
    machine's, or that of `clock`.
    """

    def __init__(
        self,
        engine: AsyncEngine | sa.Engine,
        *,
        table: str = TABLE,
        retention: Duration = RETENTION,
        clock: Clock | None = None,
    ) -> None:
        self.engine = engine
        self._metadata = sa.MetaData()
        self._retention = seconds(retention, "retention")
        dialect = engine.sync_engine.dialect.name if isinstance(engine, AsyncEngine) else engine.dialect.name
        self._claims = _Claims(claims_table(self._metadata, table), dialect, self._retention, clock)

    async def claim(self, scope: str, key: str, lease: float) -> Claim | Busy | Done:
        check_key(scope, key)
        return await self._do(lambda connection: self._claims.claim(connection, scope, key, lease))

    async def renew(self, claim: Claim, lease: float) -> bool:
        return await self._do(lambda connection: self._claims.change(connection, claim, until=lease))

    async def confirm(self, claim: Claim) -> bool:
        return await self._do(lambda connection: self._claims.change(connection, claim, done=True))

    async def release(self, claim: Claim) -> None:
        await self._do(lambda connection: self._claims.change(connection, claim, until=_NO_LEASE))

    async def purge(self) -> int:
        return await self._do(self._claims.purge)

    async def create_tables(self) -> None:
        await self._do(self._metadata.create_all)

    async def _do(self, work: Callable[[sa.Connection], T]) -> T:
        engine = self.engine
        if isinstance(engine, AsyncEngine):
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        return await asyncio.to_thread(_in_transaction, engine, work)

    # Handlers in their own transaction --------------------------------------------------------------------------------

    def filled(self, annotation: Any, *, blocking: bool) -> Callable[[], Any] | None:
        """Do what Transactional says."""
        if not isinstance(annotation, type) or not issubclass(annotation, AsyncSession | Session):
            return None
        of_async = issubclass(annotation, AsyncSession)
        if of_async != isinstance(self.engine, AsyncEngine):
            engine = type(self.engine).__name__
            raise TypeError(f"the store of `once` has a {engine}, which gives no {annotation.__name__}")
        if of_async == blocking:
            form = "`async def`" if of_async else "`def`"
            raise TypeError(f"{annotation.__name__} is for handlers that are {form}")
        return _session.get

    def in_transaction(self, key_of: KeyOf) -> AnyMiddleware:
        """Do what Transactional says."""
        if isinstance(self.engine, AsyncEngine):
            return _InTransaction(self.engine, self._claims, key_of)
        return _InBlockingTransaction(self.engine, self._claims, key_of)


def _in_transaction(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


class _Claims:
    """The statements, each in a transaction of its caller's."""

    def __init__(self, table: sa.Table, dialect: str, retention: float, clock: Clock | None) -> None:
        self._table = table
        self._dialect = dialect
        self._retention = retention
        self.clock = clock

    def claim(
        self, connection: sa.Connection, scope: str, key: str, lease: float, *, done: bool = False
    ) -> Claim | Busy | Done:
        """Take a key for so many seconds, or as `done` already."""
        table, now = self._table, self._now()
        taken = {"until": now + sa.literal(lease), "done": now if done else None}
        if self._insert(connection, {"scope": scope, "key": key, "token": 1, **taken}):
            return Claim(scope, key, 1)
        one = sa.and_(table.c.scope == scope, table.c.key == key)
        free = sa.or_(
            sa.and_(table.c.done.is_(None), table.c.until <= now), table.c.done <= now - sa.literal(self._retention)
        )
        if connection.execute(sa.update(table).where(one, free).values(token=table.c.token + 1, **taken)).rowcount == 1:
            return Claim(scope, key, connection.execute(sa.select(table.c.token).where(one)).scalar_one())
        found = connection.execute(sa.select(table.c.done, table.c.until - now).where(one)).one_or_none()
        if found is None:  # purged meanwhile
            return Busy(0.0)
        return Busy(float(found[1])) if found[0] is None else Done()

    def change(self, connection: sa.Connection, claim: Claim, *, until: float = _NO_LEASE, done: bool = False) -> bool:
        """Change what is still this claim's; say whether it is."""
        table, now = self._table, self._now()
        mine = (table.c.scope == claim.scope, table.c.key == claim.key, table.c.token == claim.token)
        change = {"done": now} if done else {"until": now + sa.literal(until)}
        return connection.execute(sa.update(table).where(*mine, table.c.done.is_(None)).values(change)).rowcount == 1

    def purge(self, connection: sa.Connection) -> int:
        """Delete what isn't kept any more."""
        table = self._table
        old = sa.func.coalesce(table.c.done, table.c.until) <= self._now() - sa.literal(self._retention)
        return connection.execute(sa.delete(table).where(old)).rowcount

    def _insert(self, connection: sa.Connection, values: dict[str, Any]) -> bool:
        """Insert a key; say whether it is new. Waits for a transaction that has inserted it and isn't over."""
        if self._dialect in ("postgresql", "sqlite"):  # which have ON CONFLICT
            insert = import_module(f"sqlalchemy.dialects.{self._dialect}").insert
            statement = insert(self._table).values(values).on_conflict_do_nothing().returning(self._table.c.token)
            return connection.execute(statement).first() is not None
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(self._table).values(values))
        except IntegrityError:
            return False
        return True

    def _now(self) -> ColumnElement[float]:
        """Return the time, of one clock for all where there is one: theirs may differ."""
        if self.clock is None:
            if self._dialect == "postgresql":
                return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Double)
            if self._dialect in ("mysql", "mariadb"):
                return sa.func.unix_timestamp(sa.func.now(6), type_=sa.Double)
        return sa.literal(time.time() if self.clock is None else self.clock.time(), sa.Double)

    def is_locked(self, error: OperationalError) -> bool:
        """Say whether another's transaction has the whole of an SQLite file."""
        return str(getattr(error.orig, "sqlite_errorname", "")).startswith("SQLITE_BUSY")


class _Taking:
    """Takes the key of a delivery in the handler's transaction, as done."""

    def __init__(self, claims: _Claims, key_of: KeyOf) -> None:
        self._claims = claims
        self._key_of = key_of

    def take(self, connection: sa.Connection, delivery: Delivery) -> Claim | Busy | Done:
        """Note the key, unless it was done, or another owner works on it."""
        scope, key = self._key_of(delivery)
        check_key(scope, key)
        try:
            answer = self._claims.claim(connection, scope, key, _NO_LEASE, done=True)
        except OperationalError as error:
            if self._claims.is_locked(error):
                return Busy(0.0)
            raise
        if isinstance(answer, Done):
            tell_done(delivery)
        return answer


def _check_lease(delivery: Delivery) -> None:
    if delivery.lost:
        raise LeaseLost(f"message {delivery.id} of {delivery.source!r}: its lease ended, and its transaction with it")


def _is_to_commit(delivery: Delivery) -> bool:
    _check_lease(delivery)
    return not was_given_back(delivery)


class _InTransaction(Middleware):
    def __init__(self, engine: AsyncEngine, claims: _Claims, key_of: KeyOf) -> None:
        self._engine = engine
        self._taking = _Taking(claims, key_of)
        self._clock = claims.clock or SystemClock()

    async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        while (busy := await self._done(delivery, proceed)) is not None:
            await self._clock.sleep(until_next_look(delivery, busy))

    async def _done(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> Busy | None:
        # A session rolls back what isn't committed.
        async with AsyncSession(self._engine, expire_on_commit=False) as session:
            connection = await session.connection()
            answer = await connection.run_sync(self._taking.take, delivery)
            if not isinstance(answer, Claim):
                return answer if isinstance(answer, Busy) else None
            token = _session.set(session)
            try:
                await proceed(delivery)
            finally:
                _session.reset(token)
            if _is_to_commit(delivery):
                await session.commit()
        return None


class _InBlockingTransaction(SyncMiddleware):
    def __init__(self, engine: sa.Engine, claims: _Claims, key_of: KeyOf) -> None:
        self._engine = engine
        self._taking = _Taking(claims, key_of)

    def handle(self, delivery: Delivery, proceed: Callable[[Delivery], None]) -> None:
        while (busy := self._done(delivery, proceed)) is not None:
            time.sleep(until_next_look(delivery, busy))
            _check_lease(delivery)  # nothing else would end the wait

    def _done(self, delivery: Delivery, proceed: Callable[[Delivery], None]) -> Busy | None:
        with Session(self._engine, expire_on_commit=False) as session:
            answer = self._taking.take(session.connection(), delivery)
            if not isinstance(answer, Claim):
                return answer if isinstance(answer, Busy) else None
            token = _session.set(session)
            try:
                proceed(delivery)
            finally:
                _session.reset(token)
            if _is_to_commit(delivery):
                session.commit()
        return None
