"""Apps as processes: signals, drain, health and fatal errors (contract, D12)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import polybus
from polybus import App, Entity, Fault, FaultKind
from polybus.app import run_apps
from polybus.app.watchdog import STALL
from polybus.embedded.memory import MemoryDriver, Store

from .held import Held, in_background, make_binding, publish, waiting


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def probe(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answer.split(" ")[1] + " " + answer.rpartition("\r\n\r\n")[2].strip()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_d12_the_first_signal_drains(number: signal.Signals) -> None:
    binding, port = make_binding(), free_port()
    held = Held(binding, concurrency=1)
    await publish(binding, "a", "b", "c")
    before = signal.getsignal(number)
    async with in_background(held.app.run(health_port=port)) as task:
        await held.started.wait()
        assert await probe(port, "/ready") == "200 ready"
        os.kill(os.getpid(), number)
        while await probe(port, "/ready") != "503 draining":
            pass
        assert await probe(port, "/live") == "200 live"
        assert not task.done()
        held.go_on.set()
        await task
    assert held.ends == ["done"]
    assert await waiting(binding) == 2
    assert signal.getsignal(number) is before
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await probe(port, "/live")


@pytest.mark.parametrize("after_the_first", [True, False])
async def test_a_second_signal_cancels_what_is_being_handled(after_the_first: bool) -> None:
    binding, port = make_binding(), free_port()
    held = Held(binding)
    await publish(binding, "a")
    async with in_background(held.app.run(health_port=port)) as task:
        await held.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        if after_the_first:
            while await probe(port, "/ready") != "503 draining":
                pass
            assert held.ends == []
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert held.ends == ["cancelled"]
    assert await waiting(binding) == 1


async def test_the_grace_bounds_a_drain() -> None:
    binding = make_binding()
    held = Held(binding, grace=3600)
    await publish(binding, "a")
    async with in_background(held.app.run(grace=0)) as task:
        await held.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert held.ends == ["cancelled"]
    assert await waiting(binding) == 1


async def test_draining_the_app_ends_its_run() -> None:
    binding = make_binding()
    held = Held(binding)
    await publish(binding, "a")
    async with in_background(held.app.run()) as task:
        await held.started.wait()
        held.go_on.set()
        await held.app.drain()
        await task
    assert held.ends == ["done"]


async def test_a_run_that_is_cancelled_drains_all_the_same() -> None:
    binding = make_binding()
    held = Held(binding)
    await publish(binding, "a")
    async with in_background(held.app.run()) as task:
        await held.started.wait()
        task.cancel()
        await asyncio.sleep(0)
        held.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert held.ends == ["done"]
    assert await waiting(binding) == 0


async def test_a_signal_during_start_up_ends_it() -> None:
    app = App(source=make_binding())
    starting, ends = asyncio.Event(), []

    @app.lifespan
    async def slow(given: App) -> AsyncIterator[None]:
        starting.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ends.append("closed")
        yield

    port = free_port()
    async with in_background(app.run(health_port=port)) as task:
        await starting.wait()
        assert await probe(port, "/ready") == "503 starting"
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert ends == ["closed"]


async def test_several_apps_run_in_one_process() -> None:
    store = Store()
    binding = make_binding(store)
    first, second = App(), App()
    mails: list[str] = []

    @first.handler("jobs")
    async def work(body: str) -> None:
        await first.bus.publish("mails", body.upper())

    @second.handler("mails")
    async def mail(body: str) -> None:
        mails.append(body)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    await publish(binding, "a")
    async with asyncio.timeout(30):
        await run_apps([first, second], source=binding)
    assert mails == ["A"]


def failing(monkeypatch: pytest.MonkeyPatch, kind: FaultKind, *, receive: bool = False) -> None:
    """Make the memory backend fail to consume from `mails`."""
    fault = Fault(kind, "queue 'mails' is gone")
    open_consumer: Callable[..., Any] = MemoryDriver.open_consumer

    async def fail(*args: object, **options: object) -> Any:
        raise polybus.BackendError(fault)

    async def open_or_fail(self: MemoryDriver, source: Entity, **options: int) -> Any:
        if source.name != "mails":
            return await open_consumer(self, source, **options)
        if not receive:
            raise polybus.BackendError(fault)
        consumer = await open_consumer(self, source, **options)
        monkeypatch.setattr(consumer, "receive_batch", fail)
        return consumer

    monkeypatch.setattr(MemoryDriver, "open_consumer", open_or_fail)


@pytest.mark.parametrize("receive", [False, True])
async def test_a_fatal_error_drains_the_others_and_is_raised(monkeypatch: pytest.MonkeyPatch, receive: bool) -> None:
    failing(monkeypatch, FaultKind.NOT_FOUND, receive=receive)
    binding = make_binding()
    held, broken = Held(binding), App(source=binding)

    @broken.handler("mails")
    async def mail(body: str) -> None: ...

    await publish(binding, "a")

    @broken.lifespan
    async def after_the_other(given: App) -> AsyncIterator[None]:
        await held.started.wait()
        asyncio.get_running_loop().call_later(0.01, held.go_on.set)
        yield

    with pytest.raises(polybus.BackendError, match=r"not_found: consuming 'mails' for .*mail: queue 'mails' is gone"):
        await run_apps([held.app, broken])
    assert held.ends == ["done"]


async def test_a_consumer_that_fails_is_told_at_the_end_of_running(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, FaultKind.DENIED)
    app = App(source=make_binding())

    @app.handler("mails")
    async def mail(body: str) -> None: ...

    async def run() -> None:
        async with app.running() as session:
            await session.until_stopped()

    with pytest.raises(polybus.BackendError, match="denied: consuming 'mails'"):
        await run()


async def test_what_is_wrong_is_refused_before_anything_starts() -> None:
    with pytest.raises(polybus.ConfigError, match="there is no app to run"):
        await run_apps([])
    app = App(source=make_binding())
    with pytest.raises(polybus.ConfigError, match="the same app is given twice"):
        await run_apps([app, app])
    with pytest.raises(polybus.ConfigError, match="health port 70000"):
        await app.run(health_port=70_000)

    @app.handler("nowhere")
    async def handle(body: str) -> None: ...

    with pytest.raises(polybus.ConfigError, match="nothing named 'nowhere'"):
        await app.run()


async def test_outside_the_main_thread_there_are_no_signals() -> None:
    binding = make_binding()
    await publish(binding, "a")

    async def main() -> list[str]:
        held = Held(binding)
        async with in_background(held.app.run()) as task:
            await held.started.wait()
            held.go_on.set()
            await held.app.drain()
            await task
        return held.ends

    assert await asyncio.to_thread(asyncio.run, main()) == ["done"]


async def test_a_handler_that_blocks_the_loop_is_reported_by_name(caplog: pytest.LogCaptureFixture) -> None:
    binding = make_binding()
    app, told = App(source=binding), threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "blocking the event loop" in record.getMessage():
                told.set()

    @app.handler("jobs")
    async def hog(body: str) -> None:
        assert told.wait(20)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    listener, logger = Listener(), logging.getLogger("polybus.app")
    logger.addHandler(listener)
    try:
        await publish(binding, "a")
        async with asyncio.timeout(30):
            await app.run()
    finally:
        logger.removeHandler(listener)
    assert "hog has been blocking the event loop for over 0.5 s, at " in caplog.text
    assert f"{__file__}:" in caplog.text


async def test_a_start_that_blocks_the_loop_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A cloud's SDK is imported then, which nobody can help, and nothing is held that could be lost."""
    binding = make_binding()
    app = App(source=binding)

    @app.lifespan
    async def blocks(app: App) -> AsyncIterator[None]:
        time.sleep(3 * STALL)  # noqa: ASYNC251 - the longest that a stall may go unseen is twice STALL
        yield

    @app.handler("jobs")
    async def work(body: str) -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    await publish(binding, "a")
    async with asyncio.timeout(30):
        await app.run()
    assert "blocking the event loop" not in caplog.text
