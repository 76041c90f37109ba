"""A handler that blocks the loop is reported by name."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from polybus.app.watchdog import Watchdog


class Heard(logging.Handler):
    """Sets an event for each record, so that what blocks the loop can wait for being told of."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self.told.set()


@contextmanager
def listening() -> Iterator[Heard]:
    heard = Heard()
    logger = logging.getLogger("polybus.app")
    logger.addHandler(heard)
    try:
        yield heard
    finally:
        logger.removeHandler(heard)


def block_until_told(heard: Heard) -> bool:
    return heard.told.wait(20)


async def test_the_handler_is_named_with_the_line_and_the_end_is_told() -> None:
    with listening() as heard:
        names: dict[object, str] = {asyncio.current_task(): "shop.billing.bill"}
        with Watchdog(names.get, stall=0.05):
            assert block_until_told(heard)
            heard.told.clear()
            assert await asyncio.to_thread(heard.told.wait, 20)
    assert heard.texts[0].startswith("handler shop.billing.bill has been blocking the event loop for over 0.05 s, at ")
    assert "in block_until_told" in heard.texts[0]
    assert f"{__file__}:" in heard.texts[0]
    assert heard.texts[1].startswith("the event loop goes on after")


async def test_another_task_is_told_as_such() -> None:
    with listening() as heard, Watchdog(lambda task: None, stall=0.05):

        async def stray() -> bool:
            return block_until_told(heard)

        assert await asyncio.create_task(stray(), name="stray")
    assert heard.texts[0].startswith("task 'stray' has been blocking the event loop")


async def test_a_callback_is_told_as_such() -> None:
    with listening() as heard, Watchdog(lambda task: None, stall=0.05):
        blocked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: blocked.set_result(block_until_told(heard)))
        assert await blocked
    assert heard.texts[0].startswith("a callback has been blocking the event loop")


async def test_a_loop_that_turns_is_left_alone() -> None:
    with listening() as heard, Watchdog(lambda task: None, stall=5.0):
        await asyncio.sleep(0)
    assert heard.texts == []


def test_a_loop_that_was_closed_ends_the_watch() -> None:
    loop = asyncio.new_event_loop()

    async def start() -> Watchdog:
        return Watchdog(lambda task: None, stall=0.01).__enter__()

    watchdog = loop.run_until_complete(start())
    loop.close()
    thread = next(t for t in threading.enumerate() if t.name == "polybus watchdog")
    thread.join(20)
    assert not thread.is_alive()
    watchdog.__exit__(None, None, None)


@pytest.mark.parametrize("stall", [0.05])
async def test_it_stops_while_the_loop_is_blocked(stall: float) -> None:
    with listening() as heard:
        watchdog = Watchdog(lambda task: None, stall=stall)
        watchdog.__enter__()
        assert block_until_told(heard)
        watchdog.__exit__(None, None, None)
        assert not any(t.name == "polybus watchdog" for t in threading.enumerate())
