"""Judging a run by its ledger alone."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from polybus.testing.torture.scene import GRACE, LEASE, PUBLISH_DEADLINE, SOURCES
from polybus.testing.torture.story import Life, Start, Story, Told

__all__ = ["Judge", "Left", "Row", "Verdict"]

# Contract, D12: a drain ends this long after its grace. A publisher's ends after its deadline instead.
_AFTER_GRACE = 10.0
# For an interpreter to end on a busy machine, once the drain is over.
_EXIT = 3.0
# A process that goes on after a stop may be past the last look at a lease, and before the handler's first line.
_DOORWAY = 0.25
# Of a process that lived at least this long, in seconds, growth is judged; the first part of it fills caches.
_GROWN_UP, _CHILDHOOD = 90.0, 30.0
# An interpreter's arenas move by some MiB under any load; windows, leases and handlers of a worker take less than this.
_MEMORY_KIB = 64 * 1024
# More than all connections and links that a worker opens anew at once after a reset, with those that still close.
_DESCRIPTORS = 100
_EXAMPLES = 5


@dataclass(slots=True)
class Left:
    """What was found once the run was over: dead letters as (message, reason), and what still waited, by source."""

    letters: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    waiting: dict[str, set[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """One line of the verdict. `zero` says that it has to be 0; `examples` are the first few, with their times."""

    name: str
    count: int
    zero: bool
    examples: list[str] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list, repr=False)


@dataclass(slots=True)
class Verdict:
    """What a run showed."""

    site: str
    seed: int
    minutes: float
    rows: list[Row]
    told: Told = field(repr=False)

    @property
    def holds(self) -> bool:
        """Whether everything is 0 that has to be."""
        return not any(row.count for row in self.rows if row.zero)

    def table(self) -> str:
        """Return the rows for a terminal."""
        width = max(len(row.name) for row in self.rows)
        lines = [f"torture of {self.site}, {self.minutes:g} min of faults, seed {self.seed}"]
        for row in self.rows:
            mark = "" if not row.zero else "  ok" if not row.count else "  NOT 0"
            lines.append(f"  {row.name:<{width}}  {row.count:>9,}{mark}")
            lines += [f"  {'':<{width}}    {example}" for example in row.examples if row.count and row.zero]
        lines.append("held" if self.holds else "FAILED")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        rows = [{k: v for k, v in asdict(row).items() if k != "marks"} for row in self.rows]
        return {"site": self.site, "seed": self.seed, "minutes": self.minutes, "holds": self.holds, "rows": rows}


class Judge:
    """Reads the ledger while it grows, and judges it at the end.

    `ordered` are the sources that keep order; `exact` those where a confirmed ack is never followed by a redelivery.
    """

    def __init__(self, path: Path, *, ordered: frozenset[str]) -> None:
        self._told = Told(path)
        self._ordered = ordered
        self.exact: set[str] = set()

    def catch_up(self) -> int:
        """Read on; return how much was new of messages."""
        return self._told.catch_up()

    def owed(self) -> Mapping[str, set[str]]:
        """Return, by source, what was accepted and not handled yet; only sources where there is something."""
        return {source: uids for source, uids in self._told.owed.items() if uids}

    def under_way(self, processes: int) -> bool:
        """Say whether so many processes have come up, and each source has handed something over."""
        up = sum(life.ready is not None for life in self._told.lives.values())
        return up >= processes and not any(self._nothing())

    def progress(self) -> str:
        """Say in a line how far the run is."""
        told = self._told
        handled = sum(1 for story in told.stories.values() if story.finished is not None)
        owed = sum(map(len, told.owed.values()))
        return f"{len(told.sent):,} accepted, {handled:,} handled, {owed:,} owed, {len(told.failed):,} refused"

    def verdict(self, left: Left, *, site: str, seed: int, minutes: float) -> Verdict:
        """Judge what was read."""
        rows = [*self._bad(left), *self._counts()]
        return Verdict(site, seed, minutes, rows, self._told)

    def _bad(self, left: Left) -> Iterator[Row]:
        yield _row("nothing to judge", self._nothing())
        yield _row("lost", self._lost(left))
        yield _row("stuck", self._stuck(left))
        yield _row("overtaken", self._overtaken())
        yield _row("stale and unmarked", self._stale())
        yield _row("repeated and unmarked", self._unmarked())
        yield _row("handed over without a lease", self._expired())
        yield _row("after a confirmed ack", self._after_ack(allowed=False))
        yield _row("dead-lettered without a reason", self._wrong_letters(left))
        yield _row("ended by itself", self._ended())
        yield _row("drained for too long", self._drains())
        yield _row("memory grew", self._grown(1, _MEMORY_KIB))
        yield _row("descriptors grew", self._grown(2, _DESCRIPTORS))

    def _counts(self) -> Iterator[Row]:
        told = self._told
        starts = sum(len(story.starts) for story in told.stories.values())
        first = sum(1 for story in told.stories.values() if story.starts)
        lives = told.lives.values()
        yield Row("messages accepted", len(told.sent), zero=False)
        yield Row("messages refused", len(told.failed), zero=False)
        yield Row("deliveries handled", starts, zero=False)
        yield Row("of them repeats", starts - first, zero=False)
        yield Row("after an ack, as this cloud may", len(list(self._after_ack(allowed=True))), zero=False)
        yield Row("caught between lease and handler", len(list(self._expired(doorway=True))), zero=False)
        yield Row("processes killed", sum(life.killed for life in lives), zero=False)
        yield Row("processes stopped for a while", sum(len(life.stops) for life in lives), zero=False)
        yield Row("processes told to end", sum(life.term is not None for life in lives), zero=False)
        by_name: dict[str, int] = defaultdict(int)
        for _, _, name, _ in told.acts:
            by_name[name] += 1
        for name, count in sorted(by_name.items()):
            yield Row(f"fault: {name}", count, zero=False)

    # Messages --------------------------------------------------------------------------------------------------------

    def _nothing(self) -> Iterator[tuple[float, str]]:
        """Find a run in which a source got nothing at all: that it lost nothing would prove nothing."""
        got = {source for source, _ in self._told.stories}
        for source in sorted({*SOURCES} - got):
            yield self._told.begins, f"no message came to {source}"

    def _lost(self, left: Left) -> Iterator[tuple[float, str]]:
        for source, uids in self.owed().items():
            letters = {uid for uid, _ in left.letters.get(source, ())}
            for uid in sorted(uids - left.waiting.get(source, set()) - letters):
                yield self._told.calls[uid].at, f"{uid} in {source}"
        letters = {uid for uid, _ in left.letters.get("flaky", ())}
        for uid in sorted(self._told.sent):
            if self._told.calls[uid].poison and uid not in letters and uid not in self._told.owed["flaky"]:
                yield self._told.calls[uid].at, f"the letter of {uid}"

    def _stuck(self, left: Left) -> Iterator[tuple[float, str]]:
        for source, uids in self.owed().items():
            for uid in sorted(uids & left.waiting.get(source, set())):
                yield self._told.calls[uid].at, f"{uid} in {source}"

    def _by_key(self) -> Iterator[tuple[str, list[tuple[int, str, Story]]]]:
        keys: dict[tuple[str, str], list[tuple[int, str, Story]]] = defaultdict(list)
        for (source, uid), story in self._told.stories.items():
            call = self._told.calls.get(uid)
            if source in self._ordered and call is not None and call.key is not None and uid in self._told.sent:
                keys[source, call.key].append((call.number, uid, story))
        for (source, _), messages in keys.items():
            yield source, sorted(messages, key=lambda each: each[0])

    def _overtaken(self) -> Iterator[tuple[float, str]]:
        for source, messages in self._by_key():
            latest = 0.0
            ahead = ""
            for _, uid, story in messages:
                if not story.starts:
                    continue
                first = min(start.at for start in story.starts)
                if first < latest:
                    yield first, f"{uid} began before {ahead} in {source}"
                else:
                    latest, ahead = first, uid

    def _stale(self) -> Iterator[tuple[float, str]]:
        for source, messages in self._by_key():
            earliest, later = float("inf"), ""
            for _, uid, story in reversed(messages):
                for start in story.starts:
                    if not start.redelivered and start.at > earliest and not self._in_doorway(start):
                        yield start.at, f"{uid} began unmarked after {later} was done, in {source}"
                if story.finished is not None and story.finished < earliest:
                    earliest, later = story.finished, uid

    def _unmarked(self) -> Iterator[tuple[float, str]]:
        for (source, uid), story in self._told.stories.items():
            if source in self._ordered:
                for start in sorted(story.starts, key=lambda start: start.at)[1:]:
                    if not start.redelivered and not self._in_doorway(start):
                        yield start.at, f"{uid} again, unmarked, in {source}"

    def _expired(self, *, doorway: bool = False) -> Iterator[tuple[float, str]]:
        for (source, uid), story in self._told.stories.items():
            for start in story.starts:
                if start.left <= 0 and self._in_doorway(start) is doorway:
                    yield start.at, f"{uid} in {source}, {-start.left:.2f} s after its lease, by {start.who}"

    def _in_doorway(self, start: Start) -> bool:
        """Say whether the process stood still between its last look at the lease and the handler's first line."""
        life = self._told.lives.get(start.who)
        return (
            start.left <= 0
            and life is not None
            and any(begin <= start.at and start.at - end <= _DOORWAY for begin, end in life.stops)
        )

    def _after_ack(self, *, allowed: bool) -> Iterator[tuple[float, str]]:
        for (source, uid), story in self._told.stories.items():
            if story.acked is not None and (source in self.exact) is not allowed:
                for start in story.starts:
                    if start.at > story.acked and not self._in_doorway(start):
                        yield start.at, f"{uid} in {source}, {start.at - story.acked:.2f} s after its ack"

    def _wrong_letters(self, left: Left) -> Iterator[tuple[float, str]]:
        for source, letters in left.letters.items():
            for uid, reason in letters:
                call, story = self._told.calls.get(uid), self._told.stories.get((source, uid))
                if call is None or not call.poison or story is None or not story.fails:
                    yield 0.0 if call is None else call.at, f"{uid} of {source}: {reason}"

    # Processes -------------------------------------------------------------------------------------------------------

    def _ended(self) -> Iterator[tuple[float, str]]:
        for life in self._told.lives.values():
            if life.gone is None or life.killed or life.stayed:
                continue
            before_ready = life.ready is None and life.code == -15
            if not life.asked or (life.code != 0 and not before_ready):
                yield life.gone, f"{life.who} ended with {life.code}"

    def _drains(self) -> Iterator[tuple[float, str]]:
        for life in self._told.lives.values():
            if life.term is None or life.killed:
                continue
            end = life.gone if life.gone is not None else self._told.ends
            took = end - life.term
            if life.stayed or took > self._bound(life, end):
                yield life.term, f"{life.who} took {took:.1f} s after SIGTERM"

    def _bound(self, life: Life, end: float) -> float:
        grace = GRACE if life.who.startswith("c") else PUBLISH_DEADLINE
        # What stands in the loop's way at the signal, or is let in before it, is none of the drain's time.
        blocked = sum(1.3 * LEASE for at in life.blocks if life.term is not None and life.term - 1.3 * LEASE < at < end)
        return grace + _AFTER_GRACE + _EXIT + blocked

    def _grown(self, column: int, most: int) -> Iterator[tuple[float, str]]:
        for life in self._told.lives.values():
            sizes = [each for each in life.sizes if each[0] - life.born > _CHILDHOOD]
            if not sizes or sizes[-1][0] - life.born < _GROWN_UP:
                continue
            values = [each[column] for each in sizes]
            quarter = max(1, len(values) // 4)
            before, after = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
            if after - before > most:
                yield sizes[-1][0], f"{life.who}: from {before:g} to {after:g}"


def _row(name: str, found: Iterator[tuple[float, str]]) -> Row:
    marks = sorted(found)
    return Row(name, len(marks), zero=True, examples=[text for _, text in marks[:_EXAMPLES]], marks=marks)
