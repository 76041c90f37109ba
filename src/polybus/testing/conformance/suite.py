"""What every class of the suite has: the rig, and the environment on it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from polybus.testing.environment import Environment
from polybus.testing.rig import Rig

__all__ = ["Suite"]

# A test waits for a few things in turn, each within the rig's patience; one that takes longer than this hangs.
PATIENCES = 5


def _bounded(test: Callable[[Any, Environment], Awaitable[None]]) -> Callable[[Any, Environment], Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(self: Any, env: Environment) -> None:
        limit = PATIENCES * env.rig.patience
        try:
            async with asyncio.timeout(limit) as timeout:
                env.limit = timeout
                await test(self, env)
        except TimeoutError:
            if timeout.expired():
                raise AssertionError(f"the test hangs: it was not over after {limit:g} s") from None
            raise
        finally:
            env.limit = None
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
