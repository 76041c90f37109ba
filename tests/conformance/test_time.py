"""How the kit treats tests that let time pass, on clocks that can be moved and on the machine's own."""

from __future__ import annotations

import inspect

import pytest

from polybus.clock import SystemClock
from polybus.testing.clauses import moves_time
from polybus.testing.conformance import Conformance, Suite
from polybus.testing.environment import Environment
from polybus.testing.rigs import MemoryRig


class Noting(Environment):
    moved = False

    async def advance(self, seconds: float) -> None:
        self.moved = True
        await super().advance(seconds)

    def stand_still(self, seconds: float) -> None:
        self.moved = True
        super().stand_still(seconds)


async def test_what_is_marked_is_what_lets_time_pass() -> None:
    tests = {name: test for name, test in inspect.getmembers(Conformance) if name.startswith("test_")}
    moving = set()
    async with Noting(MemoryRig()) as env:
        for name, test in tests.items():
            env.moved = False
            await test(Conformance(), env)
            if env.moved:
                moving.add(name)
    assert {name for name, test in tests.items() if moves_time(test)} == moving


class RealTime(MemoryRig):
    patience = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()


async def test_a_test_that_waits_for_real_time_may_take_as_much_longer() -> None:
    class Waiting(Suite):
        async def test_it_waits(self, env: Environment) -> None:
            await env.advance(1.0)

        async def test_it_waits_and_hangs(self, env: Environment) -> None:
            await env.advance(1.0)
            await env.clock.sleep(600.0)

    async with Environment(RealTime()) as env:
        await Waiting().test_it_waits(env)
        with pytest.raises(AssertionError, match="hangs"):
            await Waiting().test_it_waits_and_hangs(env)
