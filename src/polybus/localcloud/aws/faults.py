"""Failures that a test asks for: throttling, expired tokens, entries of a batch that fail, lost answers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from polybus.localcloud.aws.errors import AwsError

__all__ = ["ConnectionCut", "Faults"]


class ConnectionCut(Exception):
    """End the connection without an answer."""


@dataclass(slots=True)
class _Planned:
    action: str
    code: str
    status: int
    left: int
    entries: frozenset[str] | None
    after: bool


class Faults:
    """What is to fail next; callable from any thread."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self._entries: _Planned | None = None  # for the request that runs: from its begin to its entries nothing waits
        self._lock = threading.Lock()

    def fail_next(
        self,
        action: str,
        code: str,
        http_status: int = 400,
        count: int = 1,
        entries: Iterable[str] | None = None,
        *,
        after: bool = False,
    ) -> None:
        """Make the next `count` requests of `action` (`*`: of any) fail with `code`.

        With `entries` the requests are answered, and it is those entries of their batches, by Id, that fail. An
        `http_status` of 500 and more makes it the server's fault; 0 ends the connection without an answer. With `after`
        the action is carried out and only its answer is the failure.
        """
        with self._lock:
            wanted = None if entries is None else frozenset(entries)
            self._planned.append(_Planned(action, code, http_status, count, wanted, after))

    def clear(self) -> None:
        """Forget what was planned and hasn't happened."""
        with self._lock:
            self._planned.clear()

    def begin(self, action: str) -> None:
        """A request begins: raise the failure that is planned for all of it, if there is one."""
        self._entries = None
        if not self._planned:
            return
        self._entries = self._next(action, entries=True, after=False)
        self._raise(self._next(action, entries=False, after=False))

    def check_entry(self, entry_id: str) -> None:
        """Raise the failure that is planned for this entry of the request that began last."""
        planned = self._entries
        if planned is not None and planned.entries is not None and entry_id in planned.entries:
            self._raise(planned)

    def finish(self, action: str) -> None:
        """A request is done: raise the failure that is to be its answer, if there is one."""
        if self._planned:
            self._raise(self._next(action, entries=False, after=True))

    def _next(self, action: str, *, entries: bool, after: bool) -> _Planned | None:
        with self._lock:
            for planned in self._planned:
                kind = (planned.entries is not None, planned.after)
                if planned.action in (action, "*") and kind == (entries, after):
                    planned.left -= 1
                    if planned.left <= 0:
                        self._planned.remove(planned)
                    return planned
        return None

    @staticmethod
    def _raise(planned: _Planned | None) -> None:
        if planned is None:
            return
        if planned.status == 0:
            raise ConnectionCut
        raise AwsError(planned.code, f"{planned.code}: this failure was asked for.", planned.status)
