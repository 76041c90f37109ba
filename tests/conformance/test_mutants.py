"""The suite catches a bus and a backend that break the contract, clause by clause."""

from collections import Counter

import pytest

from polybus.testing.clauses import CLAUSES, clause_of
from polybus.testing.conformance import Conformance
from polybus.testing.mutants import MUTANTS, Mutant, catch

TESTS = Counter(clause_of(name) for name in dir(Conformance) if name.startswith("test_"))


def test_every_clause_has_tests_and_every_test_a_clause() -> None:
    assert set(TESTS) == set(CLAUSES)


def test_every_clause_has_a_mutant() -> None:
    assert {mutant.clause for mutant in MUTANTS} == set(CLAUSES)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.clause}: {mutant.what}")
async def test_the_suite_catches(mutant: Mutant) -> None:
    assert await catch(mutant), f"{mutant.clause}: all tests passed where {mutant.what}"


@pytest.mark.parametrize("clause", CLAUSES)
async def test_the_suite_passes_what_is_not_broken(clause: str) -> None:
    assert await catch(Mutant(clause, "nothing is broken"), patience=20.0) is None
