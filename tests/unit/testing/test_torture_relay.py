"""The torture's relay over real sockets: it forwards, resets, stalls, swallows and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from polybus.testing.torture.relay import Relay

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def relayed() -> AsyncIterator[Relay]:
    """Relay to a server that answers each line with itself."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    relay = Relay(server.sockets[0].getsockname()[1])
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()
        server.close()
        await server.wait_closed()


async def ask(ends: Ends, line: bytes) -> bytes:
    ends[1].write(line)
    return await ends[0].readline()


async def quiet(ends: Ends, line: bytes) -> bool:
    """Say whether nothing comes back for a while."""
    ends[1].write(line)
    try:
        async with asyncio.timeout(0.3):
            await ends[0].read(1)
    except TimeoutError:
        return True
    return False


async def test_it_forwards_both_ways() -> None:
    async with relayed() as relay:
        ends = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await ask(ends, b"a\n") == b"a\n"
        ends[1].close()


async def test_a_reset_ends_what_is_open_and_new_ones_work() -> None:
    async with relayed() as relay:
        ends = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await ask(ends, b"a\n") == b"a\n"
        relay.reset()
        with pytest.raises(ConnectionError):
            await ends[0].readexactly(1)
        ends[1].close()
        other = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await ask(other, b"b\n") == b"b\n"
        other[1].close()


async def test_a_stall_holds_back_until_it_is_healed() -> None:
    async with relayed() as relay:
        ends = await asyncio.open_connection("127.0.0.1", relay.port)
        relay.stall()
        assert await quiet(ends, b"a\n")
        relay.heal()
        assert await ends[0].readline() == b"a\n"
        ends[1].close()


async def test_what_is_swallowed_stays_silent_and_new_ones_work() -> None:
    async with relayed() as relay:
        ends = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await ask(ends, b"a\n") == b"a\n"
        relay.swallow()
        assert await quiet(ends, b"b\n")
        relay.heal()
        assert await quiet(ends, b"c\n")
        other = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await ask(other, b"d\n") == b"d\n"
        for each in (ends, other):
            each[1].close()


async def test_new_connections_can_be_refused() -> None:
    async with relayed() as relay:
        relay.refuse()
        ends = await asyncio.open_connection("127.0.0.1", relay.port)
        with pytest.raises(ConnectionError):
            await ends[0].readexactly(1)
        ends[1].close()
