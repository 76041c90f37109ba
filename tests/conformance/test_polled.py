"""The base classes for backends: one that is made of them keeps the contract, and the suite sees where they don't."""

from __future__ import annotations

import pytest

from polybus.testing.conformance import Conformance
from polybus.testing.mutants import BASES, Mutant, catch, likeliest
from polybus.testing.mutants.delivering import DELIVERING

from .rig_polled import PolledRig

PATIENCE = 1.0


class TestPolled(Conformance):
    rig = PolledRig


@pytest.mark.parametrize("mutant", BASES, ids=str)
def test_the_hint_of_a_mutant_names_a_test(mutant: Mutant) -> None:
    names = likeliest(mutant)
    assert names
    assert all(any(hint in name for name in names) for hint in mutant.hint.split())


@pytest.mark.parametrize("mutant", [*BASES, *DELIVERING], ids=str)
async def test_the_suite_catches_what_is_wrong_with_it(mutant: Mutant) -> None:
    assert await catch(mutant, PATIENCE, rig=PolledRig), f"{mutant.clause}: all tests passed where {mutant.what}"
