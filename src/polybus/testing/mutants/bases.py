"""Mutants of the base classes for backends (`polybus.backend`), for rigs of backends that are made of them."""

from __future__ import annotations

from polybus.testing.mutants.editing import Patch, edit
from polybus.testing.mutants.mutant import Mutant

__all__ = ["BASES"]

_CONSUMER = "polybus.backend:BaseConsumer"
_POLLING = "polybus.backend:PollingConsumer"
_PUBLISHER = "polybus.backend:BasePublisher"
_PART = "polybus.backend.consumer:part"
_LETTER = "polybus.backend.consumer:letter_of"


def _m(clause: str, what: str, patch: Patch, hint: str = "") -> Mutant:
    return Mutant(clause, what, patch=patch, hint=hint, of="bases")


BASES = (
    _m(
        "D1",
        "a receive doesn't wait",
        edit(f"{_POLLING}.receive_batch", "waits >= deadline or self.stopping", "True"),
        "waits_and_returns",
    ),
    _m(
        "D1",
        "what comes ends no wait",
        edit(f"{_POLLING}._until", "task.add_done_callback(end)", "pass"),
        "wakes_a_receive",
    ),
    _m("D12", "stop doesn't end a wait", edit(f"{_POLLING}.stop", "self._end_wait()", "pass"), "stop_ends"),
    _m("D12", "stop doesn't end intake", edit(f"{_POLLING}.stop", "self.stopping = True", "pass"), "after_stop"),
    _m(
        "D2",
        "leases are longer than was granted",
        edit(f"{_CONSUMER}.received", "began + (", "began + 5.0 + ("),
        "as_long_as",
    ),
    _m(
        "D2",
        "an extension is counted twice",
        edit(f"{_CONSUMER}.extend_batch", "LeaseUntil(began + each)", "LeaseUntil(began + 2 * each)"),
        "extension_moves",
    ),
    _m(
        "D2",
        "a lost lease is extended",
        edit(
            f"{_CONSUMER}.extend_batch",
            "each if isinstance(each, Fault) else LeaseUntil(began + each)",
            "LeaseUntil(began)",
        ),
        "late_receipt",
    ),
    _m(
        "D2",
        "a stale receipt buries",
        edit(f"{_CONSUMER}._hold", "each if isinstance(each, Fault) else None for each", "None for each"),
        "stale late_receipt",
    ),
    _m(
        "D2",
        "answers of one kind are put back to front",
        edit(_PART, "zip(items, found, strict=True)", "zip(items, reversed(found), strict=True)"),
        "the_good_receipt",
    ),
    _m(
        "D2",
        "answers of each kind begin at the first place",
        edit(_PART, "zip(items, found, strict=True)", "enumerate(found)"),
        "the_good_receipt",
    ),
    _m(
        "D3",
        "what is given back beside acks is forgotten",
        edit(f"{_CONSUMER}.settle_batch", "nacks[place] = each", "pass"),
        "at_its_place",
    ),
    _m(
        "D7",
        "a letter is sent and not acked",
        edit(f"{_CONSUMER}.dead_letter", "await part(self.ack, copied, answers, self.driver.fault)", "pass"),
        "not_come_again",
    ),
    _m("D6", "a letter loses its reason", edit(_LETTER, "settlement.reason", '""'), "keeps_all"),
    _m(
        "D6",
        "a letter's move isn't counted",
        edit(_LETTER, "received.moves + 1", "received.moves"),
        "keeps_all",
    ),
    _m("D5", "nothing is ever redelivered", edit(f"{_CONSUMER}.received", "again if", "False if")),
    _m(
        "D10",
        "deliveries have no group",
        edit(f"{_CONSUMER}.received", "polled.message.ordering_key if polled.group is None and self.ordered else ", ""),
    ),
    _m("P4", "names and keys aren't checked", edit(f"{_PUBLISHER}.prepare", "wrong is not None", "False")),
    _m("P4", "no room is kept for the letter", edit(f"{_PUBLISHER}.prepare", "limit - reserve", "limit")),
    _m("D14", "what moves is checked as what is new", edit(f"{_PUBLISHER}.prepare", "moved=moved", "moved=False")),
    _m(
        "O2",
        "codes say nothing",
        edit("polybus.backend:BaseDriver.fault", "self.codes.get(code)", "None"),
        "told_apart",
    ),
    _m(
        "O2", "types say nothing", edit("polybus.backend.driver:_nearest", "if each in table", "if False"), "told_apart"
    ),
)
