"""The judge of the torture: what must not happen is seen in a ledger, and what may happen isn't blamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from polybus.testing.torture.scene import FEEDS, GRACE, LEASE, ORDERED
from polybus.testing.torture.timeline import timeline
from polybus.testing.torture.verdict import Judge, Left, Verdict


class Tale:
    """A ledger, line by line; time passes a second a line unless it is given."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = 100.0
        self.tell("site", "begins", "made up", 1, 1.0)

    def tell(self, who: str, what: str, *of: Any, at: float | None = None) -> None:
        self._now = self._now + 1.0 if at is None else at
        with self._path.open("a") as file:
            file.write(json.dumps([self._now, who, what, *of]) + "\n")

    def accepted(self, uid: str, target: str = "serial", key: str | None = "k", *, poison: bool = False) -> None:
        self.tell("p0.1", "call", uid, target, key, int(uid.split(":")[1]), "odd", poison)
        self.tell("p0.1", "sent", uid)

    def start(self, uid: str, source: str = "serial", *, who: str = "c0.1", attempt: int = 1, left: float = 5) -> None:
        self.tell(who, "start", source, uid, attempt, attempt > 1, left)

    def handled(self, uid: str, source: str = "serial") -> None:
        self.start(uid, source)
        self.tell("c0.1", "done", source, uid, 1)

    def everywhere(self) -> None:
        """Let each source handle a message, so that there is something to judge."""
        for number, (target, sources) in enumerate(FEEDS.items(), 1_000):
            key = "other" if target in ORDERED else None
            self.tell("p0.1", "call", f"p0.1:{number}", target, key, number, "even", False)
            self.tell("p0.1", "sent", f"p0.1:{number}")
            for source in sources:
                self.handled(f"p0.1:{number}", source)

    def judge(self, left: Left | None = None, *, exact: frozenset[str] = frozenset()) -> dict[str, int]:
        return {row.name: row.count for row in self.verdict(left, exact=exact).rows if row.zero and row.count}

    def verdict(self, left: Left | None = None, *, exact: frozenset[str] = frozenset()) -> Verdict:
        judge = Judge(self._path, ordered=frozenset({"serial", "strict"}))
        judge.exact |= exact
        judge.catch_up()
        return judge.verdict(left or Left(), site="made up", seed=1, minutes=1.0)


@pytest.fixture
def tale(tmp_path: Path) -> Tale:
    made = Tale(tmp_path / "ledger")
    made.everywhere()
    return made


def test_a_run_in_which_nothing_came_proves_nothing(tmp_path: Path) -> None:
    tale = Tale(tmp_path / "ledger")
    assert tale.judge() == {"nothing to judge": 6}
    assert not tale.verdict().holds


def test_what_goes_well_holds(tale: Tale) -> None:
    tale.accepted("p0.1:1")
    tale.handled("p0.1:1")
    verdict = tale.verdict()
    assert verdict.holds
    assert "held" in verdict.table()
    assert verdict.as_json()["holds"] is True


def test_accepted_and_never_handled_is_lost_unless_it_waits(tale: Tale) -> None:
    tale.accepted("p0.1:1")
    assert tale.judge() == {"lost": 1}
    assert tale.judge(Left(waiting={"serial": {"p0.1:1"}})) == {"stuck": 1}


def test_each_subscription_has_to_handle_its_copy(tale: Tale) -> None:
    tale.tell("p0.1", "call", "p0.1:1", "events", None, 1, "even", False)
    tale.tell("p0.1", "sent", "p0.1:1")
    tale.handled("p0.1:1", "audit")
    assert tale.judge() == {"lost": 1}
    tale.handled("p0.1:1", "even")
    assert tale.judge() == {}


def test_refused_or_unknown_may_be_missing(tale: Tale) -> None:
    tale.tell("p0.1", "call", "p0.1:1", "serial", "k", 1, "odd", False)
    tale.tell("p0.1", "failed", "p0.1:1", "deadline", "in vain")
    tale.tell("p0.1", "call", "p0.1:2", "serial", "k", 2, "odd", False)
    assert tale.judge() == {}


def test_an_ack_that_nobody_lived_to_tell_of_is_no_loss(tale: Tale) -> None:
    tale.accepted("p0.1:1")
    tale.start("p0.1:1")
    tale.tell("c0.1", "acking", "serial", "p0.1:1", 1)
    assert tale.judge() == {}


def test_the_later_of_a_key_begins_first(tale: Tale) -> None:
    tale.accepted("p0.1:1")
    tale.accepted("p0.1:2")
    tale.start("p0.1:2")
    tale.handled("p0.1:1")
    tale.tell("c0.1", "done", "serial", "p0.1:2", 1)
    assert tale.judge() == {"overtaken": 1}


def test_an_older_one_begins_unmarked_after_a_later_one_was_done(tale: Tale) -> None:
    tale.accepted("p0.1:1")
    tale.accepted("p0.1:2")
    tale.handled("p0.1:1")
    tale.handled("p0.1:2")
    tale.start("p0.1:1", attempt=2)
    assert tale.judge() == {}
    tale.start("p0.1:1", attempt=1)
    assert tale.judge() == {"stale and unmarked": 1, "repeated and unmarked": 1}


def test_a_handler_begins_without_a_lease(tale: Tale) -> None:
    tale.tell("site", "born", "c0.1")
    tale.accepted("p0.1:1")
    tale.start("p0.1:1", left=-0.5)
    tale.tell("c0.1", "done", "serial", "p0.1:1", 1)
    assert tale.judge() == {"handed over without a lease": 1}


def test_a_process_that_stood_still_in_the_doorway_is_not_blamed(tale: Tale) -> None:
    tale.tell("site", "born", "c0.1")
    tale.accepted("p0.1:1")
    tale.tell("site", "act", "stop", "c0.1", 12.0, at=200.0)
    tale.tell("site", "act", "continue", "c0.1", at=212.0)
    tale.tell("c0.1", "start", "serial", "p0.1:1", 1, False, -2.0, at=212.1)
    tale.tell("c0.1", "done", "serial", "p0.1:1", 1)
    assert tale.judge() == {}


def test_after_a_confirmed_ack_it_begins_again(tale: Tale) -> None:
    tale.accepted("p0.1:1")
    tale.start("p0.1:1")
    tale.tell("c0.1", "acked", "serial", "p0.1:1", 1)
    tale.start("p0.1:1", attempt=2)
    assert tale.judge() == {}
    assert tale.judge(exact=frozenset({"serial"})) == {"after a confirmed ack": 1}


def test_a_letter_needs_a_reason_and_poison_a_letter(tale: Tale) -> None:
    tale.accepted("p0.1:1", "flaky", None, poison=True)
    tale.start("p0.1:1", "flaky", attempt=4)
    tale.tell("c0.1", "fails", "flaky", "p0.1:1", 4, "poison")
    assert tale.judge() == {"lost": 1}
    assert tale.judge(Left({"flaky": [("p0.1:1", "ValueError")]})) == {}
    tale.accepted("p0.1:2", "flaky", None)
    tale.handled("p0.1:2", "flaky")
    letters = [("p0.1:1", "ValueError"), ("p0.1:2", "MaxAttemptsExceeded")]
    assert tale.judge(Left({"flaky": letters})) == {"dead-lettered without a reason": 1}


def test_processes_end_only_when_they_are_told_and_well(tale: Tale) -> None:
    for who in ("c0.1", "c1.1", "c2.1", "c3.1"):
        tale.tell("site", "born", who)
        tale.tell(who, "ready")
    tale.tell("site", "gone", "c0.1", 0, False)
    tale.tell("site", "act", "term", "c1.1")
    tale.tell("site", "gone", "c1.1", 1, True)
    tale.tell("site", "act", "term", "c2.1")
    tale.tell("site", "gone", "c2.1", 0, True)
    tale.tell("site", "act", "kill", "c3.1")
    tale.tell("site", "gone", "c3.1", -9, True)
    assert tale.judge() == {"ended by itself": 2}


def test_a_drain_has_a_bound_beside_what_blocked_the_loop(tale: Tale) -> None:
    for who, took in (("c0.1", GRACE + 9.0), ("c1.1", GRACE + 30.0), ("c2.1", GRACE + 20.0)):
        tale.tell("site", "born", who, at=100.0)
        tale.tell(who, "ready", at=101.0)
        if who == "c2.1":
            tale.tell(who, "blocks", "audit", "p0.1:1", 1, at=499.0)
        tale.tell("site", "act", "term", who, at=500.0)
        tale.tell("site", "gone", who, 0, True, at=500.0 + took)
    assert tale.judge() == {"drained for too long": 1}


def test_growth_is_told_of_those_that_lived_long(tale: Tale) -> None:
    tale.tell("site", "born", "c0.1", at=100.0)
    for second in range(0, 300, 2):
        tale.tell("site", "size", "c0.1", 50_000 + second * 1_000, 20 + second, at=100.0 + second)
    assert tale.judge() == {"memory grew": 1, "descriptors grew": 1}


def test_the_timeline_is_a_picture_that_names_what_is_wrong(tale: Tale) -> None:
    tale.tell("site", "born", "c0.1")
    tale.accepted("p0.1:1")
    tale.tell("site", "act", "stop", "c0.1", LEASE)
    tale.tell("site", "act", "continue", "c0.1")
    tale.tell("site", "did", "reset", "connections <reset>", 101.0)
    tale.tell("site", "gone", "c0.1", 1, False)
    picture = timeline(tale.verdict())
    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.text]
    assert "lost: p0.1:1 in serial" in texts
    assert "connections <reset>" in texts
    assert any("FAILED" in text for text in texts)
