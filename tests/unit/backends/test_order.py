"""Ordering keys, of both embedded backends at the driver (docs/contract.md)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from polybus.driver import Ack, Nack, Outgoing, ToDeadLetters

from .conftest import Rig, bodies, message, take


class TestOrder:
    async def test_a_key_with_a_leased_message_waits_others_go_on(self, rig: Rig) -> None:
        one, two = await rig.consumer("lines"), await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{key}{n}", key) for n in range(3) for key in "ab"))
        first = await take(one, 2)
        assert sorted(bodies(first)) == [b"a0", b"b0"]
        assert {r.group for r in first} == {"a", "b"}
        assert await take(two) == []
        await one.settle_batch([Ack(next(r for r in first if r.group == "a"))])
        assert bodies(await take(two)) == [b"a1", b"a2"]

    async def test_one_batch_may_hold_several_of_a_key_in_order(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(5)))
        got = await take(consumer, 3)
        assert bodies(got) == [b"0", b"1", b"2"]
        await consumer.settle_batch([Ack(got[0]), Ack(got[1])])
        assert await take(consumer) == []
        await consumer.settle_batch([Ack(got[2])])
        assert bodies(await take(consumer)) == [b"3", b"4"]

    async def test_what_is_given_back_keeps_its_place(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(4)))
        got = await take(consumer, 3)
        await consumer.settle_batch([Nack(one) for one in reversed(got)])
        assert [(r.message.body, r.attempt) for r in await take(consumer)] == [
            (b"0", 2),
            (b"1", 2),
            (b"2", 2),
            (b"3", 1),
        ]

    async def test_a_delayed_message_holds_up_the_later_ones_of_its_key(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(4)), message("other", "l"))
        got = await take(consumer, 4)
        first = [r for r in got if r.group == "k"]
        await consumer.settle_batch([Nack(first[1], 10), Nack(first[0])])
        rest = [r for r in got if r not in first[:2]]
        await consumer.settle_batch([Nack(one) for one in rest])
        again = await take(consumer)
        assert sorted(bodies(again)) == [b"0", b"other"]
        await consumer.settle_batch([Ack(one) for one in again])
        assert await take(consumer) == []
        await rig.clock.advance(10)
        assert bodies(await take(consumer)) == [b"1", b"2", b"3"]

    async def test_a_message_published_with_a_delay_holds_up_its_key_too(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish(
            "lines", message("0", "k"), Outgoing(message("1", "k"), delay=5), message("2", "k"), message("other", "l")
        )
        got = await take(consumer)
        assert sorted(bodies(got)) == [b"0", b"other"]
        await consumer.settle_batch([Ack(one) for one in got])
        await rig.clock.advance(4)
        assert await take(consumer) == []
        await rig.clock.advance(1)
        assert bodies(await take(consumer)) == [b"1", b"2"]

    async def test_an_expired_lease_frees_the_key(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", message("0", "k"), message("1", "k"))
        await take(consumer)
        await rig.clock.advance(30)
        assert bodies(await take(consumer)) == [b"0", b"1"]

    async def test_settling_wakes_who_waits_for_the_key(self, rig: Rig) -> None:
        one, two = await rig.consumer("lines"), await rig.consumer("lines")
        await rig.publish("lines", message("0", "k"), message("1", "k"))
        (first,) = await take(one, 1)
        waiting = asyncio.ensure_future(two.receive_batch(1, wait=20))
        await rig.clock.settle()
        await one.settle_batch([Ack(first)])
        assert bodies(await waiting) == [b"1"]

    async def test_no_key_starves(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "a") for n in range(50)), message("z", "z"), message("m", "m"))
        seen: list[bytes] = []
        for _ in range(6):
            got = await take(consumer, 1)
            seen += bodies(got)
            await consumer.settle_batch([Ack(one) for one in got])
        assert {b"z", b"m"} <= set(seen)

    async def test_a_loose_subscription_of_an_ordered_topic_has_no_groups(self, rig: Rig) -> None:
        consumer = await rig.consumer("steps-loose")
        await rig.publish("steps", message("0", "k"), message("1", "k"))
        (first,) = await take(consumer, 1)
        (second,) = await take(consumer, 1)
        assert (first.group, first.message.ordering_key, bodies([first, second])) == (None, "k", [b"0", b"1"])

    async def test_dead_lettering_lets_the_key_go_on(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(3)))
        (first,) = await take(consumer, 1)
        await consumer.settle_batch([ToDeadLetters(first, "bad")])
        assert bodies(await take(consumer)) == [b"1", b"2"]

    async def test_any_course_of_events_keeps_the_order(self, rig: Rig) -> None:
        chance = random.Random(11)
        consumers = [await rig.consumer("lines") for _ in range(3)]
        publisher = await rig.publisher("lines")
        expected: dict[str, list[bytes]] = {key: [] for key in "abcd"}
        done: dict[str, list[bytes]] = {key: [] for key in "abcd"}
        for step in range(300):
            key = chance.choice("abcd")
            body = f"{key}{step}".encode()
            expected[key].append(body)
            await rig.publish(publisher, message(body, key))
            consumer = chance.choice(consumers)
            for group in _by_group(await take(consumer, chance.randint(1, 6))).values():
                keep = chance.randint(0, len(group))
                await consumer.settle_batch([Ack(one) for one in group[:keep]])
                done[group[0].group] += bodies(group[:keep])
                if chance.random() < 0.9:
                    delay = chance.choice([0.0, 0.0, 3.0])
                    await consumer.settle_batch([Nack(one, delay) for one in group[keep:]])
            await rig.clock.advance(chance.choice([0.0, 0.5, 2.0]))
        for _ in range(1_000):
            await rig.clock.advance(1)
            for consumer in consumers:
                got = await take(consumer)
                await consumer.settle_batch([Ack(one) for one in got])
                for one in got:
                    done[one.group or ""].append(one.message.body)
            if done == expected:
                break
        assert done == expected


def _by_group(received: list[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for one in received:
        groups.setdefault(one.group, []).append(one)
    return groups
