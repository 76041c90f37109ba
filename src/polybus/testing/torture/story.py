"""What the ledger says of each message and each process, put together line by line."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from polybus.testing.torture.ledger import Entry, read
from polybus.testing.torture.scene import POISON_ATTEMPTS, feeds

__all__ = ["Call", "Life", "Start", "Story", "Told"]


@dataclass(frozen=True, slots=True)
class Call:
    """One message that a publisher was asked to publish; `number` counts the publisher's calls."""

    target: str
    key: str | None
    number: int
    parity: str
    poison: bool
    at: float


@dataclass(frozen=True, slots=True)
class Start:
    """A handler began with a message; `left` is what was left of its lease then, in seconds."""

    at: float
    who: str
    attempt: int
    redelivered: bool
    left: float


@dataclass(slots=True)
class Story:
    """What happened to one message in one source. Times are None until it happened."""

    starts: list[Start] = field(default_factory=list)
    acking: bool = False
    done: float | None = None
    acked: float | None = None
    fails: list[tuple[float, int, str]] = field(default_factory=list)

    @property
    def finished(self) -> float | None:
        """When a handler was first done with it."""
        times = [at for at in (self.done, self.acked) if at is not None]
        return min(times, default=None)


@dataclass(slots=True)
class Life:
    """One process, from its start to its end."""

    who: str
    born: float
    ready: float | None = None
    term: float | None = None
    killed: bool = False
    gone: float | None = None
    code: int | None = None
    asked: bool = False
    stayed: bool = False
    stops: list[list[float]] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)
    sizes: list[tuple[float, int, int]] = field(default_factory=list)


class Told:
    """Everything that the ledger tells, as far as it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.calls: dict[str, Call] = {}
        self.sent: set[str] = set()
        self.failed: dict[str, str] = {}
        self.stories: dict[tuple[str, str], Story] = defaultdict(Story)
        self.owed: dict[str, set[str]] = defaultdict(set)
        self.lives: dict[str, Life] = {}
        self.acts: list[tuple[float, float, str, str]] = []
        self.events = 0
        self.begins = self.ends = 0.0

    def catch_up(self) -> int:
        """Read what was appended since; return how many lines of messages that were."""
        before = self.events
        for entry, offset in read(self._path, self._offset):
            self._offset = offset
            self.ends = entry.at
            reader = getattr(self, f"_on_{entry.what}", None)
            if reader is not None:
                reader(entry)
        return self.events - before

    # Messages --------------------------------------------------------------------------------------------------------

    def _on_call(self, entry: Entry) -> None:
        uid, target, key, number, parity, poison = entry.of
        self.calls[uid] = Call(target, key, number, parity, poison, entry.at)

    def _on_sent(self, entry: Entry) -> None:
        [uid] = entry.of
        self.events += 1
        self.sent.add(uid)
        call = self.calls[uid]
        for source in feeds(call.target, call.parity):
            if not self._satisfied(source, uid):
                self.owed[source].add(uid)

    def _satisfied(self, source: str, uid: str) -> bool:
        story = self.stories.get((source, uid))
        if story is None:
            return False
        if self.calls[uid].poison:
            return any(attempt >= POISON_ATTEMPTS for _, attempt, _ in story.fails)
        return story.acking or story.finished is not None

    def _on_failed(self, entry: Entry) -> None:
        uid, kind, _ = entry.of
        self.failed[uid] = kind

    def _on_start(self, entry: Entry) -> None:
        source, uid, attempt, redelivered, left = entry.of
        self.events += 1
        self.stories[source, uid].starts.append(Start(entry.at, entry.who, attempt, redelivered, left))

    def _on_done(self, entry: Entry) -> None:
        source, uid, _ = entry.of
        story = self.stories[source, uid]
        story.done = entry.at if story.done is None else story.done
        self._pay(source, uid)

    def _on_acking(self, entry: Entry) -> None:
        source, uid, _ = entry.of
        self.stories[source, uid].acking = True
        self._pay(source, uid)

    def _on_acked(self, entry: Entry) -> None:
        source, uid, _ = entry.of
        story = self.stories[source, uid]
        story.acked = entry.at if story.acked is None else story.acked
        self._pay(source, uid)

    def _on_fails(self, entry: Entry) -> None:
        source, uid, attempt, how = entry.of
        self.stories[source, uid].fails.append((entry.at, attempt, how))
        if uid in self.calls and self._satisfied(source, uid):
            self._pay(source, uid)

    def _pay(self, source: str, uid: str) -> None:
        self.events += 1
        self.owed[source].discard(uid)

    def _on_blocks(self, entry: Entry) -> None:
        if entry.who in self.lives:
            self.lives[entry.who].blocks.append(entry.at)

    # Processes -------------------------------------------------------------------------------------------------------

    def _on_begins(self, entry: Entry) -> None:
        self.begins = entry.at

    def _on_born(self, entry: Entry) -> None:
        [who] = entry.of
        life = self.lives.setdefault(who, Life(who, entry.at))
        life.born = min(life.born, entry.at)

    def _on_ready(self, entry: Entry) -> None:
        self.lives.setdefault(entry.who, Life(entry.who, entry.at)).ready = entry.at

    def _on_gone(self, entry: Entry) -> None:
        who, code, asked = entry.of
        life = self.lives[who]
        life.gone, life.code, life.asked = entry.at, code, asked

    def _on_stays(self, entry: Entry) -> None:
        [who] = entry.of
        self.lives[who].stayed = True

    def _on_size(self, entry: Entry) -> None:
        who, resident, descriptors = entry.of
        if who in self.lives:
            self.lives[who].sizes.append((entry.at, resident, descriptors))

    def _on_act(self, entry: Entry) -> None:
        name, who, *_ = entry.of
        life = self.lives.get(who)
        if life is None:
            return
        match name:
            case "kill":
                life.killed = True
            case "term":
                life.term = entry.at
            case "stop":
                life.stops.append([entry.at, entry.at])
            case "continue" if life.stops:
                life.stops[-1][1] = entry.at

    def _on_did(self, entry: Entry) -> None:
        name, text, begun = entry.of
        self.acts.append((begun, entry.at, name, text))
