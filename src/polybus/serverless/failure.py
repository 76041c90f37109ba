"""What a function tells its platform when something went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from polybus.errors import PolybusError

__all__ = ["HandlersFailed", "Unverified"]


class HandlersFailed(PolybusError):
    """Handlers failed, and raising is how this platform is told; `ids` are the messages that come again."""

    def __init__(self, source: str, ids: Sequence[str], total: int, consequence: str) -> None:
        self.ids = tuple(ids)
        shown = ", ".join(self.ids[:3]) + (f" and {len(self.ids) - 3} more" if len(self.ids) > 3 else "")
        super().__init__(f"{len(self.ids)} of {total} messages of {source!r} failed ({shown}); {consequence}")


class Unverified(PolybusError):
    """A request doesn't prove who sent it; it is refused and handled by no one."""
