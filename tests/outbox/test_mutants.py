"""The clauses' own test: an outbox that is broken in one place is caught by a test of the clause that it breaks."""

from __future__ import annotations

import gc
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import test_clauses
from places import DIALECTS, postgresql_database, sqlite_database

from databases import Postgresql
from polybus.testing.mutants import edit
from polybus.topology.model import Topology

RELAY = "polybus.outbox.relay"
SQLITE = "polybus.outbox.sqlite:SqliteStore"
POSTGRESQL = "polybus.outbox.postgresql:PostgresqlStore"


class Mutant(NamedTuple):
    """What is changed, in which database it shows, and which test of its clause fails there."""

    what: str
    where: str
    old: str
    new: str
    test: str
    dialect: str = "sqlite"

    def __str__(self) -> str:
        return f"{self.test.split('_')[1]}: {self.what}"


MUTANTS = (
    Mutant(
        "all is taken for sent, and nothing is",
        f"{RELAY}:Relay._round",
        "await self._send(target, claim.rows)",
        "[Sent(row.id) for row in claim.rows]",
        "test_O1_nothing_is_sent_before_the_commit",
    ),
    Mutant(
        "what was sent stays",
        f"{RELAY}:Relay._judge",
        "sent.append(row.seq)",
        "sent.append(-row.seq)",
        "test_O1_what_is_committed_is_sent_and_nothing_else",
    ),
    Mutant(
        "publish tells another id",
        "polybus.outbox.outbox:Outbox.publish_sync",
        'return str(values["id"])',
        "return str(values)",
        "test_O2_a_receiver_sees_the_id_that_publish_gave",
    ),
    Mutant(
        "each try is a publish of its own",
        f"{RELAY}:_draft",
        "return outgoing_of(row, ordered=entity.ordered, now=now)",
        "import msgspec, uuid\n    return msgspec.structs.replace(outgoing_of(row, ordered=entity.ordered, now=now), "
        "token=str(uuid.uuid4()))",
        "test_O3_what_is_sent_again_is_the_same_publish",
    ),
    Mutant(
        "transactions of one key wait for nobody",
        "polybus.outbox.outbox:Outbox._insertion",
        'values["ordering_key"] is not None and statements.lock',
        "False",
        "test_O4_two_transactions_with_one_key_go_one_after_the_other",
        "postgresql",
    ),
    Mutant(
        "each relay thinks that it is the one",
        f"{SQLITE}._leads",
        "if self._guard is not None:",
        "if True:",
        "test_O4_of_two_relays_one_sends_a_key",
    ),
    Mutant(
        "what another relay has is claimed as well",
        f"{POSTGRESQL}._rows",
        " FOR UPDATE OF line SKIP LOCKED",
        "",
        "test_O4_of_two_relays_one_sends_a_key",
        "postgresql",
    ),
    Mutant(
        "what was refused holds up nothing",
        f"{SQLITE}.claim",
        "earlier.failed_at IS NOT NULL",
        "earlier.failed_at < 0",
        "test_O5_what_is_refused_is_kept_and_holds_up_its_key",
    ),
    Mutant(
        "what was refused holds up nothing",
        f"{POSTGRESQL}._rows",
        "earlier.seq < line.seq\n)",
        "earlier.seq < line.seq AND earlier.failed_at < 0\n)",
        "test_O5_what_is_refused_is_kept_and_holds_up_its_key",
        "postgresql",
    ),
    Mutant(
        "the reason is not kept",
        f"{RELAY}:Relay._judge",
        "failed.append((row.seq, str(outcome)))",
        'failed.append((row.seq, ""))',
        "test_O5_what_is_refused_is_kept_and_holds_up_its_key",
    ),
    Mutant(
        "any failure is for good",
        f"{RELAY}:Relay._judge",
        "if outcome.kind in _OF_THE_MESSAGE:",
        "if True:",
        "test_O6_what_fails_for_the_moment_is_tried_again_in_order",
    ),
    Mutant(
        "the bus holds up a key that failed for good",
        f"{RELAY}:Relay._send",
        "publisher.resume(draft.message.ordering_key)",
        "pass",
        "test_O6_what_fails_for_the_moment_is_tried_again_in_order",
    ),
    Mutant(
        "what is scheduled is sent at once",
        f"{SQLITE}.promote",
        "due_at <= ?",
        "due_at <= ? + 1e9",
        "test_O7_what_is_scheduled_is_sent_at_its_time",
    ),
    Mutant(
        "what is scheduled is sent with what is due",
        f"{POSTGRESQL}.promote",
        "due_at <= CAST",
        "due_at <= 1e9 + CAST",
        "test_O7_what_is_scheduled_is_sent_at_its_time",
        "postgresql",
    ),
)
SHOWN = [mutant for mutant in MUTANTS if mutant.dialect in DIALECTS]
NEEDS_BUS_MIDDLEWARE = ("test_O3", "test_O6_what_fails")


def test_every_clause_has_a_mutant() -> None:
    clauses = {name.split("_")[1] for name in dir(test_clauses.TestOutbox) if name.startswith("test_O")}
    assert {mutant.test.split("_")[1] for mutant in MUTANTS} == clauses


@pytest.mark.parametrize("mutant", SHOWN, ids=lambda mutant: f"{mutant}, {mutant.dialect}")
async def test_a_broken_outbox_is_caught(
    mutant: Mutant, request: pytest.FixtureRequest, topology: Topology, tmp_path: Path
) -> None:
    if mutant.dialect == "sqlite":
        database = sqlite_database(tmp_path)
    else:
        server: Postgresql = request.getfixturevalue("postgresql")
        database = postgresql_database(server)
    test = getattr(test_clauses.TestOutbox(), mutant.test)
    more = {"through": False} if mutant.test.startswith(NEEDS_BUS_MIDDLEWARE) else {}
    with ExitStack() as stack:
        stack.enter_context(edit(mutant.where, mutant.old, mutant.new)())
        stack.enter_context(pytest.raises((AssertionError, pytest.fail.Exception)))
        await test(database, topology, **more)
    with warnings.catch_warnings():  # what is broken may leave connections open: here, and not within another test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
