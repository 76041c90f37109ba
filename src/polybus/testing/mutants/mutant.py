"""What a mutant is, and how the suite is run against it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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
from polybus.testing.rigs import MemoryRig
from polybus.topology.model import Topology

__all__ = ["Mutant", "catch"]

Bend = Callable[[Driver, Clock], Driver]


def _straight(driver: Driver, clock: Clock) -> Driver:
    return driver


def _as_it_is(binding: Binding) -> Binding:
    return binding


@dataclass(frozen=True, slots=True)
class Mutant:
    """The memory backend or the bus, broken in one clause.

    `store` bends the backend's driver, below the faults that tests inject; `bus` bends it above them, where the bus
    sees it. `binding` bends what the rig realised, `patch` replaces a part of the bus for as long as it is entered.
    """

    clause: str
    what: str
    store: Bend = _straight
    bus: Bend = _straight
    binding: Callable[[Binding], Binding] = _as_it_is
    patch: Callable[[], AbstractContextManager[Any]] = nullcontext


class _MutantRig(MemoryRig):
    name = "mutant"  # what it does goes into no table

    def __init__(self, mutant: Mutant, patience: float) -> None:
        super().__init__()
        self._mutant = mutant
        self.patience = patience

    async def realise(self, topology: Topology) -> Binding:
        return self._mutant.binding(await super().realise(topology))

    def driver(self, binding: Binding) -> Driver:
        return self._mutant.store(super().driver(binding), self.clock)


class _MutantEnvironment(Environment):
    def __init__(self, mutant: Mutant, patience: float) -> None:
        super().__init__(_MutantRig(mutant, patience))
        self._mutant = mutant

    def outer(self, driver: Driver) -> Driver:
        return self._mutant.bus(driver, self.clock)


async def catch(mutant: Mutant, patience: float = 1.0) -> str | None:
    """Run the tests of the mutant's clause against it; return the first that fails and how, None where all pass.

    What never comes is waited for `patience` real seconds, once or twice for each mutant; memory answers within
    milliseconds.
    """
    failure = (Exception, pytest.fail.Exception)
    with mutant.patch():
        for name in sorted(dir(Conformance)):
            if clause_of(name) != mutant.clause:
                continue
            env = _MutantEnvironment(mutant, patience)
            await env.__aenter__()
            try:
                await getattr(Conformance(), name)(env)
            except failure as error:
                return f"{name}: {type(error).__name__}: {error}"
            finally:
                with contextlib.suppress(*failure):  # what is broken may not end well either
                    await env.__aexit__()
    return None
