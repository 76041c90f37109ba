"""Mutants of the memory backend: receipts, two consumers on a key, delays, letters, and what operators see."""

from __future__ import annotations

from polybus.testing.mutants.editing import Patch, edit
from polybus.testing.mutants.mutant import Mutant

__all__ = ["MEMORY"]

_SOURCE = "polybus.embedded.memory.source:Source"
_GROUPS = "polybus.embedded.memory.lines:Groups"
_CONSUMER = "polybus.embedded.memory.consume:Consumer"


def _m(clause: str, what: str, patch: Patch, hint: str = "") -> Mutant:
    return Mutant(clause, what, patch=patch, hint=hint, of="memory")


MEMORY = (
    _m(
        "D2",
        "an expired lease still settles",
        edit(f"{_SOURCE}.holds", "entry.lease > now and ", ""),
        "stale late_receipt",
    ),
    _m(
        "D2",
        "any receipt of a message settles it",
        edit(f"{_SOURCE}.holds", " and entry.claim == claim", ""),
        "stale own_attempt",
    ),
    _m(
        "D2",
        "extending a lost lease says that it is good",
        edit(f"{_CONSUMER}.extend_batch", "LeaseUntil(until) if ok else self._lost for ok", "LeaseUntil(until) for ok"),
        "extension_moves",
    ),
    _m(
        "D2",
        "leases are shorter than the driver says",
        edit(f"{_CONSUMER}._received", "entry.lease,\n", "entry.lease + 5.0,\n"),
        "as_long_as",
    ),
    _m(
        "D10",
        "two consumers get of one key",
        edit(f"{_GROUPS}._queue", "group.queued or group.leased", "group.queued"),
        "two_consumers",
    ),
    _m(
        "D10",
        "what is later overtakes what is delayed",
        edit(
            f"{_GROUPS}.add",
            "group.waiting.append(entry)",
            "group.waiting.insert(0 if group.waiting and group.waiting[0].due else len(group.waiting), entry)",
        ),
        "with_a_delay",
    ),
    _m(
        "D10",
        "what is given back goes to the end of its key",
        edit(f"{_GROUPS}.back", "group.waiting.insert(place, entry)", "group.waiting.append(entry)"),
        "given_back lost_lease_gives",
    ),
    _m(
        "P5",
        "a repeated publish is accepted twice",
        edit("polybus.embedded.rules:DedupWindow.admit", "return False", "return True"),
        "lost_answer",
    ),
    _m(
        "P5",
        "messages are told apart by their ids",
        edit("polybus.embedded.memory.publish:Publisher.publish_batch", "outgoing.dedup_id", "outgoing.message.id"),
        "published_twice",
    ),
    _m(
        "P5",
        "copies of one id have one token",
        edit(f"{_CONSUMER}._received", "str(entry.seq)", "''"),
        "published_twice",
    ),
    _m(
        "D1",
        "what expires is deleted under who has it",
        edit(f"{_SOURCE}._expire", " and not entry.lease", ""),
        "while_it_is_leased",
    ),
    _m(
        "D1",
        "dead letters expire with their queue",
        edit(f"{_SOURCE}.configure", "entity.retention", "min(entity.retention, 600.0)"),
        "retention_of_its_own",
    ),
    _m(
        "D1",
        "a receive doesn't wait",
        edit(f"{_CONSUMER}.receive_batch", "if deadline - now <= 0:", "if True:"),
        "waits_and_returns",
    ),
    _m(
        "D1",
        "a publish wakes nobody",
        edit("polybus.embedded.memory.publish:Publisher.publish_batch", "source.wake()", "pass"),
        "wakes",
    ),
    _m(
        "D1",
        "more is received than was asked for",
        edit(f"{_CONSUMER}.receive_batch", "source.take(count, ", "source.take(10 * count, "),
        "no_more_is_received",
    ),
    _m("D12", "stop doesn't end a receive that waits", edit(f"{_CONSUMER}.stop", "waiter.fire()", "pass"), "stop_ends"),
    _m(
        "D5",
        "a give-back is always an attempt",
        edit(f"{_SOURCE}.nack", "if attempts is not None:", "if False:"),
        "not_handled",
    ),
    _m(
        "D6",
        "a dead letter loses its content type",
        edit(
            f"{_SOURCE}._bury",
            "self.dead.add(entry.message",
            'self.dead.add(__import__("msgspec").structs.replace(entry.message, content_type=None)',
        ),
        "keeps_all",
    ),
    _m(
        "D6",
        "moves to dead letters aren't counted",
        edit(f"{_SOURCE}._bury", "moves=entry.moves + 1", "moves=entry.moves"),
        "keeps_all",
    ),
    _m("O1", "purge deletes nothing", edit(f"{_SOURCE}.purge", "self._drop(gone)", "pass"), "purge_deletes"),
    _m(
        "O1",
        "stats count what is leased with what waits",
        edit(f"{_SOURCE}.stats", "- self._leased - self._delayed", "- self._delayed"),
        "stats",
    ),
    _m(
        "O1", "stats tell no age", edit(f"{_SOURCE}.stats", "None if oldest is None else", "None if True else"), "stats"
    ),
    _m(
        "O1",
        "every page of a look is the first",
        edit(f"{_SOURCE}.peek", "if entry.seq > after", "if True"),
        "peek_shows_each",
    ),
    _m(
        "O1",
        "what is missing is taken for something else",
        edit(
            "polybus.embedded.memory.store:_found",
            "return there[entity.address]",
            "return there.get(entity.address) or next(iter(there.values()))",
        ),
        "missing",
    ),
    _m(
        "O2",
        "every error is final",
        edit("polybus.embedded.memory.driver:MemoryDriver.fault", "FaultKind.INTERNAL", "FaultKind.INVALID"),
        "not_known",
    ),
)
