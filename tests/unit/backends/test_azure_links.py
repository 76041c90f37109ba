"""What the library sleeps while a link is opened and closed is not waited for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from azure.servicebus._pyamqp.aio import ReceiveClientAsync, SendClientAsync

from polybus.clouds.azure.driver import links
from polybus.clouds.azure.driver.links import LOOKS, Links


class Handler:
    """As the library's AMQP client: ready after some looks, and with a keepalive that it waits for at its end."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.closed = False
        self._keep_alive_thread: asyncio.Task[None] | None = None

    async def open_async(self) -> None:
        self._keep_alive_thread = asyncio.create_task(asyncio.sleep(3_600))

    async def client_ready_async(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    async def close_async(self) -> None:
        self.closed = True
        if self._keep_alive_thread:
            await self._keep_alive_thread


class Link:
    """As the library's sender or receiver; `sleeps` counts what it would sleep between two looks."""

    def __init__(self, looks: int = 0) -> None:
        self._looks = looks
        self._handler: Any = None
        self.sleeps = 0

    def _create_handler(self) -> None:
        self._handler = Handler(self._looks)

    async def __aenter__(self) -> Link:
        self._create_handler()
        await self._handler.open_async()
        while not await self._handler.client_ready_async():
            self.sleeps += 1
        return self

    async def close(self) -> None:
        await self._handler.close_async()


async def opened(link: Link) -> Links:
    made = Links()
    await made.open(link)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("looks", [0, 1, LOOKS - 1])
async def test_a_link_that_is_ready_soon_is_not_slept_for(looks: int) -> None:
    link = Link(looks)
    await opened(link)
    assert link.sleeps == 0
    link._handler._keep_alive_thread.cancel()


async def test_one_that_waits_for_long_is_looked_at_as_often_as_the_library_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "LOOKS", 3)
    link = Link(looks=10)
    await opened(link)
    assert link.sleeps == 10 - 3 + 1  # the last of the three is one that the library sleeps after
    link._handler._keep_alive_thread.cancel()


async def test_a_cancellation_that_a_look_keeps_to_itself_ends_the_looking() -> None:
    """As asyncio.wait_for does up to Python 3.11: what it waited for came at the same moment."""

    class Deaf(Handler):
        async def client_ready_async(self) -> bool:
            with contextlib.suppress(asyncio.CancelledError):
                self.looks += 1
                await asyncio.sleep(3_600)
            return False

    handler = Deaf(0)
    links._look_sooner(handler)
    looking = asyncio.create_task(handler.client_ready_async())
    await asyncio.sleep(0)
    looking.cancel()
    assert await looking is False
    assert handler.looks == 1


async def test_closing_does_not_wait_for_the_keepalive_and_ends_it() -> None:
    link = Link()
    made = await opened(link)
    keeping = link._handler._keep_alive_thread
    made.close_soon(link)  # type: ignore[arg-type]
    await made.aclose()  # waits for some seconds, fewer than the keepalive sleeps
    assert link._handler.closed
    assert keeping.cancelled()


@pytest.mark.parametrize("client", [SendClientAsync, ReceiveClientAsync])
def test_the_library_has_what_is_looked_for(client: Any) -> None:
    """Where these have other names some day, links open and close as slowly as the library does it."""
    made = client("localhost", "queue")
    assert made._keep_alive_thread is None
    assert {"open_async", "client_ready_async", "close_async"} <= set(dir(made))
