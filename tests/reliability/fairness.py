"""How long quiet tenants wait behind a noisy one, with a fairness key and without; on each backend that has it.

    python -m tests.reliability.fairness [memory sqlite aws] [--waiting 100000] [--minutes 30]

One tenant has a backlog. Consumers take ten messages at a time and handle 20 a second, by a clock of the run's own;
each minute the ten publish one message more each: on SQS who sends nothing for five minutes counts as quiet, whatever
waits (`--silent`). Nothing here is chance. A wait is told in messages that were
handled meanwhile, which is what the backend decides, and in seconds of that clock.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.conformance.rig_aws import AwsRig

from polybus.clock import ManualClock, SteppedClock
from polybus.driver import Ack, Driver, Outgoing, Prepared, PublisherDriver
from polybus.embedded.memory import Store
from polybus.embedded.plan import local_binding
from polybus.errors import Fault
from polybus.message import Message
from polybus.registry import load
from polybus.topology.model import Queue, Topology

BATCH = 10
PER_SECOND = 20
PER_MINUTE = 60 * PER_SECOND
QUIET = [f"quiet-{number}" for number in range(9)]
BACKENDS = ("memory", "sqlite", "aws")


@dataclasses.dataclass(frozen=True)
class Waits:
    """Of each quiet message that was handled, how many others were handled between its publish and it."""

    backend: str
    fair: bool
    waiting: int
    handled: int
    waits: Sequence[int]

    @property
    def p95(self) -> int:
        return sorted(self.waits)[max(0, -(-95 * len(self.waits) // 100) - 1)]

    def __str__(self) -> str:
        how = "with a fairness key" if self.fair else "without"
        return (
            f"fairness on {self.backend}, {self.waiting:,} of one tenant waiting, {how}: the nine wait for "
            f"{self.p95:,} messages (p95; median {statistics.median(self.waits):,.0f}, most {max(self.waits):,}), "
            f"{self.p95 / PER_SECOND:,.1f} s; {self.handled:,} handled, {len(self.waits)} of the nine's"
        )


@asynccontextmanager
async def opened(backend: str, fair: bool, folder: Path) -> AsyncIterator[tuple[Driver, Any, Callable[[float], Any]]]:
    """Open a driver on one queue; give its queue, and what lets seconds pass, as well."""
    queue = Queue("jobs", fairness_key="tenant" if fair else None, lease=300.0)
    topology = Topology(name="fairness", queues={"jobs": queue})
    if backend == "aws":
        rig = AwsRig()
        try:
            binding = await rig.realise(topology)
            clock = rig.clock
            assert isinstance(clock, SteppedClock)

            async def step(seconds: float) -> None:
                clock.advance(seconds)

            driver = rig.driver(binding)
            yield driver, binding.queues["jobs"], step
            await driver.aclose()
        finally:
            await rig.drop()
        return
    manual = ManualClock()
    binding = local_binding(topology, backend=backend, path=folder / "bus.db")
    if backend == "memory":
        binding = msgspec.structs.replace(binding, settings={"store": Store()})
    driver = load(backend)(binding, manual)
    yield driver, binding.queues["jobs"], manual.advance
    await driver.aclose()


async def publish(publisher: PublisherDriver[Any], tenants: Sequence[str], first: int) -> None:
    """Publish a message of each of these tenants; their bodies are numbers."""
    most = publisher.limits.count
    batch = list[Prepared[Any]]()
    for number, tenant in enumerate(tenants, first):
        identity = f"00000000-0000-4000-8000-{number:012x}"
        prepared = publisher.prepare(Outgoing(Message(str(number).encode(), {"tenant": tenant}, None, identity)))
        assert not isinstance(prepared, Fault), prepared
        batch.append(prepared)
    for at in range(0, len(batch), most):
        answers = await publisher.publish_batch(batch[at : at + most])
        assert not any(isinstance(answer, Fault) for answer in answers), answers


async def measure(backend: str, *, fair: bool, waiting: int, minutes: int, folder: Path, goes_on: bool = True) -> Waits:
    """Let consumers work for so many minutes, or until all is handled, and return how long the quiet ones waited."""
    async with opened(backend, fair, folder) as (driver, queue, advance):
        publisher = await driver.open_publisher(queue)
        consumer = await driver.open_consumer(queue, prefetch=BATCH, concurrency=BATCH)
        for at in range(0, waiting, 10_000):
            await publish(publisher, ["noisy"] * min(10_000, waiting - at), at)
        number, handled, minute = waiting, 0, 0
        sent: dict[bytes, int] = {}
        waits: list[int] = []
        idle = 0
        while idle < 20 and (minute < minutes or sent):
            if handled >= minute * PER_MINUTE and minute < minutes:
                minute += 1
                sent |= {str(number + each).encode(): handled for each in range(len(QUIET))}
                await publish(publisher, [*QUIET, *(["noisy"] if goes_on else [])], number)
                number += len(QUIET) + 1
            received = await consumer.receive_batch(BATCH, wait=0)
            idle = 0 if received else idle + 1
            await advance(BATCH / PER_SECOND)
            for each in received:
                if (since := sent.pop(each.message.body, None)) is not None:
                    waits.append(handled - since)
                handled += 1
            if received:
                answers = await consumer.settle_batch([Ack(each) for each in received])
                assert not any(answers), answers
        await consumer.stop()
        await consumer.aclose()
        await publisher.aclose()
    return Waits(backend, fair, waiting, handled, waits)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.fairness", description=__doc__)
    parser.add_argument("backends", nargs="*", metavar="BACKEND", default=BACKENDS, help=", ".join(BACKENDS))
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--only", choices=("fair", "unfair"))
    parser.add_argument("--silent", action="store_true", help="who has the backlog publishes nothing more")
    options = parser.parse_args(arguments)
    for backend in options.backends:
        for fair in (True, False):
            if options.only is not None and fair is not (options.only == "fair"):
                continue
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                waits = asyncio.run(
                    measure(
                        backend,
                        fair=fair,
                        waiting=options.waiting,
                        minutes=options.minutes,
                        folder=Path(folder),
                        goes_on=not options.silent,
                    )
                )
            print(f"{waits}; {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
