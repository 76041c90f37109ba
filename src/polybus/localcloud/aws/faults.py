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

        With `entries` it is those entries of a batch, by Id, that fail, each counted; `http_status` of 500 and more
        makes it the server's fault. With `after` the action is carried out and only its answer is the failure. An
        `http_status` of 0 ends the connection without an answer.
        """
        with self._lock:
            wanted = None if entries is None else frozenset(entries)
            self._planned.append(_Planned(action, code, http_status, count, wanted, after))

    def clear(self) -> None:
        """Forget what was planned and hasn't happened."""
        with self._lock:
            self._planned.clear()

    def check(self, action: str, *, after: bool = False) -> None:
        """Raise the failure that is planned for this request, if there is one."""
        if self._planned:
            self._raise(self._next(action, None, after))

    def check_entry(self, action: str, entry_id: str) -> None:
        """Raise the failure that is planned for this entry, if there is one."""
        if self._planned:
            self._raise(self._next(action, entry_id, False))

    def _next(self, action: str, entry_id: str | None, after: bool) -> _Planned | None:
        with self._lock:
            for planned in self._planned:
                of_entry = planned.entries is not None
                if planned.action not in (action, "*") or of_entry != (entry_id is not None) or planned.after != after:
                    continue
                if planned.entries is not None and entry_id not in planned.entries:
                    continue
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
