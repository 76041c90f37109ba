"""Forks of a process that uses Pub/Sub: children that use nothing of it, and those that connect by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from polybus.binding import Binding
from polybus.clouds.gcp.driver.forks import Forks
from polybus.clouds.gcp.local import realise
from polybus.clouds.gcp.plan.resources import GcpSettings, plan
from polybus.errors import BindingError
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.topology.file import loads

TOPOLOGY = """
[bus]
name = "forks"
[queues.jobs]
"""


@pytest.fixture
def binding() -> Iterator[Binding]:
    with running_in_thread(PubsubServer()) as server:
        planned = plan(loads(TOPOLOGY, source="polybus.toml"), GcpSettings(project="p"))
        endpoint = f"{server.host}:{server.port}"
        made = realise(planned, endpoint=endpoint, project="p")
        yield msgspec.structs.replace(made, settings={**made.settings, "endpoint": endpoint})


# Forty children of a process that receives: each has its chance to meet gRPC at a moment that it doesn't survive.
IDLE = """
import asyncio, os, sys, time
import polybus

async def main():
    async with polybus.connect(sys.argv[1]) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"x")
        delivery = await anext(deliveries)
        ends = set()
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                time.sleep(0.02)  # for the threads that a fork starts
                os._exit(0)
            ends.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            await asyncio.sleep(0.001)
        await delivery.ack()
    print(ends, flush=True)

asyncio.run(main())
"""


def test_a_child_that_uses_nothing_of_it_goes_on(binding: Binding) -> None:
    """As those of multiprocessing do, and what a handler forks."""
    assert _run(IDLE, binding) == ["{0}"]


# Children that are forked in the moment in which their parent's last connection was closed, and connect.
AT_ONCE = """
import asyncio, os, sys
import polybus

async def use():
    async with polybus.connect(sys.argv[1]) as bus:
        await bus.publish("jobs", b"x")

ends = set()
for _ in range(20):
    asyncio.run(use())
    pid = os.fork()
    if pid == 0:
        asyncio.run(use())
        os._exit(0)
    ends.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(ends, flush=True)
"""


def test_a_child_of_a_process_that_has_just_closed_may_connect(binding: Binding) -> None:
    assert _run(AT_ONCE, binding) == ["{0}"]


# As above, in a program that loads gRPC before polybus can tell it anything.
LOADED_FIRST = """
import asyncio, logging, os, sys
import grpc
import polybus

logging.basicConfig(format="%(levelname)s %(message).40s", stream=sys.stdout)

async def main():
    async with polybus.connect(sys.argv[1]) as bus:
        await bus.ping()
        for _ in range(2):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        await bus.ping()

asyncio.run(main())
"""


def test_where_grpc_could_not_be_told_a_fork_is_said_once(binding: Binding) -> None:
    assert _run(LOADED_FIRST, binding) == ["WARNING this process forks while it is connected"]


def test_threads_of_grpc_that_are_ending_are_waited_for() -> None:
    running = ["python", "event_engine", "grpc_global_tim"]

    def sleep(seconds: float) -> None:
        if running[1:]:
            running.pop()

    forks = Forks(threads=lambda: running, sleep=sleep)
    forks.opened()
    forks.closed()
    forks.before()
    assert running == ["python"]
    forks.forked()
    forks.refuse_in_child()


def test_a_child_is_refused_while_others_use_grpc_in_its_parent() -> None:
    slept: list[float] = []
    forks = Forks(threads=lambda: ["python", "event_engine"], sleep=slept.append)
    forks.opened()
    forks.closed()
    forks.before()
    forks.forked()
    with pytest.raises(BindingError, match="forked while"):
        forks.refuse_in_child()
    assert 0 < sum(slept) <= 2, "a fork waits for what doesn't end"
    before = len(slept)
    forks.before()
    assert len(slept) == before, "each fork waits again"


def test_where_it_was_never_used_a_fork_costs_nothing() -> None:
    def threads() -> list[str]:
        raise AssertionError("looked for threads")

    forks = Forks(threads=threads, sleep=lambda seconds: None)
    forks.before()
    forks.forked()
    forks.refuse_in_child()


def _run(script: str, binding: Binding) -> list[str]:
    environment = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    environment.pop("GRPC_ENABLE_FORK_SUPPORT", None)  # as the backend sets it
    done = subprocess.run(
        [sys.executable, "-c", script, binding.to_json()],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
