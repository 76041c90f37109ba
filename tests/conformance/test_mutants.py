"""The suite catches a bus and backends that break the contract, clause by clause."""

from collections import Counter

import pytest

from polybus.testing.clauses import CLAUSES, clause_of
from polybus.testing.conformance import Conformance
from polybus.testing.mutants import MEMORY, MUTANTS, SQLITE, SURVIVORS, Gone, Mutant, catch, edit, likeliest
from polybus.testing.rigs import SqliteRig

from .mutants_aws import AWS, AWS_SURVIVORS
from .rig_aws import AwsRig

TESTS = Counter(clause_of(name) for name in dir(Conformance) if name.startswith("test_"))
ALL = (*MUTANTS, *AWS)
SURVIVING = {**SURVIVORS, **AWS_SURVIVORS}

# Real seconds for what never comes: memory and files answer within milliseconds, and a local server of SQS in some ten.
PATIENCE = 1.0
PATIENCE_OF_CLOUDS = 4.0


def test_every_clause_has_tests_and_every_test_a_clause() -> None:
    assert set(TESTS) == set(CLAUSES)


def test_every_clause_has_a_mutant_and_every_mutant_its_own_words() -> None:
    assert {mutant.clause for mutant in MUTANTS} == set(CLAUSES)
    assert len({str(mutant) for mutant in ALL}) == len(ALL)


def test_there_are_enough_of_them_and_few_survive() -> None:
    assert len(MUTANTS) >= 60
    assert min(len(MEMORY), len(SQLITE), len(AWS)) >= 10
    assert set(SURVIVING) <= {str(mutant) for mutant in ALL}, "a survivor that is no mutant"
    assert all(len(reason) > 40 for reason in SURVIVING.values()), "a survivor needs a reason"
    assert len(SURVIVING) <= 0.05 * len(ALL)


@pytest.mark.parametrize("mutant", ALL, ids=str)
def test_the_hint_of_a_mutant_names_a_test(mutant: Mutant) -> None:
    names = likeliest(mutant)
    assert names
    assert all(any(hint in name for name in names) for hint in mutant.hint.split())


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
async def test_the_suite_catches(mutant: Mutant) -> None:
    caught = await catch(mutant, PATIENCE)
    if str(mutant) in SURVIVORS:
        assert caught is None, f"it is caught now, by {caught}: take it from SURVIVORS"
    else:
        assert caught, f"{mutant.clause}: all tests passed where {mutant.what}"


@pytest.mark.parametrize("mutant", AWS, ids=str)
async def test_the_suite_catches_what_is_wrong_with_a_cloud(mutant: Mutant) -> None:
    caught = await catch(mutant, PATIENCE_OF_CLOUDS, rig=AwsRig)
    assert (caught is None) is (str(mutant) in SURVIVING), f"{mutant.what}: {caught}"


@pytest.mark.parametrize("clause", CLAUSES)
async def test_the_suite_passes_what_is_not_broken(clause: str) -> None:
    assert await catch(Mutant(clause, "nothing is broken"), patience=20.0) is None


async def test_a_mutant_can_be_aimed_at_any_rig() -> None:
    mutant = next(each for each in MUTANTS if each.what == "what is nacked stays leased")
    caught = await catch(mutant, PATIENCE, rig=SqliteRig, tests=["test_D1_what_is_nacked_comes_again"])
    assert caught
    assert caught.startswith("test_D1_what_is_nacked_comes_again: AssertionError")


def test_a_mutant_whose_text_is_gone_says_so() -> None:
    edited = edit("polybus.bus.flow_control:FlowControl.leave", "no such text", "")
    with pytest.raises(Gone, match="no such text"), edited():
        pass


def test_an_edit_is_undone() -> None:
    from polybus.bus.retry import RetryPolicy

    before = RetryPolicy.wait
    with edit("polybus.bus.retry:RetryPolicy.wait", "at_least or 0.0", "7.0")():
        assert RetryPolicy(0.0, 0.0).wait(1) == 7.0
    assert RetryPolicy.wait is before
    assert RetryPolicy(0.0, 0.0).wait(1) == 0.0
