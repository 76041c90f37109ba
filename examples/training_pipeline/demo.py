"""Run the whole example by itself: `make demo`, or `make demo CLOUD=aws`.

Three services, each its own process under `polybus run`, train models for a grid of jobs. One job can't be read: it is
found among the dead letters, mended and put back with the command line. Then the services are told to stop, and a table
says what happened. Exits with 0 when all of it did.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from rich.console import Console

import closing
import polybus
import submit
from messages import Outcome
from processes import HERE, POLYBUS, Child, run
from progress import Progress

WORK = HERE / ".demo"  # with a folder for each backend: runs on different ones don't meet
SERVICES = ("trainer", "registry", "alerts")
PATIENCE = 120.0  # seconds for anything that is waited for: each takes a few, and a slow machine is no failure


class Demo:
    """What the demo starts, watches and waits for."""

    def __init__(self, console: Console, environment: dict[str, str]) -> None:
        self.environment = environment
        self.outcomes: dict[str, Outcome] = {}
        self.services: dict[str, Child] = {}
        self.progress = Progress(console, len(submit.jobs()))
        self._news = asyncio.Event()

    async def start(self, name: str) -> None:
        """Start a service in a process of its own."""
        command = (*POLYBUS, "run", f"{name}:app")
        self.services[name] = await Child.start(name, command, self.environment, lambda line: self._note(name, line))

    def _note(self, name: str, line: str) -> None:
        self.progress.line(name, line)
        self._news.set()

    async def watch(self, bus: polybus.Bus) -> None:
        """Follow the topic by its tap, as an operator would."""
        async with bus.consume("models-tap") as deliveries:
            async for delivery in deliveries:
                async with delivery:
                    outcome = msgspec.json.decode(delivery.body, type=Outcome)
                    if outcome.job.id not in self.outcomes:  # at least once: it may come twice
                        self.progress.done(outcome)
                    self.outcomes[outcome.job.id] = outcome
                    self._news.set()

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at whenever a service or the tap has news."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise RuntimeError(f"waited {PATIENCE:.0f} s for {what}") from None

    def through(self, jobs: set[str]) -> bool:
        """Whether every service has done what it does with each of these jobs."""
        if not jobs <= self.outcomes.keys() or not self._told("registry", jobs):
            return False
        return self._told("alerts", {job for job in jobs if closing.is_alarming(self.outcomes[job])})

    def _told(self, name: str, jobs: set[str]) -> bool:
        return jobs <= {line.partition(": ")[0] for line in self.services[name].lines}

    async def polybus(self, *arguments: str) -> str:
        """Run the command line, show what it is given and says, and return its stdout."""
        self.progress.command(shlex.join(("polybus", *arguments)))
        code, output = await run((*POLYBUS, *arguments), self.environment)
        if code != 0:
            raise RuntimeError(f"polybus {arguments[0]} ended with {code}")
        if "--json" not in arguments:
            self.progress.output(output)
        return output

    async def dead_letter(self, bus: polybus.Bus) -> str:
        """Wait until the job that can't be read is a dead letter; return its id."""
        async with asyncio.timeout(PATIENCE):
            # Nothing tells of a dead letter but a look.
            while not (letters := [letter async for letter in bus.dead_letters("training-jobs").peek(1)]):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        return letters[0].message.id


async def play(demo: Demo, bus: polybus.Bus) -> None:
    """The whole of it, in order."""
    progress = demo.progress
    progress.step("Starting the services, each its own process under `polybus run`")
    for name in SERVICES:
        await demo.start(name)
    progress.step("Submitting the jobs")
    code, output = await run((sys.executable, "submit.py"), demo.environment)
    if code != 0:
        raise RuntimeError(f"submit.py ended with {code}")
    progress.output(output)
    readable = {job["id"] for job in submit.jobs()} - {submit.POISON}
    await demo.until("every job", lambda: demo.through(readable))

    progress.step("One job can't be read: mending it with the command line")
    letter = await demo.dead_letter(bus)
    await demo.polybus("dead-letter", "list", "training-jobs")
    await demo.polybus("dead-letter", "show", "training-jobs", letter)
    mended = {**submit.jobs()[-1], "data_set": "iris"}
    await demo.polybus("dead-letter", "redrive", "training-jobs", "--id", letter, "--set-body", json.dumps(mended))
    await demo.until("the mended job", lambda: demo.through({submit.POISON}))

    progress.step("Stopping the services (SIGTERM): each drains, and ends with 0")
    codes = await asyncio.gather(*(service.terminate() for service in demo.services.values()))
    for name, code in zip(SERVICES, codes, strict=True):
        progress.line(name, f"ended with {code}")
    if any(codes):
        raise RuntimeError("a service didn't end with 0")
    await demo.polybus("stats", *closing.WATCHED)


@contextlib.asynccontextmanager
async def cloud(
    name: str, folder: Path, environment: dict[str, str], progress: Callable[[str], None]
) -> AsyncIterator[None]:
    """Run a local cloud while the block runs, and add to `environment` what points services at it."""
    binding, variables = folder / "polybus.binding.json", folder / "cloud.env"
    ready = asyncio.Event()

    def note(line: str) -> None:
        progress(line)
        if binding.exists() and variables.exists():
            ready.set()

    options = ("--cloud", name, "--topology", "polybus.toml", "--binding", str(binding), "--env-file", str(variables))
    child = await Child.start(name, (*POLYBUS, "local", "up", *options), environment, note)
    ended = asyncio.create_task(child.failed())
    try:
        started = asyncio.create_task(ready.wait())
        done, _ = await asyncio.wait({ended, started}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if ended in done:
            ended.result()
        if not done:
            raise RuntimeError(f"waited {PATIENCE:.0f} s for the local {name}")
        lines = (line for line in variables.read_text().splitlines() if "=" in line and not line.startswith("#"))
        environment.update(line.split("=", 1) for line in lines)
        environment["POLYBUS_BINDING"] = str(binding)
        yield
    finally:
        ended.cancel()
        await child.terminate()


async def main(name: str | None, console: Console) -> None:
    """Set up a clean place, run the services in it and show what came of it."""
    folder = WORK / (name or "embedded")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    topology = shutil.copy(HERE / "polybus.toml", folder)  # the embedded store is made beside it
    environment = {**os.environ, "TRAINING_STORE": str(folder / "store"), "POLYBUS_BINDING": str(topology)}
    demo = Demo(console, environment)
    started = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(demo.progress)
        if name is not None:
            demo.progress.step(f"Starting a local {name}")
            await stack.enter_async_context(
                cloud(name, folder, environment, lambda line: demo.progress.line(name, line))
            )
        os.environ.update(environment)
        bus = await stack.enter_async_context(polybus.connect(service="operator"))
        watching = asyncio.create_task(demo.watch(bus))
        try:
            await play(demo, bus)
        finally:
            for service in demo.services.values():
                service.kill()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        table = await closing.table(bus, demo.outcomes)
    console.print(table)
    console.print(f"Done in {time.monotonic() - started:.0f} s. What is left is in {folder}.", markup=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cloud",
        choices=("aws", "azure", "gcp"),
        help="a local stand-in for this cloud; by default the embedded backend",
    )
    chosen = parser.parse_args().cloud
    try:
        asyncio.run(main(chosen, Console(width=None if sys.stdout.isatty() else 140)))
    except (RuntimeError, polybus.PolybusError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
