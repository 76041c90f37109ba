"""What a mutant is, and how the suite is run against it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from polybus.binding import Binding
from polybus.clock import Clock
from polybus.driver import Driver
from polybus.testing.clauses import clause_of
from polybus.testing.conformance import Conformance
from polybus.testing.environment import Environment
from polybus.testing.rig import Rig
from polybus.testing.rigs import MemoryRig, SqliteRig
from polybus.topology.model import Topology

__all__ = ["Bend", "Mutant", "catch", "likeliest"]

Bend = Callable[[Driver, Clock], Driver]

_RIGS: dict[str, Callable[[], Rig]] = {"memory": MemoryRig, "sqlite": SqliteRig}
_FAILURES = (Exception, pytest.fail.Exception)


def _straight(driver: Driver, clock: Clock) -> Driver:
    return driver


def _as_it_is(binding: Binding) -> Binding:
    return binding


@dataclass(frozen=True, slots=True)
class Mutant:
    """A backend or the bus, broken in one clause.

    `store` bends the backend's driver, below the faults that tests inject; `bus` bends it above them, where the bus
    sees it: both work on any backend. `binding` bends what the rig realised. `patch` changes a part of the bus, or of
    one backend, for as long as it is entered; `of` names that backend: such a mutant shows on no other.
    `hint` is a part of the names of the tests that are likeliest to catch it: these run first.
    """

    clause: str
    what: str
    store: Bend = _straight
    bus: Bend = _straight
    binding: Callable[[Binding], Binding] = _as_it_is
    patch: Callable[[], AbstractContextManager[Any]] = nullcontext
    of: str | None = None
    hint: str = ""

    def __str__(self) -> str:
        """Say what it breaks, and where."""
        return f"{self.clause} {f'({self.of}) ' if self.of else ''}{self.what}"


class _BentRig:
    """A rig that does all that another does, with a mutant's driver and binding, and a patience of its own."""

    def __init__(self, inner: Rig, mutant: Mutant, patience: float | None) -> None:
        self._inner = inner
        self._mutant = mutant
        self.name = "mutant"  # what it does goes into no table
        self.patience = inner.patience if patience is None else patience

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def realise(self, topology: Topology) -> Binding:
        return self._mutant.binding(await self._inner.realise(topology))

    def driver(self, binding: Binding) -> Driver:
        return self._mutant.store(self._inner.driver(binding), self._inner.clock)


class _BentEnvironment(Environment):
    def __init__(self, rig: Any, mutant: Mutant) -> None:
        super().__init__(rig)
        self._mutant = mutant

    def outer(self, driver: Driver) -> Driver:
        return self._mutant.bus(driver, self.clock)


def likeliest(mutant: Mutant) -> list[str]:
    """Return the names of the tests of a mutant's clause, the likeliest to catch it first."""
    names = [name for name in sorted(dir(Conformance)) if clause_of(name) == mutant.clause]
    hints = mutant.hint.split() or [""]
    return sorted(names, key=lambda name: not any(hint in name for hint in hints))


async def catch(
    mutant: Mutant,
    patience: float | None = None,
    *,
    rig: Callable[[], Rig] | None = None,
    tests: Sequence[str] | None = None,
) -> str | None:
    """Run the tests of the mutant's clause against it; return the first that fails and how, None where all pass.

    `rig` makes the rig to break; without it, that of the backend that the mutant is of, or memory. What never comes is
    waited for `patience` real seconds (the rig's own where None), once or twice for each mutant. `tests` are the names
    of the tests to run instead of all of the clause. They share one environment, as the tests of a class do: what fails
    is the last to run on it.
    """
    make = rig or _RIGS[mutant.of or "memory"]
    with mutant.patch():
        return await _first_failure(mutant, make(), likeliest(mutant) if tests is None else tests, patience)


async def _first_failure(mutant: Mutant, rig: Rig, names: Sequence[str], patience: float | None) -> str | None:
    """Run tests until one fails; return which and how, or None."""
    env = _BentEnvironment(_BentRig(rig, mutant, patience), mutant)
    try:
        await env.__aenter__()
    except _FAILURES as error:
        return f"{next(iter(names), 'no test')}: {type(error).__name__}: {error}"
    try:
        for name in names:
            failure = await _fails(env, name)
            if failure is not None:
                return f"{name}: {failure}"
    finally:
        with contextlib.suppress(*_FAILURES):  # what is broken may not end well either
            async with asyncio.timeout(env.rig.patience):
                await env.__aexit__()
    return None


async def _fails(env: Environment, name: str) -> str | None:
    """Run one test; return how it fails, or None."""
    try:
        await getattr(Conformance(), name)(env)
    except _FAILURES as error:
        return f"{type(error).__name__}: {error}"
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return "CancelledError: the test was cancelled by what it tests"
    return None
