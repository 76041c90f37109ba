"""How the kit treats tests that let time pass, on clocks that can be moved and on the machine's own."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from polybus.binding import Binding
from polybus.clock import SystemClock
from polybus.driver import Ack, Driver
from polybus.errors import BackendError, LeaseLost, PublishFailed
from polybus.testing.clauses import moves_time
from polybus.testing.conformance import Conformance, Suite
from polybus.testing.environment import Environment
from polybus.testing.proxy import ConsumerProxy, DriverProxy, PublisherProxy
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


async def never(*_: object, **__: object) -> Any:
    await asyncio.Event().wait()


class Hanging(MemoryRig):
    """A backend of which one call never answers, nor does what closes it."""

    patience = 0.2

    def __init__(self, part: type, name: str) -> None:
        super().__init__()
        self.part = type("Hangs", (part,), {name: never})

    def driver(self, binding: Binding) -> Driver:
        part = self.part

        class Driver(DriverProxy):
            def consumer(self, inner: Any, source: Any) -> Any:
                return part(inner) if issubclass(part, ConsumerProxy) else inner

            def publisher(self, inner: Any, target: Any) -> Any:
                return part(inner) if issubclass(part, PublisherProxy) else inner

        return Driver(super().driver(binding))


class Uses(Suite):
    async def test_it_is_asked_by_the_bus(self, env: Environment) -> None:
        listener = await env.shared("jobs")
        identity = await env.bus.publish("jobs", b"1")
        await env.bus.publish("jobs", b"left to be tidied away")
        async with env.connect() as peer, env.listen("tasks", bus=peer.bus) as other:
            await other.get(await peer.bus.publish("tasks", b"2"))
            await (await listener.get(identity)).ack()

    async def test_it_is_asked_directly(self, env: Environment) -> None:
        [identity] = await env.direct.publish("bare", b"1")
        async with env.direct.hand("bare") as hand:
            await hand.settle(Ack(await hand.one(identity)))


HANGS = [(ConsumerProxy, name) for name in ("receive_batch", "settle_batch", "stop", "aclose")]
HANGS += [(PublisherProxy, name) for name in ("publish_batch", "aclose")]


@pytest.mark.parametrize(("part", "name"), HANGS, ids=lambda each: each if isinstance(each, str) else each.__name__)
async def test_a_backend_that_hangs_fails_the_suite_and_does_not_hang_it(part: type, name: str) -> None:
    async def run() -> list[BaseException]:
        failed: list[BaseException] = []
        try:
            async with Environment(Hanging(part, name)) as env:
                for test in (Uses().test_it_is_asked_by_the_bus, Uses().test_it_is_asked_directly):
                    try:
                        await test(env)
                    except Exception as error:  # noqa: BLE001 - looked at below
                        failed.append(error)
        except Exception as error:  # noqa: BLE001 - as above
            failed.append(error)
        return failed

    running = asyncio.create_task(run())
    done, _ = await asyncio.wait([running], timeout=60)
    assert done, "it hangs"
    failed = await running
    assert failed or name in ("stop", "aclose"), "nobody noticed"
    assert all(isinstance(error, AssertionError | PublishFailed | BackendError | LeaseLost) for error in failed), failed
