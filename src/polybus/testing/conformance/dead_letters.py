"""D6, D7 and D11: what can't be handled ends among the dead letters, whole and with the reason."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from polybus.app import App
from polybus.bus.delivery import Delivery
from polybus.driver import Nack
from polybus.errors import DeadLetter
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment, Recorder
from polybus.testing.faults import Operation
from polybus.testing.topology import BACKOFF, MAX_ATTEMPTS, SHORT_LEASE
from polybus.topology.limits import NET_ATTEMPTS

__all__ = ["DeadLetters"]

ATTRIBUTES = {"region": "eu", "odd": "\x00\n", "empty": ""}
BODY = b"\x00 as it was \xff"


@dataclass
class Order:
    """What the typed handler of D11 takes."""

    number: int


class DeadLetters(Suite):
    """D6 after the last attempt, D7 at once, D11 undecodable bodies."""

    async def test_D6_a_failing_handler_ends_in_a_dead_letter(self, env: Environment) -> None:
        calls = Counter[str]()

        async def handler(delivery: Delivery) -> None:
            calls[delivery.id] += 1
            raise ValueError("it never works")

        recorder = Recorder()
        identity = await env.bus.publish("tasks", BODY, attributes=ATTRIBUTES)
        async with env.connect(hooks=[recorder]) as peer, env.work("tasks", handler, bus=peer.bus):
            for attempt in range(1, MAX_ATTEMPTS + 1):
                # The backoff begins with the settlement.
                await env.until(lambda attempt=attempt: len(recorder.outcomes) >= attempt, f"attempt {attempt}")  # type: ignore[misc]
                await env.advance(BACKOFF.maximum + 1)
            letter = await env.letter("tasks", identity)
        assert recorder.outcomes == [(identity, "nack")] * (MAX_ATTEMPTS - 1) + [(identity, "dead_letter")]
        assert calls[identity] == MAX_ATTEMPTS
        assert letter.reason == "ValueError"
        assert "it never works" in (letter.description or "")

    async def test_D6_a_dead_letter_is_as_it_was(self, env: Environment) -> None:
        ordered = "k-of-d6" if env.rig.ordering else None
        for target, source, key in (("jobs", "jobs", None), ("events", "audit", None), ("serial", "serial", ordered)):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, BODY, attributes=ATTRIBUTES, ordering_key=key)
            for _ in range(MAX_ATTEMPTS):
                await (await listener.get(identity)).nack(delay=0)
            letter = await env.letter(source, identity)
            message = letter.message
            assert (message.body, dict(message.attributes), message.ordering_key) == (BODY, ATTRIBUTES, key)
            assert letter.reason
            await env.fence(target, listener)
            assert listener.count(identity) == MAX_ATTEMPTS

    @needs_order
    async def test_D6_the_last_failure_of_an_ordered_message_lets_the_next_pass(self, env: Environment) -> None:
        serial = await env.shared("serial")
        key = env.name("key")
        failing = await env.bus.publish("serial", b"failing", ordering_key=key)
        following = await env.bus.publish("serial", b"following", ordering_key=key)
        for _ in range(MAX_ATTEMPTS):
            assert serial.count(following) == 0
            await (await serial.get(failing)).nack(delay=0)
        await (await serial.get(following)).ack()
        await env.letter("serial", failing)

    async def test_D6_the_backend_itself_ends_what_no_consumer_settles(self, env: Environment) -> None:
        """Deliveries that no bus counts, as those of consumers that crash: the net is max_attempts + 20."""
        identity = await env.bus.publish("fragile", b"poison")
        source = env.binding.source("fragile")
        driver = env.rig.driver(env.binding)
        consumer = await driver.open_consumer(source, prefetch=1, concurrency=1)
        deliveries = 0
        try:
            # Clouds count approximately: SQS moves at the next receive, Google may allow a few more.
            while deliveries < 2 * (source.max_attempts + NET_ATTEMPTS):
                received = await consumer.receive_batch(1, wait=1.0 if deliveries > source.max_attempts else 10.0)
                if not received:
                    break
                assert await consumer.settle_batch([Nack(each) for each in received]) == [None] * len(received)
                deliveries += len(received)
            letter = await env.letter("fragile", identity)
            assert letter.reason == "MaxAttemptsExceeded"
            assert letter.message.body == b"poison"
            assert deliveries >= source.max_attempts + NET_ATTEMPTS
        finally:
            await consumer.stop()
            await consumer.aclose()
            await driver.aclose()

    async def test_D7_a_delivery_can_be_dead_lettered_at_once(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("serial", "serial"), ("events", "billing")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, BODY, attributes=ATTRIBUTES)
            delivery = await listener.get(identity)
            await delivery.dead_letter("Unpayable", "the card is from the future: ümlaut")
            letter = await env.letter(source, identity)
            assert (letter.reason, letter.description) == ("Unpayable", "the card is from the future: ümlaut")
            message = letter.message
            assert (message.body, dict(message.attributes)) == (BODY, ATTRIBUTES)
            await env.fence(target, listener)
            assert listener.count(identity) == 1

    async def test_D7_a_handler_can_raise_it(self, env: Environment) -> None:
        async def handler(delivery: Delivery) -> None:
            raise DeadLetter("Unpayable", "no such card")

        async with env.work("tasks", handler):
            identity = await env.bus.publish("tasks", BODY)
            letter = await env.letter("tasks", identity)
        assert (letter.reason, letter.description) == ("Unpayable", "no such card")

    async def test_D7_a_crash_leaves_the_letter_or_the_message(self, env: Environment) -> None:
        for after in (False, True):
            identity = await env.bus.publish("brief", b"crash")
            async with env.connect() as peer:
                listener = env.listen("brief", bus=peer.bus)
                await listener.__aenter__()
                delivery = await listener.get(identity)
                gate = peer.faults.hold(Operation.SETTLE, after=after)
                settling = asyncio.create_task(delivery.dead_letter("Crashed"))
                await env.within(gate.reached.wait())
                peer.faults.sever()
                peer.faults.heal()
                await asyncio.wait([settling])
                settling.exception()
                await listener.crash()
            await env.advance(SHORT_LEASE + 1)
            if after:
                await env.letter("brief", identity)
            else:
                async with env.listen("brief") as listener:
                    await (await listener.get(identity)).ack()

    async def test_D11_a_body_that_does_not_decode_is_dead_lettered(self, env: Environment) -> None:
        app = App()
        handled: list[Order] = []

        @app.handler("tasks")
        async def handle(order: Order) -> None:
            handled.append(order)

        async with app.running(bus=env.bus):
            wrong = await env.bus.publish_many("tasks", [b"\xff\xfe", b'{"number": "many"}', b""])
            await env.bus.publish("tasks", {"number": 7})
            await env.until(lambda: bool(handled), "the good one")
            letters = [await env.letter("tasks", identity) for identity in wrong]
        assert handled == [Order(7)]
        assert {letter.reason for letter in letters} == {"DecodeError"}
        assert "number" in (letters[1].description or "")
