"""A running service, steered: pause, resume and another concurrency, on a clock that the test owns."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polybus import App, Binding, ConfigError, Entity
from polybus.app.control import Answer, Command, ControlServer, ask, clean_up, folder, sockets
from polybus.binding import Kind
from polybus.testing import RunningApp, run


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for sockets, by a short path: a socket's has 107 bytes at most."""
    made = Path(tempfile.mkdtemp(dir="/tmp", prefix="polybus-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    yield made
    shutil.rmtree(made)


def make_binding() -> Binding:
    return Binding(
        backend="memory",
        bus="shop",
        queues={
            name: Entity(kind=Kind.QUEUE, name=name, address=name, dead_letter=f"{name}!dead", lease=30.0)
            for name in ("jobs", "mails")
        },
    )


def serve(t: RunningApp, service: str | None = "worker") -> ControlServer:
    return ControlServer([service], lambda: [t._session])


async def tell(server: ControlServer, *command: Any) -> Answer:
    answer = await asyncio.to_thread(ask, server.path, Command(*command))
    assert answer is not None
    return answer


async def left(t: RunningApp) -> tuple[int, int]:
    stats = await t.bus.stats("jobs")
    return stats.waiting or 0, stats.leased or 0


async def test_two_services_that_start_at_once_take_neither_for_one_that_was_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = asyncio.start_unix_server

    async def while_another_starts(*arguments: Any, **options: Any) -> asyncio.Server:
        clean_up()
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "start_unix_server", while_another_starts)
    async with run(App(), make_binding()) as t, serve(t) as server:
        clean_up()
        assert sockets() == [server.path]
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert (await tell(server, "status")).pid == os.getpid()
    assert list(folder().iterdir()) == []


def test_what_was_killed_before_it_listened_is_removed() -> None:
    folder().mkdir(mode=0o700)
    gone = subprocess.Popen(["true"])
    gone.wait()
    for pid in (gone.pid, os.getpid()):
        (folder() / f"worker-{pid}.new").touch()
    clean_up()
    assert [path.name for path in folder().iterdir()] == [f"worker-{os.getpid()}.new"]


async def test_pause_gives_back_what_no_call_has_begun_with_and_resume_goes_on() -> None:
    app, gate, begun = App(), asyncio.Event(), list[tuple[str, int]]()

    @app.handler("jobs", concurrency=2, prefetch=6)
    async def work(body: str, delivery: Any = None) -> None:
        begun.append((body, 1))
        await gate.wait()

    async with run(app, make_binding()) as t, serve(t) as server:
        await t.bus.publish_many("jobs", list("abcdef"))
        await t.clock.settle()
        assert await left(t) == (0, 6)
        answer = await tell(server, "pause", "jobs")
        [part] = answer.parts
        assert (answer.pid, answer.service, answer.error) == (os.getpid(), "worker", None)
        assert (part.source, part.concurrency, part.not_taking) == ("jobs", 2, "pause")
        assert part.problem is not None
        assert part.problem.startswith("paused by ")
        assert "jobs: paused by " in (app.problem or "")
        await t.clock.settle()
        assert await left(t) == (4, 2)
        gate.set()
        await t.idle()
        assert await left(t) == (4, 0)
        await tell(server, "resume", "jobs")
        assert app.problem is None
        await t.idle()
        assert await left(t) == (0, 0)
        assert sorted(body for body, _ in begun) == list("abcdef")


async def test_an_operators_pause_and_a_handlers_own_trouble_end_each_by_itself() -> None:
    from polybus.bus.consumer import hold

    app = App()

    @app.handler("jobs")
    async def work(body: str) -> None: ...

    async with run(app, make_binding()) as t, serve(t) as server:
        await tell(server, "pause", "jobs")
        hold(app.consumers[0], "threads", "out of threads")
        hold(app.consumers[0], "threads", None)
        assert app.consumers[0].not_taking == "pause"
        await t.publish("jobs", "a")
        await t.idle()
        assert await left(t) == (1, 0)
        await tell(server, "resume", "jobs")
        await t.idle()
        assert await left(t) == (0, 0)


@pytest.mark.parametrize("blocking", [False, True])
async def test_concurrency_grows_and_shrinks_while_calls_run(blocking: bool) -> None:
    app, most = App(), 0
    running: set[int] = set()
    done: list[int] = []
    gate = threading.Semaphore(0)

    def end(body: int) -> None:
        running.discard(body)
        done.append(body)

    def begin(body: int) -> None:
        nonlocal most
        running.add(body)
        most = max(most, len(running))

    if blocking:

        @app.handler("jobs", concurrency=2)
        def work(body: int) -> None:
            begin(body)
            gate.acquire()
            end(body)

    else:

        @app.handler("jobs", concurrency=2)
        async def on_loop(body: int) -> None:
            begin(body)
            while not gate.acquire(blocking=False):  # noqa: ASYNC110 - the test lets one at a time go on
                await asyncio.sleep(0)
            end(body)

    async def until(count: int) -> None:
        async with asyncio.timeout(30):
            while len(running) != count:  # noqa: ASYNC110 - threads tell nobody
                await asyncio.sleep(0)

    async with run(app, make_binding()) as t, serve(t) as server:
        await t.bus.publish_many("jobs", list(range(40)))
        await until(2)
        [part] = (await tell(server, "concurrency", "jobs", 6)).parts
        assert part.concurrency == 6
        await until(6)
        assert most == 6
        await tell(server, "concurrency", "jobs", 1)
        most = 0
        gate.release(5)
        await until(1)
        for _ in range(10):
            await t.clock.settle()
        assert len(running) == 1
        most = 0
        gate.release(10)
        async with asyncio.timeout(30):
            while len(done) < 15:  # noqa: ASYNC110 - threads tell nobody
                await asyncio.sleep(0)
        assert most <= 1
        await tell(server, "concurrency", "jobs", 3)
        await until(3)
        gate.release(100)
        await t.idle()
        assert await left(t) == (0, 0)


async def test_idle_workers_leave_and_others_come() -> None:
    app, done = App(), list[int]()

    @app.handler("jobs", concurrency=8)
    async def work(body: int) -> None:
        done.append(body)

    async with run(app, make_binding()) as t, serve(t) as server:
        for calls in (1, 5, 2, 8, 1, 1, 3):
            await tell(server, "concurrency", "jobs", calls)
            await t.clock.settle()
            assert len(app.consumers[0]._workers) == calls
        await t.bus.publish_many("jobs", list(range(20)))
        await t.idle()
        assert sorted(done) == list(range(20))


async def test_a_batch_handlers_concurrency_counts_calls() -> None:
    app, gate, sizes = App(), asyncio.Event(), list[int]()

    @app.handler("jobs", max_batch=3, max_wait=0)
    async def work(bodies: list[int]) -> None:
        sizes.append(len(bodies))
        await gate.wait()

    async with run(app, make_binding()) as t, serve(t) as server:
        await t.bus.publish_many("jobs", list(range(12)))
        await t.clock.settle()
        assert len(sizes) == 1
        await tell(server, "concurrency", "jobs", 3)
        await t.clock.settle()
        assert len(sizes) == 3
        gate.set()
        await t.idle()
        assert sum(sizes) == 12


async def test_what_it_cannot_do_is_said_and_changes_nothing(runtime: Path) -> None:
    app = App()

    @app.handler("jobs")
    async def work(body: str) -> None: ...

    async with run(app, make_binding()) as t, serve(t) as server:
        for command, said in (
            (("pause", "mails"), "it has no handler of 'mails'; it has jobs"),
            (("concurrency", "jobs", 0), "concurrency 0: 1 to 10,000"),
            (("stop", "jobs"), "'stop' is none of"),
        ):
            answer = await tell(server, *command)
            assert said in (answer.error or "")
        reader, writer = await asyncio.open_unix_connection(str(server.path))
        writer.write(b"no json\n")
        assert b"error" in await reader.readline()
        writer.close()
        await t.publish("jobs", "a")
        await t.idle()
        [part] = (await tell(server, "status")).parts
        assert (part.source, part.concurrency, part.not_taking, part.problem) == ("jobs", 16, None, None)


async def test_only_its_user_may_open_the_socket_and_it_is_gone_afterwards(runtime: Path) -> None:
    app = App()

    @app.handler("jobs")
    async def work(body: str) -> None: ...

    async with run(app, make_binding()) as t:
        async with serve(t) as server:
            assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
            assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
            assert sockets() == [server.path]
            assert server.path.name == f"worker-{os.getpid()}.sock"
        assert sockets() == []


async def test_sockets_of_services_that_were_killed_are_removed(runtime: Path) -> None:
    folder().mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(folder() / "gone-1.sock"))
    with socket.socket(socket.AF_UNIX) as also:
        also.bind(str(folder() / "gone-2.sock"))
    assert await asyncio.to_thread(ask, folder() / "gone-2.sock", Command("status")) is None
    assert [path.name for path in sockets()] == ["gone-1.sock"]
    async with ControlServer([None], list) as server:
        assert sockets() == [server.path]
        assert server.path.name == f"polybus-{os.getpid()}.sock"


async def test_a_folder_that_others_may_enter_is_refused(runtime: Path) -> None:
    folder().mkdir()
    folder().chmod(0o755)
    with pytest.raises(ConfigError, match="this user's alone"):
        await ControlServer(["worker"], list).__aenter__()
    folder().rmdir()
    folder().symlink_to(runtime)
    with pytest.raises(ConfigError, match="this user's alone"):
        sockets()
