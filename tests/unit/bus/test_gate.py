"""What a publisher may hold at once (contract, P7)."""

from __future__ import annotations

import asyncio

import pytest

from polybus.bus.gate import Gate


async def waiting(gate: Gate, *sizes: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(gate.enter(size)) for size in sizes]
    await asyncio.sleep(0)
    return tasks


async def test_it_lets_in_what_fits_and_no_more() -> None:
    gate = Gate(2, 100)
    assert gate.try_enter(50)
    assert gate.try_enter(50)
    assert not gate.try_enter(0)


async def test_one_message_of_any_size_passes_when_nothing_is_inside() -> None:
    gate = Gate(2, 100)
    await gate.enter(1_000)
    [task] = await waiting(gate, 1)
    assert not task.done()
    gate.leave(1_000)
    await task


async def test_who_waits_first_enters_first_even_if_a_smaller_one_would_fit() -> None:
    gate = Gate(10, 100)
    await gate.enter(60)
    large, small = await waiting(gate, 80, 10)
    assert not gate.try_enter(10)
    gate.leave(60)
    await asyncio.gather(large, small)
    assert (gate.count, gate.bytes) == (2, 90)


async def test_a_cancelled_waiter_leaves_no_hole() -> None:
    gate = Gate(1, 100)
    await gate.enter(1)
    first, second = await waiting(gate, 1, 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.leave(1)
    await second
    gate.leave(1)
    assert (gate.count, gate.bytes) == (0, 0)


async def test_a_waiter_cancelled_as_its_turn_comes_passes_it_on() -> None:
    gate = Gate(1, 100)
    await gate.enter(1)
    first, second = await waiting(gate, 1, 1)
    gate.leave(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert gate.count == 1
