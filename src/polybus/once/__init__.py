"""Effects once per message, whatever is delivered twice.

    store = polybus.once.SqlStore(create_async_engine("postgresql+asyncpg://..."))

    @app.handler("billing", once=store)
    async def bill(order: Order, tx: AsyncSession) -> None: ...

See docs/once.md for what each store and each way can promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybus.claims import Busy, Claim, ClaimStore, Done
from polybus.lazy import imported_at_first_use
from polybus.once.claiming import ClaimLost, current_claim
from polybus.once.once import Once

if TYPE_CHECKING:
    from polybus.once.memory import MemoryStore
    from polybus.once.redis import RedisStore
    from polybus.once.sql import SqlStore, claims_table
    from polybus.once.sqlite import SqliteStore

__all__ = [
    "Busy",
    "Claim",
    "ClaimLost",
    "ClaimStore",
    "Done",
    "MemoryStore",
    "Once",
    "RedisStore",
    "SqlStore",
    "SqliteStore",
    "claims_table",
    "current_claim",
]

__getattr__ = imported_at_first_use(
    "polybus.once",
    {
        "MemoryStore": "memory",
        "RedisStore": "redis",
        "SqlStore": "sql",
        "SqliteStore": "sqlite",
        "claims_table": "sql",
    },
)
