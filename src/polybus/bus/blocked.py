"""Which ordering keys may not be published to, and why (contract, P6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polybus.errors import Fault, FaultKind

__all__ = ["MOST", "Blocked", "BlockedKeys"]

# As many keys are remembered as messages may be outstanding by default (P7): an outage that outlasts the deadline fails
# so many at once, each perhaps of a key of its own. With half a kilobyte for each that is 5 MB. Where there are more,
# nobody resumes them; then every key is blocked, since to forget one would let a message overtake.
MOST = 10_000


class Blocked(Mapping[str, Fault]):
    """The blocked ordering keys of one target, each with the fault of the message that failed.

    `all` says that more than 10,000 keys failed: then every key is blocked, of which the mapping has the first.
    """

    def __init__(self, faults: Mapping[str, Fault], all: bool) -> None:
        self._faults = dict(faults)
        self.all = all

    def __getitem__(self, key: str) -> Fault:
        return self._faults[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._faults)

    def __len__(self) -> int:
        return len(self._faults)

    def __repr__(self) -> str:
        more = ", all=True" if self.all else ""
        return f"Blocked({list(self._faults)!r}{more})"


class BlockedKeys:
    """The keys of one target whose messages are refused until they are resumed."""

    def __init__(self, target: str, most: int = MOST) -> None:
        self._target = target
        self._most = most
        self._faults: dict[str, Fault] = {}
        self._all: Fault | None = None
        # Where all are blocked: those that were resumed one by one since, the latest last.
        self._resumed: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Say whether any key is blocked."""
        return bool(self._faults) or self._all is not None

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._faults)

    def add(self, key: str, fault: Fault) -> None:
        """Block a key because of what its message failed with."""
        self._resumed.pop(key, None)
        if key in self._faults or (self._all is not None and len(self._faults) >= self._most):
            return
        if len(self._faults) < self._most:
            self._faults[key] = fault
        else:
            self._all = fault

    def why(self, key: str) -> Fault | None:
        """Return the fault of a message that may not pass, or None where its key isn't blocked."""
        cause = self._faults.get(key)
        if cause is not None:
            return self.following(key, cause)
        if self._all is None or key in self._resumed:
            return None
        detail = (
            f"more than {self._most:,} ordering keys of {self._target!r} have failed and were not resumed, so every "
            f"key is blocked (the last failed with: {self._all}); bus.blocked({self._target!r}) lists the first of "
            f"them, bus.resume({self._target!r}) lets all pass, bus.resume({self._target!r}, {key!r}) this one"
        )
        return Fault(FaultKind.KEY_BLOCKED, detail)

    def following(self, key: str, cause: Fault) -> Fault:
        """Return the fault of what comes after a message of its key that failed."""
        detail = (
            f"an earlier message of ordering key {key!r} to {self._target!r} failed ({cause}); "
            f"bus.resume({self._target!r}, {key!r}) lets later ones pass"
        )
        return Fault(FaultKind.KEY_BLOCKED, detail)

    def resume(self, key: str | None) -> None:
        """Let a key's messages pass again, or those of all keys where None."""
        if key is None:
            self._faults.clear()
            self._resumed.clear()
            self._all = None
            return
        self._faults.pop(key, None)
        if self._all is not None:
            self._resumed.pop(key, None)
            self._resumed[key] = None
            if len(self._resumed) > self._most:
                del self._resumed[next(iter(self._resumed))]  # blocked again: never an overtaking

    def snapshot(self) -> Blocked:
        """Return what is blocked now."""
        return Blocked(self._faults, self._all is not None)
