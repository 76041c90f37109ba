"""Handlers in processes of their own."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import os
import select
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

import polybus
import polybus.testing
from polybus import App, Binding, ConfigError, Entity, Peeked, SteppedClock
from polybus.app import frames
from polybus.app.invoker import Invoker
from polybus.app.process import Process
from polybus.binding import Kind
from polybus.clock import machine_time
from polybus.embedded.memory import Store

# Where the system tells of processes by files.
IN_PROC = Path("/proc/self/stat").exists()

_numbers = itertools.count()
Load = Callable[..., ModuleType]

HEAD = """\
import asyncio, ctypes, logging, os, pathlib, signal, sys, threading, time
import polybus

app = polybus.App()
log = logging.getLogger("service")
marks = pathlib.Path(__file__).parent


def mark(name):
    (marks / f"{name}.new").write_text(str(os.getpid()))
    (marks / f"{name}.new").rename(marks / name)


def held(name):
    mark(name)
    while not (marks / f"{name}.go").exists():
        time.sleep(0.002)

"""

MARKS_ATTEMPTS = """
@app.handler("jobs", concurrency=1, executor="process")
def work(job: str, delivery: polybus.Delivery) -> None:
    mark(f"{job}-{delivery.attempt}")
"""


def make_binding(**changes: Any) -> Binding:
    entity = Entity(kind=Kind.QUEUE, name="jobs", address="q", dead_letter="q!dead", lease=30.0, max_attempts=1)
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": Store()},
        queues={"jobs": msgspec.structs.replace(entity, **changes)},
    )


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a module of the given handler, from a folder that is on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    loaded: list[str] = []

    def load(handler: str) -> ModuleType:
        name = f"service{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(handler))
        importlib.invalidate_caches()
        loaded.append(name)
        return importlib.import_module(name)

    yield load
    for name in loaded:
        del sys.modules[name]


async def until(check: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        while not (found := check()):  # noqa: ASYNC110 - processes move, without telling
            await asyncio.sleep(0.002)
        return found


def marked(path: Path) -> int:
    """Return what a handler marked, once it is there."""
    return int(path.read_text()) if path.exists() else 0


async def letters(app: App, count: int = 1) -> list[Peeked]:
    async with asyncio.timeout(30):
        while True:
            found = [letter async for letter in app.bus.dead_letters("jobs").peek()]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.002)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # One that has ended, and whose new parent hasn't looked yet, is there as a Z. It may go while it is read.
        return not IN_PROC or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_a_handler_that_holds_the_lock_keeps_its_lease_and_is_handled_once(load: Load, tmp_path: Path) -> None:
    service = load(
        """
        @app.handler("jobs", concurrency=2, executor="process")
        def work(job: str, delivery: polybus.Delivery) -> None:
            if job == "hold":
                line = os.open(marks / "line", os.O_RDWR)
                mark("holding")
                # One C call that never releases the interpreter's lock, until the test ends it.
                ctypes.PyDLL(None).read(line, ctypes.create_string_buffer(1), ctypes.c_size_t(1))
            mark(f"{job}-{delivery.attempt}-{delivery.lost}")
        """
    )
    app, clock = service.app, SteppedClock()
    app.clock = clock
    os.mkfifo(tmp_path / "line")
    lost: list[Any] = []

    class Listener(polybus.telemetry.NoHooks):  # type: ignore[name-defined, misc]
        def lease_lost(self, event: Any) -> None:
            lost.append(event)

    app._hooks = (Listener(),)
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "hold")
        await until(lambda: marked(tmp_path / "holding"))
        await app.bus.publish("jobs", "beside")
        await until(lambda: marked(tmp_path / "beside-1-False"))  # its neighbour goes on
        await until(lambda: app.consumers[0].in_flight == 1)
        (delivery,) = app.consumers[0]._receiver.holding.held
        for _ in range(4):  # more than two leases
            ends = delivery.lease_until
            clock.advance(16)
            await until(lambda ends=ends: delivery.lease_until > ends)
        assert not (tmp_path / "hold-1-False").exists()
        (tmp_path / "line").write_bytes(b"x")
        await until(lambda: marked(tmp_path / "hold-1-False"))
        await until(lambda: app.consumers[0].in_flight == 0)
    assert lost == []
    assert [name for name in os.listdir(tmp_path) if name.startswith("hold-") and name.endswith("False")] == [
        "hold-1-False"
    ]
    assert marked(tmp_path / "hold-1-False") != os.getpid()


async def test_what_a_handler_gets_and_what_it_may_raise(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = load(
        """
        import dataclasses

        @dataclasses.dataclass
        class Job:
            what: str

        class Unpicklable(Exception):
            def __init__(self, one, two):
                super().__init__(f"{one} and {two}")
                self.lock = threading.Lock()

        class NoSuchCustomer(polybus.DeadLetter):
            def __init__(self, number):
                self.number = number

        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: Job, delivery: polybus.Delivery) -> None:
            if job.what == "view":
                assert isinstance(delivery, polybus.Delivery)
                said = (delivery.source, delivery.attempt, dict(delivery.attributes), delivery.ordering_key)
                log.warning("view: %s %s %s", (*said, delivery.lost), delivery.body.decode(), len(delivery.id))
            elif job.what == "fail":
                raise Unpicklable("one", "\\ud800")
            elif job.what == "letter":
                raise ExceptionGroup("all", [ValueError("x"), polybus.DeadLetter("NoSuchCustomer", "5")])
            elif job.what == "odd letter":
                raise NoSuchCustomer(6)
            elif job.what == "retry":
                raise polybus.Retry("later", after=5)
            elif job.what == "settle":
                asyncio.run(delivery.ack())
        """
    )
    app, clock = service.app, SteppedClock()
    app.clock = clock
    async with app.running(make_binding(max_attempts=2)):
        await app.bus.publish("jobs", {"what": "view"}, attributes={"region": "eu"})
        await until(lambda: "view: " in caplog.text)
        await app.bus.publish("jobs", {"what": "letter"})
        (letter,) = await letters(app, 1)
        assert (letter.reason, letter.description) == ("NoSuchCustomer", "5")
        await app.bus.publish("jobs", {"what": "odd letter"})
        assert [(each.reason, each.description) for each in await letters(app, 2)][1] == ("NoSuchCustomer", "6")
        await app.bus.publish("jobs", {"nothing": 1})
        found = await letters(app, 3)
        assert found[2].reason == "DecodeError"
        assert "Job" in str(found[2].description)
        for what in ("fail", "settle", "retry"):
            await app.bus.publish("jobs", {"what": what})
            await until(lambda: app.consumers[0].in_flight == 0)
            for _ in range(2):
                clock.advance(600)
                await asyncio.sleep(0.05)
            found = await letters(app, len(found) + 1)
    assert [letter.reason for letter in found[3:]] == ["Unpicklable", "UnsupportedFeature", "Retry"]
    assert found[3].description == "one and \\ud800"
    assert "settles by its end" in str(found[4].description)
    (view,) = [record for record in caplog.records if record.getMessage().startswith("view: ")]
    said = ("jobs", 1, {"region": "eu"}, None, False)
    assert view.getMessage() == f'view: {said} {{"what":"view"}} 36'
    assert (view.name, view.levelno) == ("service", logging.WARNING)
    assert view.process != os.getpid()
    assert 'raise Unpicklable("one", ' in caplog.text  # the traceback of its own process


async def test_an_async_handler_runs_on_a_loop_of_its_process_and_a_call_has_a_context_of_its_own(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    service = load(
        """
        import contextvars
        tenant = contextvars.ContextVar("tenant", default="nobody")

        @app.handler("jobs", concurrency=1, executor="process")
        async def work(job: str) -> None:
            log.warning("tenant %s, %s", tenant.get(), "seen" if hasattr(work, "seen") else "first")
            tenant.set(job)
            work.seen = True
            await asyncio.sleep(0)
        """
    )
    app = service.app
    async with app.running(make_binding()):
        await app.bus.publish_many("jobs", ["a", "b"])
        await until(lambda: caplog.text.count("tenant nobody") == 2)
    assert "tenant nobody, seen" in caplog.text  # one process, kept


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its process ended with signal 11 (SIGSEGV)"),
        ("os._exit(7)", "its process ended with exit code 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process ended with signal 9 (SIGKILL)"),
    ],
)
async def test_a_process_that_ends_is_a_failed_attempt_and_is_replaced(
    load: Load, end: str, how: str, tmp_path: Path
) -> None:
    service = load(
        f"""
        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            if job == "end":
                {end}
            mark("fine")
        """
    )
    app = service.app
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "end")
        (letter,) = await letters(app)
        await app.bus.publish("jobs", "fine")
        await until(lambda: marked(tmp_path / "fine"))
    assert letter.reason == "ProcessEnded"
    assert str(letter.description).startswith(how)


@pytest.mark.parametrize("stops", [True, False])
async def test_d2_a_lost_lease_ends_the_process_and_another_takes_its_place(
    load: Load, stops: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = load(
        f"""
        @app.handler("jobs", concurrency=1, max_lease=1, executor="process")
        def work(job: str, delivery: polybus.Delivery) -> None:
            if job == "fine":
                return mark("fine")
            while True:
                try:
                    held("held")
                except SystemExit:
                    mark(f"lost-{{delivery.lost}}")
                    if {stops}:
                        raise
        """
    )
    app, clock = service.app, SteppedClock()
    app.clock = clock
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "hold")
        pid = await until(lambda: marked(tmp_path / "held"))
        clock.advance(31)
        await until(lambda: not alive(pid))
        assert marked(tmp_path / "lost-True") == pid
        await until(lambda: marked(tmp_path / "held") not in (0, pid))  # it came again, to another process
        again = marked(tmp_path / "held")
        await app.drain(grace=0)
        assert not alive(again)
    assert "its lease was lost" in caplog.text


async def test_d2_a_process_that_takes_a_job_up_when_its_lease_is_over_begins_no_handler(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the service and its process are both stopped for a while, and the process goes on first."""
    service = load(MARKS_ATTEMPTS)
    app = service.app
    handle, answer = Process.handle, Process._answer
    stopped: list[int] = []
    late: list[Any] = []

    async def stop_before(process: Process, job: Any) -> Any:
        if not stopped:
            stopped.append(process.pid)
            os.kill(process.pid, signal.SIGSTOP)
        return await handle(process, job)

    async def stand_still(process: Process) -> Any:
        if process.pid in stopped and not late:
            late.append(await delivered.get())
            while app.bus.clock.monotonic() < late[0].lease_until:
                time.sleep(0.01)  # noqa: ASYNC251 - this process is stopped, too
            os.kill(process.pid, signal.SIGCONT)
            line = process._writer.get_extra_info("socket")  # type: ignore[union-attr]
            select.select([line], [], [], 30)  # until the process has said something, whatever that is
        return await answer(process)

    delivered: asyncio.Queue[Any] = asyncio.Queue()
    call = Invoker.__call__

    async def note(invoker: Invoker, delivery: polybus.Delivery) -> None:
        delivered.put_nowait(delivery)
        await call(invoker, delivery)

    monkeypatch.setattr(Invoker, "__call__", note)
    async with app.running(make_binding(lease=1.0)):
        monkeypatch.setattr(Process, "handle", stop_before)
        monkeypatch.setattr(Process, "_answer", stand_still)
        await app.bus.publish("jobs", "one")
        await until(lambda: [name for name in os.listdir(tmp_path) if name.startswith("one-") and "new" not in name])
        await until(lambda: app.consumers[0].in_flight == 0)
        assert (await app.bus.stats("jobs")).dead == 0  # at its only attempt nothing failed
    assert not (tmp_path / f"one-{late[0].attempt}").exists()
    assert f"attempt {late[0].attempt}, was lost" in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


async def test_d2_what_a_process_finds_too_late_is_a_lost_lease_though_our_clock_says_it_is_not(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the machine was suspended meanwhile, of which the clock of asyncio knows nothing."""
    service = load(MARKS_ATTEMPTS)
    app, clock = service.app, SteppedClock()
    app.clock = clock
    async with app.running(make_binding()):
        with monkeypatch.context() as patch:
            patch.setattr("polybus.app.processes.machine_time", lambda: machine_time() - 60)
            await app.bus.publish("jobs", "one")
            await until(lambda: "attempt 1, was lost" in caplog.text)
        clock.advance(31)
        await until(lambda: marked(tmp_path / "one-2"))
        await until(lambda: app.consumers[0].in_flight == 0)
        stats = await app.bus.stats("jobs")
        assert (stats.waiting, stats.dead) == (0, 0)
    assert not (tmp_path / "one-1").exists()
    assert "was not begun: source=jobs" in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


async def test_a_lease_that_was_extended_before_a_process_took_the_job_up_is_not_lost(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = load(MARKS_ATTEMPTS)
    app, clock = service.app, SteppedClock()
    app.clock = clock
    handle = Process.handle
    outcomes: list[Any] = []

    async def take_long(process: Process, job: Any) -> Any:
        if not outcomes:
            job = msgspec.structs.replace(job, until=machine_time())
        outcomes.append(await handle(process, job))
        if len(outcomes) == 1:
            (delivery,) = app.consumers[0]._receiver.holding.held
            ends = delivery.lease_until
            clock.advance(16)
            await until(lambda: delivery.lease_until > ends)
        return outcomes[-1]

    monkeypatch.setattr(Process, "handle", take_long)
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "one")
        await until(lambda: marked(tmp_path / "one-1"))
        await until(lambda: app.consumers[0].in_flight == 0)
    assert outcomes == [frames.TooLate(), frames.Done()]
    assert "lost" not in caplog.text


async def test_what_a_handler_has_started_ends_with_it(load: Load, tmp_path: Path) -> None:
    service = load(
        """
        import subprocess

        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            tool = subprocess.Popen(["sleep", "600"])
            (marks / "tool.new").write_text(str(tool.pid))
            (marks / "tool.new").rename(marks / "tool")
            tool.wait()
        """
    )
    app = service.app
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "a")
        pid = await until(lambda: marked(tmp_path / "tool"))
        await app.drain(grace=0)
    await until(lambda: not alive(pid))


async def test_d12_a_drain_waits_for_the_grace_and_leaves_no_process(load: Load, tmp_path: Path) -> None:
    service = load(
        """
        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            held("held")
            mark("done")
        """
    )
    app = service.app
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "hold")
        pid = await until(lambda: marked(tmp_path / "held"))
        # What a terminal, or a container's runtime, sends to all processes alike.
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        draining = asyncio.create_task(app.drain(grace=30))
        await until(lambda: app.consumers[0]._drained.is_set())
        assert alive(pid)
        (tmp_path / "held.go").touch()
        await draining
        assert marked(tmp_path / "done") == pid
        assert not alive(pid)
        assert (await app.bus.stats("jobs")).waiting == 0


async def test_a_child_that_ends_while_it_is_idle_costs_no_attempt(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = load(MARKS_ATTEMPTS)
    app = service.app
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "one")
        pid = await until(lambda: marked(tmp_path / "one-1"))
        await until(lambda: app.consumers[0].in_flight == 0)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        await app.bus.publish("jobs", "two")
        assert await until(lambda: marked(tmp_path / "two-1")) != pid
    assert "ended while it was idle: its process ended with signal 9 (SIGKILL)" in caplog.text


async def test_a_child_whose_parent_hangs_up_right_after_its_answer_ends_as_programs_do(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = load(
        """
        import atexit, polybus.app.frames

        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            mark(job)

        def send(line, frame):
            send_now(line, frame)
            if isinstance(frame, polybus.app.frames.Done):  # what comes after it comes after the end of the line
                reader = next(each for each in threading.enumerate() if each.name == "polybus parent")
                reader.join()

        if (child := sys.modules.get("polybus.app.child")) is not None and child.is_child():
            atexit.register(mark, "left")
            send_now, child._Line.send = child._Line.send, send
        """
    )
    # How long an interpreter takes to end is the machine's.
    monkeypatch.setattr("polybus.app.process._TERMINATE", 30.0)
    app = service.app
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "one")
        await until(lambda: marked(tmp_path / "one"))
        await until(lambda: app.consumers[0].in_flight == 0)
    assert marked(tmp_path / "left") == marked(tmp_path / "one")


@pytest.mark.parametrize("leaving", ["sys.exit(3)", "raise KeyboardInterrupt"])
async def test_what_is_meant_to_end_the_process_ends_the_service(load: Load, leaving: str) -> None:
    service = load(
        f"""
        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            {leaving}
        """
    )
    app, binding = service.app, make_binding()
    async with polybus.connect(binding) as bus:
        await bus.publish("jobs", "a")

    async def run() -> None:
        async with asyncio.timeout(30):
            await polybus.app.run_apps([app], source=binding)

    with pytest.raises((SystemExit, KeyboardInterrupt)) as raised:
        await run()
    assert getattr(raised.value, "code", 3) == 3


@pytest.mark.parametrize(
    ("code", "exits_with"), [("True", 1), ("2**70 + 5", 5), ("-1", -1), ("OSError('gone')", "gone")]
)
async def test_any_code_ends_the_service(load: Load, code: str, exits_with: object) -> None:
    service = load(
        f"""
        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            sys.exit({code})
        """
    )
    binding = make_binding()
    async with polybus.connect(binding) as bus:
        await bus.publish("jobs", "a")
    with pytest.raises(SystemExit) as raised:
        async with asyncio.timeout(30):
            await polybus.app.run_apps([service.app], source=binding)
    assert raised.value.code == exits_with


async def test_a_line_that_can_not_be_logged_is_no_failure_of_its_message(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    service = load(
        """
        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            log.warning("%d messages", "no")
            logging.getLogger("\\ud800").warning("named oddly")
            log.warning("refused by a filter")
            log.warning("done")
            if job == "again":
                raise polybus.Retry("later", after=True)
        """
    )

    def refuse(record: logging.LogRecord) -> bool:
        if "refused" in record.getMessage():
            raise RuntimeError("a filter's own bug")
        return True

    app = service.app
    logging.getLogger("service").addFilter(refuse)
    try:
        async with app.running(make_binding()):
            for count, job in enumerate(("a", "b"), 1):
                await app.bus.publish("jobs", job)
                await until(lambda count=count: caplog.messages.count("done") == count)
                await until(lambda: app.consumers[0].in_flight == 0)
            assert (await app.bus.stats("jobs")).dead == 0
            await app.bus.publish("jobs", "again")
            (letter,) = await letters(app)
            assert letter.reason == "Retry"
    finally:
        logging.getLogger("service").removeFilter(refuse)
    assert caplog.messages.count("named oddly") == 3
    assert "a filter's own bug" in caplog.text


async def test_a_process_that_says_what_can_not_be_read_is_ended_and_its_call_fails(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    service = load(
        """
        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            os.write(int(sys.argv[1]), bytes([0, 0, 0, 1, 0xC1]))  # its line to the service
            time.sleep(600)
        """
    )
    app = service.app
    async with app.running(make_binding()):
        await app.bus.publish("jobs", "a")
        (letter,) = await letters(app)
        assert letter.reason == "ProcessEnded"
    assert "says what can't be read" in caplog.text


async def test_where_no_process_starts_the_delivery_waits_and_no_attempt_is_counted(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = load(MARKS_ATTEMPTS)
    app, clock = service.app, SteppedClock()
    app.clock = clock
    start = asyncio.create_subprocess_exec

    async def refuse(*arguments: Any, **options: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async with app.running(make_binding()):
        await app.bus.publish("jobs", "one")
        pid = await until(lambda: marked(tmp_path / "one-1"))
        await until(lambda: app.consumers[0].in_flight == 0)
        monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        await app.bus.publish("jobs", "two")
        await until(lambda: "Resource temporarily unavailable" in str(app.problem))
        assert str(app.problem).startswith("jobs: its processes don't start: ")
        monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
        clock.advance(5)
        await until(lambda: marked(tmp_path / "two-1"))
        assert app.problem is None


async def test_it_runs_in_a_test_of_the_service(load: Load, tmp_path: Path) -> None:
    service = load(
        """
        @app.handler("jobs", concurrency=1, executor="process")
        def work(job: str) -> None:
            mark(job)
        """
    )
    async with polybus.testing.run(service.app, make_binding()) as t:
        await t.publish("jobs", "a")
        await t.idle()
        assert marked(tmp_path / "a")


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_function_that_no_other_process_can_import_is_refused_at_its_decoration() -> None:
    import functools

    app = App()

    def inner(body: str) -> None: ...

    class Callable_:
        def __call__(self, body: str) -> None: ...

    with pytest.raises(ConfigError, match=r"inner .* is declared within a function; executor='process' needs"):
        app.handler("jobs", executor="process")(inner)
    with pytest.raises(ConfigError, match="is a Callable_, not a function of a module"):
        app.handler("jobs", executor="process")(Callable_())
    with pytest.raises(ConfigError, match="not a function of a module"):
        app.handler("jobs", executor="process")(functools.partial(inner))
    with pytest.raises(ConfigError, match=r"executor='fork': 'thread' or 'process'"):
        app.handler("jobs", executor="fork")(inner)  # type: ignore[arg-type]

    async def on_loop(body: str) -> None: ...

    with pytest.raises(ConfigError, match="executor='thread' is for `def`"):
        app.handler("jobs", executor="thread")(on_loop)
    assert app.handlers == ()


async def test_a_name_that_stands_for_something_else_is_refused_at_the_start(load: Load) -> None:
    service = load(
        """
        @app.handler("jobs", executor="process")
        def work(job: str) -> None: ...

        work = 5
        """
    )
    with pytest.raises(ConfigError, match=r"'work' of module 'service\d+' is not it, but 5"):
        async with service.app.running(make_binding()):
            pass


async def test_a_module_that_its_process_can_not_import_is_refused_at_the_start(load: Load) -> None:
    service = load(
        """
        if polybus.app.child.is_child() if hasattr(polybus.app, "child") else False:
            raise OSError("no such device")

        @app.handler("jobs", executor="process")
        def work(job: str) -> None: ...
        """
    )
    with pytest.raises(ConfigError, match="its process can't import it: OSError: no such device"):
        async with service.app.running(make_binding()):
            pass


async def test_a_start_that_is_cancelled_leaves_no_process(load: Load, tmp_path: Path) -> None:
    service = load(
        """
        if "polybus.app.child" in sys.modules and sys.modules["polybus.app.child"].is_child():
            held("importing")

        @app.handler("jobs", executor="process")
        def work(job: str) -> None: ...
        """
    )

    async def run() -> None:
        async with service.app.running(make_binding()):
            pass

    task = asyncio.create_task(run())
    pid = await until(lambda: marked(tmp_path / "importing"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)


def children() -> set[str]:
    """Return the processes that this one's main thread started, and those of them that nobody has asked about yet."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return set(listed.read_text().split()) if listed.exists() else set()


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before
