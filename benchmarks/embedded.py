"""Memory beside asyncio.Queue, SQLite beside litequeue, persist-queue and sqlite3 by hand."""

from __future__ import annotations

import asyncio
import functools
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import polybus

from . import peers
from .bindings import QUEUE, memory, sqlite
from .harness import Aim, Contender, Report, Sample, measured

BODY = b"x" * 100

BATCHED = (
    "polybus sends and settles what is there at once in one transaction (group commit), which libraries of one "
    "transaction a message can't: that is the ratio to them. Where the other side also puts 100 into each transaction, "
    "the ratio shows what polybus's own work costs: ids, envelopes, leases, attempts, per-message outcomes. "
    "All with WAL and synchronous = FULL; litequeue's own default is NORMAL, which a power cut may undo."
)


def run(report: Report) -> None:
    _memory(report)
    with tempfile.TemporaryDirectory(prefix="polybus-bench-") as folder:
        _sqlite(report, Path(folder))


# Memory --------------------------------------------------------------------------------------------------------------


def _memory(report: Report) -> None:
    count = report.count(40_000)
    report.compare(
        "memory: published until handled",
        [
            Contender("polybus", lambda: _published_until_handled(count)),
            Contender("polybus, one publish awaited after another", lambda: _one_by_one(count // 4)),
            Contender("asyncio.Queue, put until got", lambda: _asyncio_queue(count)),
        ],
        aims=[Aim("rate", at_least=40_000)],
        note="asyncio.Queue is the floor of any such thing on one event loop: no copy, no lease, no settling, no bound "
        "of attempts. One process and one thread: one core.",
    )


async def _published_until_handled(count: int) -> Sample:
    async with polybus.connect(memory()) as bus:
        with measured(count) as taken:
            await _handling(bus, count, lambda: bus.publish_many(QUEUE, itertools.repeat(BODY, count)))
    return taken.sample


async def _one_by_one(count: int) -> Sample:
    async with polybus.connect(memory()) as bus:

        async def publish() -> None:
            for _ in range(count):
                await bus.publish(QUEUE, BODY)

        with measured(count) as taken:
            await _handling(bus, count, publish)
    return taken.sample


async def _handling(bus: polybus.Bus, count: int, publish: Callable[[], Awaitable[object]] | None = None) -> None:
    """Publish, if asked to, while a consumer handles; return once `count` are handled and settled."""
    left = count
    done = asyncio.Event()

    async def handle(delivery: polybus.Delivery) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    consumer = bus.consumer(QUEUE, handle, options=polybus.ConsumerOptions(prefetch=1_000))
    running = asyncio.create_task(consumer.run())
    if publish is not None:
        await publish()
    await done.wait()
    await consumer.drain()
    await running


async def _asyncio_queue(count: int) -> Sample:
    queue: asyncio.Queue[bytes] = asyncio.Queue(1_000)

    async def get() -> None:
        for _ in range(count):
            await queue.get()
            queue.task_done()

    with measured(count) as taken:
        getting = asyncio.create_task(get())
        for _ in range(count):
            await queue.put(BODY)
        await getting
    return taken.sample


# SQLite --------------------------------------------------------------------------------------------------------------


def _sqlite(report: Report, folder: Path) -> None:
    files = (folder / f"{number}.db" for number in itertools.count())
    few, many = report.count(2_000), report.count(20_000)
    singly = [Aim("rate", name, at_least=3) for name in (peers.LITEQUEUE, peers.PERSIST_QUEUE)]
    report.compare(
        "sqlite: publish",
        [
            Contender("polybus", lambda: _publish(next(files), many)),
            Contender(peers.LITEQUEUE, lambda: peers.litequeue_put(next(files), few)),
            Contender(peers.PERSIST_QUEUE, lambda: peers.persist_queue_put(next(files), few)),
            *[
                Contender(peers.raw(size), functools.partial(_raw_put, files, count, size))
                for size, count in ((1, few), (10, few * 4), (100, many))
            ],
        ],
        aims=singly,
        note=BATCHED,
    )
    report.compare(
        "sqlite: receive and ack",
        [
            Contender("polybus", lambda: _consume(next(files), many)),
            Contender(peers.LITEQUEUE, lambda: peers.litequeue_take(next(files), few)),
            Contender(peers.PERSIST_QUEUE, lambda: peers.persist_queue_take(next(files), few)),
            Contender(peers.PERSIST_QUEUE_100, lambda: peers.persist_queue_take_many(next(files), many)),
            *[
                Contender(peers.raw(size), functools.partial(_raw_take, files, count, size))
                for size, count in ((1, few), (10, few * 4), (100, many))
            ],
        ],
        aims=singly,
        note="Each file was filled before. persist-queue's own way to take 100 in one transaction keeps one position: "
        "one consumer, and what is taken is done. " + BATCHED,
    )
    report.compare(
        "sqlite: one publish awaited after another",
        [
            Contender("polybus, 100 tasks that do so", lambda: _publish_one_by_one(next(files), many, 100)),
            Contender("polybus, one task", lambda: _publish_one_by_one(next(files), few, 1)),
            Contender(peers.LITEQUEUE, lambda: peers.litequeue_put(next(files), few)),
            Contender(peers.PERSIST_QUEUE, lambda: peers.persist_queue_put(next(files), few)),
            Contender(peers.raw(1), lambda: peers.raw_put(next(files), few, 1)),
        ],
        note="With one task there is nothing to share a transaction with: that row is what polybus costs where it "
        "can't batch, the way to its writer's thread and back included. The first row is a service that handles "
        "requests, or messages, side by side.",
    )


def _raw_put(files: Iterator[Path], count: int, size: int) -> Sample:
    return peers.raw_put(next(files), count, size)


def _raw_take(files: Iterator[Path], count: int, size: int) -> Sample:
    return peers.raw_take(next(files), count, size)


async def _publish(path: Path, count: int) -> Sample:
    async with polybus.connect(sqlite(path)) as bus:
        await bus.ping()
        with measured(count) as taken:
            await bus.publish_many(QUEUE, itertools.repeat(BODY, count))
    return taken.sample


async def _publish_one_by_one(path: Path, count: int, tasks: int) -> Sample:
    async with polybus.connect(sqlite(path)) as bus:
        await bus.ping()

        async def publish() -> None:
            for _ in range(count // tasks):
                await bus.publish(QUEUE, BODY)

        with measured(count // tasks * tasks) as taken:
            await asyncio.gather(*(publish() for _ in range(tasks)))
    return taken.sample


async def _consume(path: Path, count: int) -> Sample:
    async with polybus.connect(sqlite(path)) as bus:
        await bus.publish_many(QUEUE, itertools.repeat(BODY, count))
        with measured(count) as taken:
            await _handling(bus, count)
    return taken.sample
