"""What a receiver can ask of a mailbox beside receiving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polybus.localcloud.servicebus.entities.mailbox import Mailbox
from polybus.localcloud.servicebus.entities.message import ACTIVE, DEFERRED, SCHEDULED, Message
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, MESSAGE_NOT_FOUND, Refusal

__all__ = ["SETTLEMENTS", "Changes", "cancel", "defer", "peek", "receive_deferred", "settle"]

# Values of disposition-status in update-disposition (azure-servicebus, constants; the spelling is the service's).
SETTLEMENTS = ("completed", "abandoned", "released", "defered", "suspended")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a settlement changes of the message that stays: why it is a dead letter, and encoded properties."""

    reason: str | None = None
    description: str | None = None
    properties: Sequence[tuple[bytes, bytes]] = ()


_NONE = Changes()


def settle(mailbox: Mailbox, token: bytes, how: str, changes: Changes = _NONE) -> None:
    """Settle the message that `token` locks; raise Refusal where the lock is lost."""
    if how not in SETTLEMENTS:
        raise Refusal(ARGUMENT_ERROR, f"The disposition '{how}' is unknown.")
    message = mailbox.locked(token)
    if changes.properties and how != "completed":
        mailbox.change_properties(message, changes.properties)
    if how == "completed":
        mailbox.complete(message)
    elif how == "defered":
        defer(mailbox, message)
    elif how == "suspended":
        mailbox.dead_letter(message, changes.reason, changes.description)
    else:
        mailbox.give_back(message, failed=how == "abandoned")


def defer(mailbox: Mailbox, message: Message) -> None:
    """Set a locked message aside: from now on it is received by its sequence number only."""
    mailbox.unlock(message)
    message.delivery_count += 1
    mailbox.change_state(message, DEFERRED)
    mailbox.journal.put_message(mailbox.key, message)


def receive_deferred(mailbox: Mailbox, sequences: Sequence[int], session: str | None, *, delete: bool) -> list[Message]:
    """Return deferred messages, locked (or deleted); all of them or, raising Refusal, none."""
    found = []
    for sequence in sequences:
        message = mailbox.messages.get(sequence)
        if (
            message is None
            or message.state != DEFERRED
            or message.token is not None
            or (mailbox.sessions is not None and message.session_id != session)
        ):
            raise Refusal(
                MESSAGE_NOT_FOUND,
                f"Failed to lock one or more specified messages: there is no deferred message {sequence} to receive.",
            )
        found.append(message)
    for message in found:
        if delete:
            mailbox.remove(message)
        else:
            mailbox.lock(message)
    return found


def peek(mailbox: Mailbox, first: int, count: int, session: str | None) -> list[Message]:
    """Return up to `count` messages of any state from a sequence number on; walks the mailbox."""
    now = mailbox.clock.time()
    out: list[Message] = []
    for sequence in sorted(found for found in mailbox.messages if found >= first):
        if len(out) >= count:
            break
        message = mailbox.messages[sequence]
        expired = message.state == ACTIVE and message.expires is not None and message.expires <= now
        if not expired and (session is None or message.session_id == session):
            out.append(message)
    return out


def cancel(mailbox: Mailbox, sequences: Sequence[int]) -> None:
    """Remove scheduled messages; all of them or, raising Refusal, none."""
    found = []
    for sequence in sequences:
        message = mailbox.messages.get(sequence)
        if message is None or message.state != SCHEDULED:
            raise Refusal(MESSAGE_NOT_FOUND, f"The scheduled message with sequence number {sequence} was not found.")
        found.append(message)
    for message in found:
        mailbox.remove(message)
