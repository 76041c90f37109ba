"""The relay of an outbox, as `polybus run` runs it beside services or alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from polybus.app import App

__all__ = ["relay_app"]

# Of the 10 s that a process without handlers has to end: what is left is for closing the bus.
GRACE = 5.0


class _RelayApp(App):
    only_sends = True

    def __repr__(self) -> str:
        return "the outbox's relay"


def relay_app(database: str, table: str, grace: float | None) -> App:
    """Return an app that sends what is committed to an outbox; raise ConfigError for a database that is none."""
    from polybus.outbox.opening import open_store
    from polybus.outbox.relay import Relay

    open_store(database, table)  # refused before anything is started
    app = _RelayApp()

    @app.lifespan
    @asynccontextmanager
    async def relay(app: App) -> AsyncIterator[None]:
        async with Relay(app.bus, database, table=table, grace=GRACE if grace is None else grace):
            yield

    return app
