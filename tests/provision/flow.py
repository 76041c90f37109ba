"""What passes over a bus that a stack's exported binding describes, the same on every cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import polybus
from polybus.bus.bus import Bus

# How long anything may take, in seconds: far more than it does, since a wait that ends is a failure.
PATIENCE = 60.0


Connect = Callable[[str], AbstractAsyncContextManager[Bus]]
"""Opens a bus as one of the topology's services."""


async def take(bus: Bus, source: str, count: int) -> list[polybus.Delivery]:
    """Receive and ack `count` messages of a source, in the order in which they come."""
    taken: list[polybus.Delivery] = []
    async with asyncio.timeout(PATIENCE), bus.consume(source) as deliveries:
        async for delivery in deliveries:
            async with delivery:
                taken.append(delivery)
            if len(taken) == count:
                return taken
    return taken


async def fail(bus: Bus, source: str) -> None:
    """Send one message of a source to its dead letters."""
    async with asyncio.timeout(PATIENCE), bus.consume(source) as deliveries:
        async for delivery in deliveries:
            await delivery.dead_letter("Unpaid", "the card was refused")
            return


async def whole_flow(connect: Connect) -> None:
    """Publish, filter, order, dead-letter and redrive, each as the service whose part it is."""
    async with connect("checkout") as checkout, connect("billing") as billing, connect("operator") as operator:
        await _filter_and_order(checkout, billing, operator)
        await _dead_letter_and_redrive(checkout, billing, operator)
        async with connect("images") as images, connect("mailer") as mailer:
            await _queue_and_other_topic(checkout, billing, images, mailer)


async def _filter_and_order(checkout: Bus, billing: Bus, operator: Bus) -> None:
    sent = []
    for number in range(12):
        region = ("eu", "us")[number // 2 % 2]
        key = f"customer-{number % 2}"
        identity = await checkout.publish("orders", str(number), attributes={"region": region}, ordering_key=key)
        sent.append((identity, number))
    await checkout.publish("orders", "trial", attributes={"region": "eu", "test": "yes"}, ordering_key="customer-0")
    billed = await take(billing, "billing", 6)
    audited = await take(operator, "audit", 13)
    for customer in (0, 1):
        mine = [identity for identity, number in sent if number % 2 == customer]
        european = [identity for identity, number in sent if identity in mine and number // 2 % 2 == 0]
        key = f"customer-{customer}"
        assert [delivery.id for delivery in audited if delivery.ordering_key == key][: len(mine)] == mine
        assert [delivery.id for delivery in billed if delivery.ordering_key == key] == european
    assert {delivery.attributes["region"] for delivery in billed} == {"eu"}


async def _dead_letter_and_redrive(checkout: Bus, billing: Bus, operator: Bus) -> None:
    identity = await checkout.publish("orders", "poison", attributes={"region": "uk"}, ordering_key="customer-2")
    await fail(billing, "billing")
    letters = [peeked async for peeked in operator.dead_letters("billing").peek()]
    assert [(letter.message.id, letter.reason) for letter in letters] == [(identity, "Unpaid")]
    assert await operator.dead_letters("billing").redrive() == 1
    [again] = await take(billing, "billing", 1)
    assert (again.id, again.body, again.redelivered) == (identity, b"poison", True)
    [copy] = await take(operator, "audit", 1)
    assert copy.id == identity, "a redrive reaches the one subscription, so audit has its first copy alone"


async def _queue_and_other_topic(checkout: Bus, billing: Bus, images: Bus, mailer: Bus) -> None:
    job = await checkout.publish("thumbnails", b"\x89PNG")
    [picture] = await take(images, "thumbnails", 1)
    assert (picture.id, picture.body) == (job, b"\x89PNG")
    await billing.publish("news", "nobody's", attributes={"kind": "invoice"})
    letter = await billing.publish("news", "read me", attributes={"kind": "newsletter.june"})
    [mail] = await take(mailer, "letters", 1)
    assert mail.id == letter
