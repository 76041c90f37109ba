"""The other process of test_sqlite.py; what it does is its first argument."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from conftest import small_bus
from polybus.clock import SystemClock
from polybus.driver import Ack, Outgoing
from polybus.embedded.sqlite import driver
from polybus.message import Message


def say(text: str) -> None:
    print(text, flush=True)


async def send(publisher: Any, *messages: Message) -> None:
    await publisher.publish_batch([publisher.prepare(Outgoing(message)) for message in messages])
    say("\n".join(message.id for message in messages))


async def run(what: str, path: str, *arguments: str) -> None:
    binding = small_bus("sqlite", {"path": path})
    bus = driver(binding, SystemClock())
    source = binding.source(arguments[0] if what == "consume-all" and arguments else "jobs")
    if what.startswith("consume") or what == "wait":
        consumer = await bus.open_consumer(source, prefetch=10, concurrency=10)
    else:
        if what == "publish-as-nobody" and os.getuid() == 0:
            await asyncio.to_thread(os.getpid)  # imports what it needs while it may read it
            os.setuid(65_534)
        try:
            publisher = await bus.open_publisher(binding.target("jobs"))
        except Exception as error:  # noqa: BLE001 - it is told
            fault = bus.fault(error)
            say(f"{fault.kind.value} {fault.detail}")
            return
    if what == "publish":
        n = 0
        while True:
            await send(publisher, *(Message(b"x" * 300, id=f"{arguments[0]}-{n + k}") for k in range(3)))
            n += 3
    elif what == "publish-some":
        for n in range(int(arguments[1])):
            await send(publisher, Message(b"x", id=f"{arguments[0]}-{n}"))
    elif what == "publish-on-line":
        say("ready")
        text = await asyncio.to_thread(sys.stdin.readline)
        await send(publisher, Message(text.strip().encode(), id="line"))
    elif what == "publish-as-nobody":
        try:
            await send(publisher, Message(b"x", id="1"))
        except Exception as error:  # noqa: BLE001 - it is told
            fault = bus.fault(error)
            say(f"{fault.kind.value} {fault.detail}")
    elif what == "publish-until-full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
        n = 0
        try:
            while True:
                n += 1
                await send(publisher, Message(b"x" * 20_000, id=str(n)))
        except Exception as error:  # noqa: BLE001 - it is told
            fault = bus.fault(error)
            say(f"{fault.kind.value} {fault.detail}")
    elif what == "consume":
        while received := await consumer.receive_batch(5, wait=20):
            for one in received:
                await consumer.settle_batch([Ack(one)])
                say(one.message.id)
                await asyncio.sleep(0.002)
    elif what == "consume-all":
        while received := await consumer.receive_batch(7, wait=0.5):
            for one in received:
                say(f"{time.time_ns()} {one.message.id}" if one.group else one.message.id)
            await consumer.settle_batch([Ack(one) for one in received])
    elif what == "wait":
        say("ready")
        for one in await consumer.receive_batch(5, wait=20):
            say(one.message.id)
        await asyncio.sleep(60)
    if what.startswith("consume"):
        await consumer.aclose()
    await bus.aclose()


asyncio.run(run(*sys.argv[1:]))
