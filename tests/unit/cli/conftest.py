"""The command line, called as the shell calls it: in this process where that shows all, in one of its own else."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import polybus
from polybus.cli.main import main

TOPOLOGY = """\
[bus]
name = "shop"

[topics.orders]

[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
max_attempts = 1

[subscriptions.watch]
topic = "orders"
tap = true

[queues.jobs]
max_delay = "15m"
max_attempts = 1

[queues.keyed]
ordered = true

[services.shop]
publishes = ["orders"]
"""


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Result]


class Shop:
    """A folder with a topology, and its bus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.topology = folder / "polybus.toml"

    def call(self, function: Callable[[polybus.Bus], Any]) -> Any:
        """Run a coroutine function of the bus to its end."""

        async def run() -> Any:
            async with polybus.connect(self.topology) as bus:
                return await function(bus)

        return asyncio.run(run())

    def publish(self, target: str, *bodies: object) -> list[str]:
        return self.call(lambda bus: bus.publish_many(target, bodies))

    def bury(self, source: str, *bodies: object) -> list[str]:
        """Publish to a queue, and dead-letter all of it."""

        async def run(bus: polybus.Bus) -> list[str]:
            ids = await bus.publish_many(source, bodies)
            async with bus.consume(source) as deliveries:
                for _ in ids:
                    delivery = await anext(aiter(deliveries))
                    await delivery.dead_letter("Poison", "it can't be read")
            return ids

        return self.call(run)

    def take(self, source: str, count: int) -> list[polybus.Message]:
        """Consume and acknowledge what waits."""

        async def run(bus: polybus.Bus) -> list[polybus.Message]:
            taken = []
            async with bus.consume(source) as deliveries:
                for _ in range(count):
                    async with await anext(aiter(deliveries)) as delivery:
                        taken.append(delivery.message)
            return taken

        return self.call(run)

    def waiting(self, source: str) -> int | None:
        return self.call(lambda bus: bus.stats(source)).waiting

    def dead(self, source: str) -> int | None:
        return self.call(lambda bus: bus.stats(source)).dead


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLYBUS_BINDING", "POLYBUS_DEBUG", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop, in whose folder the commands run."""
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Call the command line in this process."""

    def call(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        code = exited.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call


def environment_of(given: dict[str, str | None]) -> dict[str, str]:
    """Return the environment of a command; what is None isn't set."""
    together = {"POLYBUS_BINDING": "embedded", **os.environ, "PYTHONUNBUFFERED": "1", **given}
    return {name: value for name, value in together.items() if value is not None}


@pytest.fixture
def spawn(interruptible: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command line as a process; what still runs at the end is told to stop.

    It is told to be embedded, where it isn't told otherwise: that nothing asked for it is a warning.
    """
    started: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def start(*arguments: str, cwd: Path, command: Sequence[str] = ("-m", "polybus.cli.main"), **more: Any):
        process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=cwd,
            env=environment_of(more.pop("environment", {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )
        # A process that says nothing must not keep whoever reads its lines: then it ends, and the test fails.
        timer = threading.Timer(60, process.terminate)
        timer.start()
        started.append((process, timer))
        return process

    yield start
    for process, timer in started:
        timer.cancel()
        if process.poll() is None:
            process.terminate()  # a supervisor then ends its child too
        process.communicate(timeout=60)
