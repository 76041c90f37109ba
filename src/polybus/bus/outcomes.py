"""What became of the messages of one `publish_many`."""

from __future__ import annotations

from collections.abc import Sequence

from polybus.errors import Fault, PublishFailed
from polybus.message import Sent

__all__ = ["ids_of", "note"]


def ids_of(outcomes: Sequence[Sent | Fault], cause: Exception | None) -> list[str]:
    """Return the ids of messages that were all sent; raise PublishFailed otherwise, `cause` being one's own error."""
    sent = [outcome.id for outcome in outcomes if isinstance(outcome, Sent)]
    if len(sent) < len(outcomes):
        raise PublishFailed(outcomes) from cause
    return sent


def note(error: Exception, target: str, outcomes: Sequence[Sent | Fault]) -> None:
    """Have an error that ended a `publish_many` tell what became of the messages before it."""
    failed = sum(isinstance(outcome, Fault) for outcome in outcomes)
    sent = len(outcomes) - failed
    error.add_note(f"of the messages to {target!r} before, {sent} were sent and {failed} failed")
