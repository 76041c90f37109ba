"""An app that ends though nobody asked it to, or that doesn't end although it was asked to (contract, D12 and D16)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import polybus
from polybus import App, AppFailed, Binding, Entity, SteppedClock
from polybus.app import run_apps
from polybus.app.ending import DRAIN
from polybus.app.executor import OnLoop
from polybus.app.session import Session
from polybus.driver import ConsumerDriver
from polybus.registry import load
from polybus.testing.proxy import DriverProxy
from polybus.topology.file import loads

from .held import Held, in_background, make_binding, publish, waiting


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - threads and the bus's own tasks move, without telling
            await asyncio.sleep(0.001)


def task_named(name: str) -> asyncio.Task[Any]:
    return next(task for task in asyncio.all_tasks() if task.get_name() == name)


def mailer(binding: Binding) -> App:
    app = App(source=binding)

    @app.handler("mails")
    async def mail(body: str) -> None: ...

    return app


async def cancel_the_consumer(app: App) -> None:
    task_named("polybus consumer mails").cancel()


async def close_its_bus(app: App) -> None:
    await app.bus.aclose()


@pytest.mark.parametrize("end", [cancel_the_consumer, close_its_bus])
async def test_a_consumer_that_ends_unasked_fails_the_app_and_drains_the_others(
    end: Callable[[App], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    binding = make_binding()
    held, ending = Held(binding), mailer(binding)
    await publish(binding, "a")
    async with in_background(run_apps([held.app, ending])) as running:
        await held.started.wait()
        await until(lambda: bool(ending.consumers))
        await end(ending)
        await until(lambda: "the app fails" in caplog.text)
        assert not running.done()
        held.go_on.set()
        with pytest.raises(AppFailed, match=r"the consumer of 'mails' for .*mail .*, though nobody asked it to"):
            await running
    assert held.ends == ["done"]
    assert await waiting(binding) == 0


async def test_an_app_that_is_cancelled_by_somebody_else_fails_them_all() -> None:
    binding = make_binding()
    held, ending = Held(binding), mailer(binding)
    ending.lifespan(no_resources)
    await publish(binding, "a")
    async with in_background(run_apps([held.app, ending])) as running:
        await held.started.wait()
        await until(lambda: bool(ending.consumers))
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("polybus app")]
        (mine,) = [task for task in tasks if ending.consumers and task is not tasks[0]] or tasks[:1]
        mine.cancel()
        held.go_on.set()
        with pytest.raises(AppFailed, match="was cancelled, though nobody asked it to end"):
            await running
    assert held.ends == ["done"]


async def no_resources(app: App) -> AsyncIterator[None]:
    yield


async def test_without_a_supervisor_it_is_logged_and_raised_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    app = mailer(make_binding())

    async def run() -> None:
        async with app.running():
            await until(lambda: app.problem is None)
            await cancel_the_consumer(app)
            await until(lambda: app.problem is not None)
            assert str(app.problem).startswith("failed: the consumer of 'mails' for ")
            assert "the app fails, and is drained: the consumer of 'mails'" in caplog.text

    with pytest.raises(AppFailed, match="the consumer of 'mails'"):
        await run()


# Handlers that end the process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "thread", "group"])
@pytest.mark.parametrize("leaving", [SystemExit(3), KeyboardInterrupt()])
async def test_what_is_meant_to_end_the_process_drains_and_is_raised(kind: str, leaving: BaseException) -> None:
    binding = make_binding(max_attempts=1)
    held, app = Held(binding), App(source=binding)

    async def leave(body: str) -> None:
        asyncio.get_running_loop().call_later(0.01, held.go_on.set)
        raise BaseExceptionGroup("both", [ValueError("x"), leaving]) if kind == "group" else leaving

    def leave_in_a_thread(body: str) -> None:
        held.app.bus  # noqa: B018 - the other still runs
        raise leaving

    app.handler("mails")(leave_in_a_thread if kind == "thread" else leave)
    await publish(binding, "a")

    @app.lifespan
    async def after_the_other(given: App) -> AsyncIterator[None]:
        await held.started.wait()
        yield

    await publish(binding, "leave", to="mails")
    if kind == "thread":
        held.go_on.set()

    async def run() -> None:
        async with asyncio.timeout(30):
            await run_apps([held.app, app])

    with pytest.raises(type(leaving)) as raised:
        await run()
    assert raised.value is leaving
    assert held.ends == ["done"]
    async with polybus.connect(binding) as bus:  # it failed: it doesn't end each process that it comes to
        (letter,) = [letter async for letter in bus.dead_letters("mails").peek()]
    assert letter.reason == type(leaving).__name__


# Lifespans ------------------------------------------------------------------------------------------------------------


async def test_a_lifespan_that_is_cancelled_by_itself_fails_the_app(caplog: pytest.LogCaptureFixture) -> None:
    binding = make_binding()
    app = mailer(binding)

    @app.lifespan
    async def pool(given: App) -> AsyncIterator[None]:
        forgotten = asyncio.create_task(asyncio.sleep(3600))
        yield
        forgotten.cancel()
        await forgotten

    with pytest.raises(AppFailed, match=r"the end of lifespan .*pool .* was cancelled, and not by polybus"):
        async with app.running():
            pass


async def test_a_lifespan_whose_task_group_fails_fails_the_app(caplog: pytest.LogCaptureFixture) -> None:
    app = mailer(make_binding())

    async def refresh() -> None:
        raise OSError("no such host")

    @app.lifespan
    async def background(given: App) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(refresh())
            yield

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(30):
            await app.run()
    assert raised.group_contains(OSError, match="no such host")
    assert "the app fails, and is drained: ExceptionGroup" in caplog.text


async def test_what_a_lifespan_sets_is_seen_by_handlers_and_what_fails_in_the_block_by_the_lifespan() -> None:
    import contextvars

    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="")
    seen: list[str] = []
    app = App(source=make_binding())

    @app.lifespan
    async def resources(given: App) -> AsyncIterator[None]:
        tenant.set("acme")
        try:
            yield
        except ValueError as error:
            seen.append(f"lifespan: {error}")
            raise

    @app.handler("jobs")
    async def on_loop(body: str) -> None:
        seen.append(f"loop: {tenant.get()}")

    @app.handler("mails")
    def in_thread(body: str) -> None:
        seen.append(f"thread: {tenant.get()}")

    async def run() -> None:
        async with app.running():
            await app.bus.publish("jobs", "a")
            await until(lambda: len(seen) == 1)
            await app.bus.publish("mails", "a")
            await until(lambda: len(seen) == 2)
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        await run()
    assert seen == ["loop: acme", "thread: acme", "lifespan: of the block"]


class Stubborn:
    """Never ends, whoever cancels it."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.let_go = asyncio.Event()

    async def wait(self) -> None:
        self.started.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue


@pytest.mark.parametrize("swallows", [False, True])
async def test_d12_a_lifespan_whose_end_hangs_is_bounded_and_named(
    swallows: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppedClock()
    app = App(source=make_binding(), clock=clock)
    stubborn, closed = Stubborn(), []

    @app.lifespan
    async def flush_metrics(given: App) -> AsyncIterator[None]:
        yield
        if swallows:
            await stubborn.wait()
        stubborn.started.set()
        await asyncio.get_running_loop().create_future()

    @app.handler("jobs", grace=3600)
    async def work(body: str) -> None: ...

    async def run() -> None:
        async with app.running():
            closed.append(app.bus)

    async with in_background(run()) as running:
        await stubborn.started.wait()
        clock.advance(DRAIN)  # whatever the handlers left of their grace
        if swallows:
            await asyncio.sleep(0.05)  # for it to be cancelled: its second half a second begins then
            clock.advance(0.6)
        with pytest.raises(AppFailed, match=r"the end of lifespan .*flush_metrics \(.*\) took longer than"):
            await running
    assert "flush_metrics" in caplog.text
    with pytest.raises(polybus.BusClosed):
        await closed[0].ping()
    stubborn.let_go.set()


# Handlers and buses that don't end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["async", "thread"])
async def test_d12_a_handler_that_never_ends_keeps_neither_the_drain_nor_the_loop(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    import threading

    binding = make_binding()
    let_go = threading.Event()

    async def main() -> None:
        stubborn, started = Stubborn(), threading.Event()
        app = App(source=binding)

        async def swallow(body: str) -> None:
            started.set()
            await stubborn.wait()

        def block(body: str) -> None:
            started.set()
            let_go.wait(60)

        app.handler("jobs", grace=0)(swallow if where == "async" else block)
        async with in_background(app.run()) as running:
            assert await asyncio.to_thread(started.wait, 20)
            await app.drain()
            await running

    await publish(binding, "a")
    try:
        # Its own asyncio.run ends, too: which cancels and waits for every task that it knows.
        await asyncio.to_thread(asyncio.run, main())
    finally:
        let_go.set()
    assert await waiting(binding) == 1
    if where == "async":
        assert "swallow still runs: it swallowed its cancellation" in caplog.text
    else:
        assert "a call that was given up still runs: handler " in caplog.text
        assert "block in thread 'polybus jobs-1'" in caplog.text


async def test_d12_a_bus_that_does_not_close_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppedClock()
    app = App(source=make_binding(), clock=clock)
    app.handler("jobs", grace=0)(no_work)
    closing = asyncio.Event()

    async def hang(bus: polybus.Bus) -> None:
        closing.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("polybus.bus.bus.Bus.aclose", hang)

    async def run() -> None:
        async with app.running():
            await until(lambda: app.problem is None)

    async with in_background(run()) as running:
        await closing.wait()
        clock.advance(2 * DRAIN)
        with pytest.raises(AppFailed, match="closing Bus"):
            await running
    assert "closing Bus" in caplog.text


async def no_work(body: str) -> None: ...


async def test_a_run_that_is_cancelled_twice_interrupts_its_handlers() -> None:
    binding = make_binding()
    held = Held(binding, grace=3600)
    await publish(binding, "a")
    async with in_background(held.app.run()) as running:
        await held.started.wait()
        running.cancel()
        await until(lambda: held.app.consumers[0]._drained.is_set())
        assert held.ends == []
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert held.ends == ["cancelled"]
    assert await waiting(binding) == 1


async def test_a_second_signal_ends_the_grace_of_a_handler_that_swallows_it() -> None:
    binding = make_binding()
    stubborn = Stubborn()
    app = App(source=binding)

    @app.handler("jobs", grace=3600)
    async def swallow(body: str) -> None:
        await stubborn.wait()

    await publish(binding, "a")
    async with in_background(app.run()) as running:
        await stubborn.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: app.consumers[0]._drained.is_set())
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert await waiting(binding) == 1
    stubborn.let_go.set()


def test_the_last_resort_ends_a_process_that_a_thread_keeps(tmp_path: Any) -> None:
    import subprocess

    program = (
        "import threading, time\n"
        "from polybus.app.last_resort import LastResort\n"
        "threading.Thread(target=time.sleep, args=(60,), name='keeps it').start()\n"
        "end = LastResort(); end.begin(0.05)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "thread 'keeps it' still runs, at " in done.stderr


# What is refused ------------------------------------------------------------------------------------------------------


async def test_an_app_that_would_do_nothing_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(polybus.ConfigError, match="has no handlers and no lifespan"):
        await run_apps([App(source=make_binding())])
    app = App(source=make_binding())
    app.lifespan(no_resources)
    async with in_background(app.run()):
        await until(lambda: app.problem is None)
    assert "has no handlers: it consumes nothing" in caplog.text


def test_a_decorator_without_parentheses_is_refused() -> None:
    app = App()
    with pytest.raises(polybus.ConfigError, match=r"handler .*bare \(.*test_ends.py:\d+\): name what it consumes"):

        @app.handler  # type: ignore[arg-type]
        async def bare(body: dict[str, Any]) -> None: ...

    with pytest.raises(polybus.ConfigError, match="name what it consumes"):
        app.handler(5)  # type: ignore[arg-type]


async def test_a_drain_while_a_consumer_is_still_being_opened_is_no_failure() -> None:
    """A cloud's library takes a second to import and to connect, and SIGTERM may come meanwhile."""
    begun, release = asyncio.Event(), asyncio.Event()

    class Slow(DriverProxy):
        async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
            begun.set()
            await release.wait()
            return await super().open_consumer(source, prefetch=prefetch, concurrency=concurrency)

    binding = make_binding()
    app = App()

    @app.handler("jobs")
    async def work(body: str) -> None:
        raise AssertionError

    clock = SteppedClock()
    async with polybus.connect(binding, clock=clock, driver=Slow(load("memory")(binding, clock))) as bus:
        async with asyncio.timeout(30):
            async with app.running(bus=bus) as session:
                await begun.wait()
                draining = asyncio.create_task(session.drain(0.0))
                await asyncio.sleep(1.0)
                assert not draining.done()
                release.set()
                await draining


async def test_what_ends_a_start_midway_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = loads('[bus]\nname = "ends"\n[queues.one]\n[queues.two]\n', source="polybus.toml")
    app = polybus.App(source=topology)
    for source in ("one", "two"):

        @app.handler(source)
        async def handle(body: str) -> None: ...

    def refuse(self: Session, handler: Any, pause: Any) -> Any:
        if handler.source == "two":
            raise ImportError("this system has no processes")
        return OnLoop(handler)

    monkeypatch.setattr(Session, "_executor", refuse)
    with pytest.raises(ImportError, match="no processes"):
        async with app.running():
            pass
