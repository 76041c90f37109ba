"""Waiting until what was just made can be used.

Clouds say that an entity is there before all of their machines know it: a new SQS queue may be unknown for a second, a
subscription's filter of SNS may take minutes. So messages are sent until every subscription and queue has got, in one
round, those that it should get and no others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from polybus.binding import Binding, Entity
from polybus.driver import Ack, ConsumerDriver, Driver, Outgoing
from polybus.errors import Fault
from polybus.message import Message
from polybus.topology.filters import parse

from .live import LiveError

# "Additions or changes to a subscription filter policy require up to 15 minutes to fully take effect" (SNS guide).
LONGEST = 900.0
# Seconds that a round waits for its messages, and then for ones that a filter should have kept back.
ROUND, AFTER = 15.0, 1.0
PAUSE = 2.0


async def wait_until_usable(driver: Driver, binding: Binding, cases: Sequence[Mapping[str, str]]) -> float:
    """Wait until all of a binding carries messages with the attributes of `cases`; return the seconds that it took.

    Leaves nothing behind. Raises LiveError after 15 minutes, with what isn't usable.
    """
    began = time.monotonic()
    sources = [*binding.subscriptions.values(), *binding.queues.values()]
    for number in range(10_000):
        targets = {source.topic or source.name for source in sources}
        problems = await _gather(_publish(driver, binding.target(name), cases, number) for name in sorted(targets))
        problems += await _gather(_receive(driver, source, cases, number) for source in sources)
        sources = [source for source in sources if any(problem.startswith(source.name) for problem in problems)]
        if not sources and not problems:
            return time.monotonic() - began
        if time.monotonic() - began > LONGEST:
            break
        await asyncio.sleep(PAUSE)
    raise LiveError(f"not usable {LONGEST:g} s after it was made: {'; '.join(problems)}")


async def _gather(calls: Any) -> list[str]:
    return [problem for problem in await asyncio.gather(*calls) if problem]


async def _publish(driver: Driver, target: Entity, cases: Sequence[Mapping[str, str]], number: int) -> str:
    try:
        publisher = await driver.open_publisher(target)
        try:
            for place, attributes in enumerate(cases):
                key = f"probe-{number}-{place}" if target.ordered else None
                prepared = publisher.prepare(Outgoing(Message(b"probe", attributes, key, _name(number, place))))
                [outcome] = [prepared] if isinstance(prepared, Fault) else await publisher.publish_batch([prepared])
                if isinstance(outcome, Fault):
                    return f"publishing to {target.name}: {outcome}"
        finally:
            await publisher.aclose()
    except Exception as error:  # noqa: BLE001 - told where it lasts, and sorted as the bus would
        return f"publishing to {target.name}: {driver.fault(error)}"
    return ""


async def _receive(driver: Driver, source: Entity, cases: Sequence[Mapping[str, str]], number: int) -> str:
    passes = parse(source.filter).matches if source.filter else lambda attributes: True
    wanted = {_name(number, place) for place, attributes in enumerate(cases) if passes(attributes)}
    try:
        consumer = await driver.open_consumer(source, prefetch=len(cases), concurrency=len(cases))
        try:
            found = await _read(consumer, wanted)
        finally:
            left = await consumer.stop()
            await consumer.settle_batch([Ack(each) for each in left])
            await consumer.aclose()
    except Exception as error:  # noqa: BLE001 - as above
        return f"{source.name}: {driver.fault(error)}"
    wrong = {each for each in found if each.startswith(f"probe-{number}-")} - wanted
    return f"{source.name}: {len(wanted - found)} missing, {len(wrong)} too many" if wanted - found or wrong else ""


async def _read(consumer: ConsumerDriver[Any], wanted: set[str]) -> set[str]:
    """Take what comes, until all that is wanted has come and a moment longer."""
    found: set[str] = set()
    end = time.monotonic() + ROUND
    while (left := end - time.monotonic()) > 0:
        received = await consumer.receive_batch(consumer.limits.count, wait=min(left, ROUND))
        await consumer.settle_batch([Ack(each) for each in received])
        found |= {each.message.id for each in received}
        if wanted <= found:
            end = min(end, time.monotonic() + AFTER) if received else 0.0
    return found


def _name(number: int, place: int) -> str:
    return f"probe-{number}-{place}"
