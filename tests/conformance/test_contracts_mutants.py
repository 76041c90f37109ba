"""The tests of contracts and events catch what breaks them, clause by clause."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from polybus.bus import shaped
from polybus.testing.mutants.editing import Patch, edit
from polybus.testing.rigs import MemoryRig

from . import test_contracts
from .test_contracts import shop_on

ROOT = Path(__file__).parents[2]
# Real seconds for what never comes: memory answers within milliseconds.
PATIENCE = 2.0
EVENTS = "polybus.cloudevents"
# Functions that a module has by name are changed there; it is imported before, so that it has none of them for good.
SHAPED = shaped.__name__


class Mutant(NamedTuple):
    """What is changed, and which test of its clause fails then; `given` is what the test has besides its shop."""

    clause: str
    what: str
    patch: Patch
    test: Callable[..., Any]
    given: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.clause}: {self.what}"


MUTANTS = (
    Mutant(
        "C1",
        "any JSON is of the contract",
        edit("polybus.contracts.json_check:_holds", "for part in node.parts:", "return True\n    for part in ():"),
        test_contracts.test_c1_what_is_not_of_the_contract_is_not_sent,
    ),
    Mutant(
        "C1",
        "who writes may add what isn't declared",
        edit("polybus.contracts.json_shape:_Reader._object", "not (self._writes and declared)", "True"),
        test_contracts.test_c1_what_is_not_of_the_contract_is_not_sent,
    ),
    Mutant(
        "C2",
        "one handler has all types",
        edit(
            "polybus.app.kinds:ByType.call", "self._executors.get(kind, self._else)", "[*self._executors.values()][0]"
        ),
        test_contracts.test_c2_each_type_reaches_its_handler,
    ),
    Mutant(
        "C2",
        "what has no handler is acked",
        edit("polybus.app.kinds:ByType.call", 'self._kinds.unknown != "ignore"', "False"),
        test_contracts.test_c2_each_type_reaches_its_handler,
    ),
    Mutant(
        "C3",
        "a row is a hundred times as long",
        edit("polybus.app.row:Row.stops", "self.count < most", "self.count < 100 * most"),
        test_contracts.test_c3_a_row_that_can_not_be_decoded_stops_and_loses_nothing,
    ),
    Mutant(
        "C3",
        "what stops it is a dead letter too",
        edit(
            "polybus.app.row:Row.stops",
            "self._on_stop(reason)\n    return True",
            "self._on_stop(reason)\n    return False",
        ),
        test_contracts.test_c3_a_row_that_can_not_be_decoded_stops_and_loses_nothing,
    ),
    Mutant(
        "E1",
        "an event has no time",
        edit(f"{SHAPED}:attributes_of", "if event.time is None", "if True"),
        test_contracts.test_e1_e2_an_event_arrives_as_the_official_sdk_reads_it,
        ("binary",),
    ),
    Mutant(
        "E2",
        "nothing says of what kind the data is",
        edit(f"{EVENTS}:_envelope", '"datacontenttype": content_type, ', ""),
        test_contracts.test_e1_e2_an_event_arrives_as_the_official_sdk_reads_it,
        ("structured",),
    ),
    Mutant(
        "E3",
        "filters see nothing of an event",
        edit(f"{SHAPED}:as_event", "for name in copied if name in event", "for name in ()"),
        test_contracts.test_e3_filters_decide_by_type_and_source,
        ("structured",),
    ),
    Mutant(
        "E4",
        "Event Grid's own schema is no event",
        edit(f"{EVENTS}:_in_json", '{"eventType", "eventTime", "id", "data"} <= fields.keys()', "False"),
        test_contracts.test_e4_events_of_other_programs_are_read_by_typed_handlers,
    ),
    Mutant(
        "E4",
        "an event needs a content type",
        edit(f"{EVENTS}:_found", 'content_type in ("", JSON)', "content_type == JSON"),
        test_contracts.test_e4_events_of_other_programs_are_read_by_typed_handlers,
    ),
)


def test_every_clause_has_a_mutant() -> None:
    text = (ROOT / "docs" / "contract.md").read_text()
    clauses = set(re.findall(r"^\| \*\*([CE]\d)\*\* \|", text, re.MULTILINE))
    assert clauses
    assert {mutant.clause for mutant in MUTANTS} == clauses


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
async def test_the_tests_catch(mutant: Mutant, tmp_path: Path) -> None:
    with mutant.patch():
        async with shop_on(MemoryRig(), tmp_path) as shop:
            shop.patience = PATIENCE
            with pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception)):
                await mutant.test(shop, *mutant.given)
