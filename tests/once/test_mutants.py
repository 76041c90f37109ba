"""The clauses' own test: what is broken in one place is caught by a test of the clause that it breaks."""

from __future__ import annotations

import gc
import inspect
import re
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from polybus.once import MemoryStore, SqlStore
from polybus.testing.mutants import edit

from . import test_once, test_stores
from .servers import MISSING
from .stores import Set, opened

ROOT = Path(__file__).parents[2]
CLAIMING = "polybus.once.claiming:Claiming"
MEMORY = "polybus.once.memory:MemoryStore"
SQLITE = "polybus.once.sqlite"
SQL = "polybus.once.sql"
REDIS = "polybus.once.redis"


class Mutant(NamedTuple):
    """What is changed, which test of its clause fails then, and on which store: "" where the test brings its own."""

    what: str
    where: str
    old: str
    new: str
    test: Callable[..., Any]
    store: str = ""

    @property
    def clause(self) -> str:
        return self.test.__name__.split("_")[1].upper()

    def __str__(self) -> str:
        return f"{self.clause}: {self.what}, {self.store or 'handler'}"


MUTANTS = (
    Mutant(
        "it isn't noted that it is done",
        f"{SQLITE}:SqliteStore.confirm",
        "SET done = :now",
        "SET until = until",
        test_stores.TestStore.test_n1_what_is_confirmed_is_not_done_again,
        "sqlite",
    ),
    Mutant(
        "what is done is free",
        f"{REDIS}:_CLAIM",
        "if done and done >",
        "if false and done >",
        test_stores.TestStore.test_n1_what_is_confirmed_is_not_done_again,
        "redis",
    ),
    Mutant(
        "what was done is begun again",
        f"{MEMORY}.claim",
        "return Done()",
        "pass",
        test_once.TestClaims.test_n1_a_duplicate_is_acked_and_not_handled,
    ),
    Mutant(
        "each that asks has it",
        f"{MEMORY}.claim",
        "row.until > now",
        "False",
        test_stores.TestStore.test_n2_of_two_at_once_one_has_it,
        "memory",
    ),
    Mutant(
        "each that asks has it",
        f"{SQL}:_Claims.claim",
        "table.c.until <= now",
        "table.c.until > 0",
        test_stores.TestStore.test_n2_of_two_at_once_one_has_it,
        "aiosqlite",
    ),
    Mutant(
        "a duplicate is a dead letter while another works on it",
        "polybus.once.claiming:until_next_look",
        "not is_last_attempt(delivery)",
        "True",
        test_once.TestClaims.test_n2_a_duplicate_of_long_work_is_no_dead_letter,
    ),
    Mutant(
        "who takes over has the token of who died",
        f"{SQLITE}:_CLAIM",
        "token = token + 1",
        "token = token",
        test_stores.TestStore.test_n3_a_claim_whose_lease_is_over_is_taken_with_a_higher_token,
        "sqlite",
    ),
    Mutant(
        "a lease never ends",
        f"{REDIS}:_CLAIM",
        "ends > now",
        "ends > 0",
        test_stores.TestStore.test_n3_a_claim_whose_lease_is_over_is_taken_with_a_higher_token,
        "redis",
    ),
    Mutant(
        "any owner may confirm",
        f"{MEMORY}._of",
        "row.token == claim.token",
        "True",
        test_stores.TestStore.test_n4_one_whose_claim_is_anothers_can_do_nothing_to_it,
        "memory",
    ),
    Mutant(
        "any owner may confirm",
        f"{SQL}:_Claims.change",
        "table.c.token == claim.token",
        "table.c.token > 0",
        test_stores.TestStore.test_n4_one_whose_claim_is_anothers_can_do_nothing_to_it,
        "aiosqlite",
    ),
    Mutant(
        "a lost lease keeps its claim",
        f"{CLAIMING}.handle",
        "self._release_soon(claim)",
        "pass",
        test_once.TestClaims.test_n4_a_lost_lease_loses_the_claim,
    ),
    Mutant(
        "nobody is told that another took it",
        f"{CLAIMING}._confirm",
        "if not confirmed:",
        "if False:",
        test_once.TestClaims.test_n4_a_claim_that_another_took_fails_the_handler,
    ),
    Mutant(
        "a lost lease commits",
        f"{SQL}:_check_lease",
        "if delivery.lost:",
        "if False:",
        test_once.TestTransactions.test_n4_a_lost_lease_rolls_back,
        "engine",
    ),
    Mutant(
        "what is released stays claimed",
        f"{SQLITE}:SqliteStore.release",
        "SET until = :now",
        "SET until = until",
        test_stores.TestStore.test_n5_what_is_released_may_be_claimed_at_once,
        "sqlite",
    ),
    Mutant(
        "what was given back is done",
        f"{CLAIMING}.handle",
        "if was_given_back(delivery):",
        "if False:",
        test_once.TestClaims.test_n5_what_the_handler_gives_back_by_itself_is_done_again,
    ),
    Mutant(
        "nothing is committed",
        f"{SQL}:_InTransaction._done",
        "await session.commit()",
        "pass",
        test_once.TestTransactions.test_n6_the_effect_and_the_key_are_committed_together,
        "engine",
    ),
    Mutant(
        "what was given back is committed",
        f"{SQL}:_is_to_commit",
        "return not was_given_back(delivery)",
        "return True",
        test_once.TestTransactions.test_n6_a_rollback_leaves_neither,
        "engine",
    ),
    Mutant(
        "a key is kept for ever",
        f"{MEMORY}.claim",
        "row.done > now - self._retention",
        "True",
        test_stores.TestStore.test_n7_keys_are_kept_for_the_retention_and_are_new_after_it,
        "memory",
    ),
    Mutant(
        "a key is forgotten at once",
        f"{SQLITE}:_CLAIM",
        "done <= :horizon",
        "done <= :now",
        test_stores.TestStore.test_n7_keys_are_kept_for_the_retention_and_are_new_after_it,
        "sqlite",
    ),
    Mutant(
        "a purge takes all",
        f"{MEMORY}.purge",
        "<= horizon",
        "<= horizon + 1e9",
        test_stores.TestStore.test_n7_a_purge_deletes_only_what_is_not_kept_any_more,
        "memory",
    ),
    Mutant(
        "a renewal changes nothing",
        f"{SQLITE}:SqliteStore.renew",
        "SET until = :now + {float(lease)!r}",
        "SET until = until",
        test_stores.TestStore.test_n8_a_renewed_claim_lasts,
        "sqlite",
    ),
    Mutant(
        "nothing is renewed while a handler runs",
        f"{CLAIMING}._renew",
        "if delivery.lost:",
        "if True:",
        test_once.TestClaims.test_n8_a_claim_is_renewed_while_its_handler_runs,
    ),
    Mutant(
        "scopes that end alike share keys",
        f"{MEMORY}.claim",
        "(scope, key)",
        '(scope + key, "")',
        test_stores.TestStore.test_n9_scopes_share_no_keys,
        "memory",
    ),
)
SHOWN = [mutant for mutant in MUTANTS if mutant.store not in MISSING]


def test_every_clause_has_a_mutant() -> None:
    text = (ROOT / "docs" / "contract.md").read_text()
    clauses = set(re.findall(r"^\| \*\*(N\d)\*\* \|", text, re.MULTILINE))
    assert clauses
    assert {mutant.clause for mutant in MUTANTS} == clauses


@pytest.mark.parametrize("mutant", SHOWN, ids=str)
async def test_a_broken_once_is_caught(
    mutant: Mutant, request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    async with AsyncExitStack() as stack:
        stack.enter_context(edit(mutant.where, mutant.old, mutant.new)())
        made = await stack.enter_async_context(_made(mutant.store, request, tmp_path))
        made |= {"caplog": caplog}
        asked = {name: made[name] for name in list(inspect.signature(mutant.test).parameters)[1:]}
        # ValueError: more than one was found where one is to be.
        stack.enter_context(pytest.raises((AssertionError, ValueError, pytest.fail.Exception)))
        await mutant.test(object(), **asked)
    with warnings.catch_warnings():  # what is broken may leave connections open: here, and not within another test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@asynccontextmanager
async def _made(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Give what tests ask for."""
    clock = Set()
    if kind == "":
        yield {}
    elif kind == "memory":
        yield {"place": ("memory", ""), "store": MemoryStore(retention="2d", clock=clock), "clock": clock}
    elif kind == "engine":
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'effects.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(test_once.effects.metadata.create_all)
        store = SqlStore(engine)
        await store.create_tables()
        yield {"engine": engine, "store": store}
        await engine.dispose()
    else:
        url = request.getfixturevalue("redis_server").url if kind == "redis" else str(folder / "claims.db")
        place = f"sqlite+aiosqlite:///{url}" if kind == "aiosqlite" else url
        async with opened(kind, place, clock=clock, retention="2d") as store_of_kind:
            await store_of_kind.create_tables()
            yield {"place": (kind, place), "store": store_of_kind, "clock": clock}
