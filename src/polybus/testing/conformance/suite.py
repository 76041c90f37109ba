"""What every class of the suite has: the rig, and the environment on it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest
import pytest_asyncio

from polybus.errors import UnsupportedFeature
from polybus.feature import Feature
from polybus.registry import BUILT_IN
from polybus.testing.environment import Environment
from polybus.testing.rig import Rig
from polybus.testing.topology import ordered_alone

__all__ = ["Suite", "needs_order", "refuses_order"]

Test = TypeVar("Test", bound=Callable[..., Any])

# A test waits for a few things in turn, each within the rig's patience; one that takes longer than this hangs.
PATIENCES = 5


def needs_order(test: Test) -> Test:
    """Mark a test that needs ordering keys: where a rig says that there are none, it shows that they are refused."""
    test.needs_order = True  # type: ignore[attr-defined]
    return test


async def refuses_order(env: Environment) -> None:
    """Keys that aren't kept are refused: by `check`, by `features`, and at publish before any call (contract, P6)."""
    backend = env.binding.backend
    assert backend not in BUILT_IN, f"{backend} keeps ordering keys, and its rig says that it doesn't"
    problems = env.rig.check(ordered_alone())
    assert any("serial.ordered" in problem for problem in problems), problems
    assert Feature.ORDERING not in env.bus.features("serial")
    binding = env.binding
    ordered = msgspec.structs.replace(binding.queues["serial"], ordered=True)
    with pytest.raises(UnsupportedFeature, match=r"serial"):
        async with env.connect(binding=msgspec.structs.replace(binding, queues={**binding.queues, "serial": ordered})):
            pass
    with pytest.raises(UnsupportedFeature, match="serial"):
        await env.within(env.bus.publish("serial", b"", ordering_key="k"))
    env.note("ordering keys", "refused")


def _conclude(running: asyncio.Task[None]) -> None:
    """Raise what a test failed with; what ends the whole run has left the event loop by itself, and only once."""
    if not running.cancelled() and isinstance(running.exception(), (KeyboardInterrupt, SystemExit)):
        raise asyncio.CancelledError
    running.result()


def _bounded(test: Callable[[Any, Environment], Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def bounded(self: Any, env: Environment) -> None:
        limit = PATIENCES * env.rig.patience
        needs = getattr(test, "needs_order", False) and not env.rig.ordering
        # In a task of its own: what it leaves behind as it is cancelled may hang as well.
        running = asyncio.get_running_loop().create_task(refuses_order(env) if needs else test(self, env))
        try:
            async with asyncio.timeout(limit) as timeout:
                env.limit = timeout
                await asyncio.wait({running})
                _conclude(running)
            env.check_repeats()
        except TimeoutError:
            if timeout.expired():
                raise AssertionError(f"the test hangs: it was not over after {limit:g} s") from None
            raise
        finally:
            env.limit = None
            await env.end(running)
            await env.tidy()

    return bounded


class Suite:
    """Tests on one rig. The class that is run sets `rig` to what makes one: the rig's class, or a function.

    Its tests run on one event loop, on one realised topology.
    """

    rig: ClassVar[Callable[[], Rig]]
    pytestmark = pytest.mark.asyncio(loop_scope="class")

    def __init_subclass__(cls, **options: Any) -> None:
        """Bound the time of every test, so that a backend that hangs fails."""
        super().__init_subclass__(**options)
        for name, member in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(member):
                setattr(cls, name, _bounded(member))

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def env(cls) -> AsyncIterator[Environment]:
        """Realise the suite's topology, and drop it after the last test of the class."""
        async with Environment(cls.rig()) as environment:
            yield environment
