"""The relay of an outbox, as `polybus run` runs it beside services or alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.app import App
from polybus.binding import Binding
from polybus.durations import Duration
from polybus.outbox.opening import open_store
from polybus.outbox.relay import Relay

if TYPE_CHECKING:
    from polybus.app.session import Session
    from polybus.bus.bus import Bus
    from polybus.topology.model import Topology

__all__ = ["relay_app"]

# Of the 10 s that a process without handlers has to end: what is left is for closing the bus.
GRACE = 5.0


class _RelayApp(App):
    """Sends what is committed to an outbox; it is ready while it can."""

    only_sends = True

    def __init__(self, database: str, table: str, grace: float) -> None:
        super().__init__()
        self._outbox = database, table, grace
        self._relay: Relay | None = None
        self.lifespan(_sending)

    def __repr__(self) -> str:
        return "the outbox's relay"

    @asynccontextmanager
    async def running(
        self,
        source: Binding | Topology | Path | str | None = None,
        *,
        bus: Bus | None = None,
        grace: Duration | None = None,
    ) -> AsyncIterator[Session]:
        """Run it as any app, and have the session tell why nothing can be sent."""
        async with super().running(source, bus=bus, grace=grace) as session:
            session.watched.append(self._problem)
            yield session

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send for the length of the block."""
        database, table, grace = self._outbox
        async with Relay(self.bus, database, table=table, grace=grace) as self._relay:
            yield

    def _problem(self) -> str | None:
        return None if self._relay is None else self._relay.problem


def _sending(app: App) -> AbstractAsyncContextManager[None]:
    if not isinstance(app, _RelayApp):
        raise TypeError(f"{app!r} sends from no outbox")
    return app.sending()


def relay_app(database: str, table: str, grace: float | None) -> App:
    """Return an app that sends what is committed to an outbox; raise ConfigError for a database that is none."""
    open_store(database, table)  # refused before anything is started
    return _RelayApp(database, table, GRACE if grace is None else grace)
