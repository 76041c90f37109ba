"""Each store of `polybus.once`, made from a text that a process of its own can be given."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from polybus.claims import Claim, ClaimStore
from polybus.clock import Clock, SystemClock

__all__ = ["Set", "opened"]


class Set(SystemClock):
    """A clock whose time of day stands still, so many seconds `ahead` of when it was made."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._made = super().time()

    def time(self) -> float:
        return self._made + self.ahead


@asynccontextmanager
async def opened(kind: str, place: str, clock: Clock | None = None, **options: Any) -> AsyncIterator[ClaimStore]:
    """Give the store of a kind at a place: a file, a URL."""
    options |= {"clock": clock}
    if kind == "sqlite":
        from polybus.once import SqliteStore

        yield SqliteStore(place, **options)
    elif kind == "redis":
        import redis.asyncio

        from polybus.once import RedisStore

        client = redis.asyncio.Redis.from_url(place)
        try:
            yield RedisStore(client, **options)
        finally:
            await client.aclose()
    elif kind == "dynamodb":
        import boto3

        from polybus.clouds.aws.once import DynamoStore

        given = {"region_name": "eu-west-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
        client = boto3.client("dynamodb", endpoint_url=place, **given)
        try:
            yield DynamoStore(client=client, **options)
        finally:
            client.close()
    elif "+aiosqlite" in place or "+asyncpg" in place:
        from sqlalchemy.ext.asyncio import create_async_engine

        from polybus.once import SqlStore

        engine = create_async_engine(place)
        try:
            yield SqlStore(engine, **options)
        finally:
            await engine.dispose()
    else:
        from sqlalchemy import create_engine

        from polybus.once import SqlStore

        blocking = create_engine(place)
        try:
            yield SqlStore(blocking, **options)
        finally:
            blocking.dispose()


async def claim_and_hang(kind: str, place: str) -> None:
    """Claim a key for a minute, tell the token, and never end."""
    async with opened(kind, place) as store:
        claim = await store.claim("scope", "key", 60.0)
        assert isinstance(claim, Claim)
        print(claim.token, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(claim_and_hang(*sys.argv[1:]))
