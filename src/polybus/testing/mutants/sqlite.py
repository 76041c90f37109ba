"""Mutants of the SQLite backend: in its statements, and in what commits."""

from __future__ import annotations

from polybus.testing.mutants.editing import Patch, edit, together
from polybus.testing.mutants.mutant import Mutant

__all__ = ["SQLITE"]

_SETTLE = "polybus.embedded.sqlite.settle"
_CLAIM = "polybus.embedded.sqlite.claim"
_ADMIN = "polybus.embedded.sqlite.admin"


def _m(clause: str, what: str, patch: Patch, hint: str = "") -> Mutant:
    return Mutant(clause, what, patch=patch, hint=hint, of="sqlite")


_LATER = "(SELECT min(seq) FROM line WHERE source = ?1 AND state = 2"
_NEVER = "(SELECT min(seq) FROM line WHERE 0 AND source = ?1 AND state = 2"

SQLITE = (
    _m(
        "P1",
        "commits don't wait for the disk",
        edit("polybus.embedded.sqlite.writer:_Worker._set_durable", "'FULL' if durable else 'NORMAL'", "'NORMAL'"),
    ),
    _m(
        "D2",
        "a stale receipt is taken for the good one beside it",
        edit(
            f"{_SETTLE}:_good",
            "return set(decode_json(text))",
            "good = {receipts[place][0] for place in decode_json(text)}\n"
            "    return {place for place, each in enumerate(receipts) if each[0] in good}",
        ),
        "beside_the_good hold_the_stale",
    ),
    _m(
        "D2",
        "any receipt of a message settles it",
        edit(f"{_SETTLE}:_GOOD", " AND l.claim = json_extract(j.value, '$[1]')", ""),
        "stale own_attempt",
    ),
    _m(
        "D2",
        "an expired lease still settles",
        edit(f"{_SETTLE}:_GOOD", "l.due > ?3", "(l.due > ?3 OR 1)"),
        "late_receipt",
    ),
    _m(
        "D10",
        "two consumers get of one key",
        edit(
            f"{_CLAIM}:_GROUPS",
            "NOT EXISTS (SELECT 1 FROM line WHERE source = ?1",
            "NOT EXISTS (SELECT 1 FROM line WHERE 0 AND source = ?1",
        ),
        "two_consumers",
    ),
    _m(
        "D10",
        "what is later overtakes what is delayed",
        together(edit(f"{_CLAIM}:_GROUPS", _LATER, _NEVER), edit(f"{_CLAIM}:_RUNS", _LATER, _NEVER)),
        "delay",
    ),
    _m(
        "D10",
        "a batch isn't in the order of its keys",
        edit(
            f"{_CLAIM}:_lines",
            "[_Line(*row) for row in decode_json(text)]",
            "[_Line(*row) for row in decode_json(text)][::-1]",
        ),
        "keeps_the_order",
    ),
    _m(
        "D1",
        "what expires is deleted under who has it",
        edit(
            "polybus.embedded.sqlite.upkeep:Upkeep.expire", "(state <> ? OR due <= ?)", "(state <> ? OR due <= ? OR 1)"
        ),
        "while_it_is_leased",
    ),
    _m(
        "P5",
        "a repeated publish is accepted twice",
        edit("polybus.embedded.sqlite.publish:_Rows.add", "if dedup_id in known or dedup_id in fresh:", "if False:"),
        "lost_answer",
    ),
    _m(
        "D13",
        "what is put back has a new time",
        edit("polybus.embedded.sqlite.publish:_Rows._add", "published = message.published_at", "published = wall"),
        "as_it_was",
    ),
    _m("D6", "moves to dead letters aren't counted", edit(f"{_SETTLE}:_COPY", "moves + 1", "moves"), "keeps_all"),
    _m(
        "D4",
        "the delay of a nack is forgotten",
        edit(f"{_SETTLE}:_settle", "(DELAYED, now + delay) if delay > 0 else (READY, 0.0)", "(READY, 0.0)"),
        "not_before",
    ),
    _m(
        "D5",
        "a give-back is always an attempt",
        edit(f"{_SETTLE}:_GIVE_BACK", "ifnull(n.attempt, line.attempt)", "line.attempt"),
        "not_handled",
    ),
    _m(
        "O1", "purge doesn't say how much went", edit(f"{_ADMIN}:Admin.purge", "gone += count", "pass"), "purge_deletes"
    ),
    _m(
        "O1",
        "every page of a look is the first",
        edit(f"{_ADMIN}:_AFTER", "seq > ?3", "(seq > ?3 OR 1)"),
        "peek_shows_each",
    ),
    _m(
        "O2",
        "a lock that is held for too long is final",
        edit("polybus.embedded.sqlite.faults:fault", "Fault(FaultKind.UNAVAILABLE", "Fault(FaultKind.STORAGE"),
        "told_apart",
    ),
    _m(
        "D12",
        "stop doesn't end a receive that waits",
        edit("polybus.embedded.sqlite.consume:Consumer.stop", "self._stopped = True", "pass"),
        "stop_ends",
    ),
)
