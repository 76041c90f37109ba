"""Opening and closing the library's links, so that each ends in time and leaves no socket behind."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from azure.servicebus.aio import ServiceBusReceiver, ServiceBusSender

from polybus.clouds.azure.driver.bounds import CLOSE, OPEN, bounded

__all__ = ["Link", "Links"]

# Connecting takes 40 ms of processor time (measured): so many take two seconds of it.
OPENED_AT_ONCE = 50
# Looks at a link that is being opened, and the pause after each, in seconds: a look itself waits for what comes, for
# some 20 ms (TURN of clients.py) where the library can be told to.
LOOKS = 40
PAUSE = 0.002

Link = ServiceBusSender | ServiceBusReceiver


class Links:
    """The links of one driver: opened in time, and closed in the background."""

    def __init__(self) -> None:
        self._opening = asyncio.Semaphore(OPENED_AT_ONCE)
        self._closing: set[asyncio.Task[Any]] = set()
        # The connections that the library made for each link that isn't closed yet.
        self._made: dict[Link, list[Any]] = {}

    async def open(self, link: Link) -> None:
        """Open a link in time, and close it again where that fails; raise what the library raises, or Late.

        Some are opened at a time: hundreds at once would keep each other from being open in time.
        """
        async with self._opening:
            await self.open_within(OPEN, link)

    async def open_within(self, seconds: float, link: Link) -> None:
        """Open a link that waits for something besides being connected: a session."""
        self._watch(link)
        opening = asyncio.get_running_loop().create_task(link.__aenter__())
        try:
            await bounded(_joined(opening), seconds, "connecting to Service Bus")
        except BaseException:
            opening.add_done_callback(_look_at)
            opening.cancel()
            self.finish(asyncio.get_running_loop().create_task(self._close(link, opening)))
            raise

    def _watch(self, link: Link) -> None:
        """Note each connection that the library makes for a link.

        It leaves a socket open where its connection breaks, or is cut off before its session has begun: it ends only
        its own states then. There is no public way to a link's connection; where the private one is another, the
        garbage collector has such sockets, as with the library alone.
        """
        create = getattr(link, "_create_handler", None)
        if create is None or link in self._made:
            return
        made = self._made[link] = []

        def noted(*given: Any) -> None:
            create(*given)
            handler = getattr(link, "_handler", None)
            _note_connections(handler, made)
            _look_sooner(handler)
            _close_sooner(handler)

        vars(link)["_create_handler"] = noted

    def close_soon(self, link: Link) -> None:
        """Close a link without waiting for it: what is on its way is waited for, and the other side's answer."""
        self.finish(asyncio.get_running_loop().create_task(self._close(link)))

    async def _close(self, link: Link, opening: asyncio.Task[Any] | None = None) -> None:
        """Close a link; one that is broken already can't be closed in order, and needs not be."""
        try:
            if opening is not None:
                await asyncio.wait([opening], timeout=CLOSE / 2)
            await close(link, CLOSE)
        finally:
            for connection in self._made.pop(link, ()):
                writer = getattr(getattr(connection, "_transport", None), "writer", None)
                if isinstance(writer, asyncio.StreamWriter) and not writer.is_closing():
                    writer.transport.abort()

    def finish(self, task: asyncio.Task[Any]) -> None:
        """Let a task end by itself; `aclose` waits for it."""
        self._closing.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever waited for it

    async def aclose(self) -> None:
        """Wait until all that is being closed is; what takes longer than some seconds is cut off."""
        hanging: set[asyncio.Task[Any]] = set(self._closing)
        if hanging:
            _, hanging = await asyncio.wait(hanging, timeout=CLOSE)
        for task in hanging:
            task.cancel()
        if hanging:
            await asyncio.wait(hanging, timeout=1)


async def close(client: Any, seconds: float) -> None:
    """Close a link or a client, for so many seconds at most; never raises for what goes wrong at that."""
    try:
        await bounded(client.close(), seconds, "closing")
    except Exception as error:  # noqa: BLE001 - whatever breaks here, it is not used any more
        logging.getLogger("polybus").debug("closing %s failed: %r", client, error)


def _look_at(opening: asyncio.Task[Any]) -> None:
    """Take what an opening ended with that nobody waits for, so that asyncio doesn't report it."""
    if not opening.cancelled():
        opening.exception()


async def _joined(opening: asyncio.Task[Any]) -> None:
    await asyncio.shield(opening)


def _note_connections(handler: Any, made: list[Any]) -> None:
    """Add to `made` what a client of the library's AMQP connects with, however its opening ends."""
    connect = getattr(handler, "open_async", None)
    if connect is None:
        return

    async def noted(*given: Any, **named: Any) -> Any:
        try:
            return await connect(*given, **named)
        finally:
            connection = getattr(handler, "_connection", None)
            if connection is not None and connection not in made:
                made.append(connection)

    vars(handler)["open_async"] = noted


def _look_sooner(handler: Any) -> None:
    """Have a link that is being opened be looked at again as soon as something came, for a second or so.

    The library sleeps 50 ms between two looks at whether it is ready, and each of the answers that make it ready takes
    a look: without the sleeps, connecting takes as long as the other side takes. Later looks are the library's own:
    whoever waits for a session may wait for long.
    """
    ready = getattr(handler, "client_ready_async", None)
    if ready is None:
        return

    async def sooner() -> Any:
        task = asyncio.current_task()
        for _ in range(LOOKS):
            is_ready = await ready()
            # A look may keep a cancellation to itself: what it reads with loses it where something came meanwhile.
            if is_ready or (task is not None and task.cancelling()):
                break
            await asyncio.sleep(PAUSE)
        vars(handler).pop("client_ready_async", None)
        return is_ready

    vars(handler)["client_ready_async"] = sooner


def _close_sooner(handler: Any) -> None:
    """Keep the library's closing from waiting for its own keepalive, which sleeps a second at a time."""
    close = getattr(handler, "close_async", None)
    if close is None:
        return

    async def sooner() -> None:
        keeping = getattr(handler, "_keep_alive_thread", None)
        if not isinstance(keeping, asyncio.Task):
            await close()
            return
        handler._keep_alive_thread = None
        try:
            await close()
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    vars(handler)["close_async"] = sooner
