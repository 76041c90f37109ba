"""Deleting messages and changing how long they stay invisible, by receipt handle."""

from __future__ import annotations

from polybus.localcloud.aws.errors import SQS_PREFIX, AwsError, invalid_value
from polybus.localcloud.aws.sqs.message import IN_FLIGHT, Message, parse_handle
from polybus.localcloud.aws.sqs.queue import Queue

__all__ = ["change_visibility", "delete"]

MAX_VISIBILITY = 43_200  # seconds from the receive on: a message can't stay invisible for more than 12 hours


def _find(queue: Queue, handle: str) -> tuple[Message | None, bool]:
    """Return the message that `handle` was issued for, if it is still there, and whether it is its latest one."""
    parts = parse_handle(handle)
    if parts is None or parts[0] != queue.uid:
        raise AwsError(
            "ReceiptHandleIsInvalid", f'The input receipt handle "{handle[:120]}" is not a valid receipt handle.'
        )
    message = queue.messages.get(parts[1])
    return message, message is not None and message.receives == parts[2]


def delete(queue: Queue, handle: str) -> None:
    """Delete a message; deleting twice is fine.

    A standard queue takes any handle that it ever issued for it (recorded: SQS's guide says otherwise of older ones);
    a FIFO queue refuses a handle whose lease ended.
    """
    message, latest = _find(queue, handle)
    if message is None:
        return
    if queue.fifo and not (latest and message.state == IN_FLIGHT):
        raise invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
    queue.consume(message)


def change_visibility(queue: Queue, handle: str, seconds: int, now: float) -> None:
    """Let the lease end `seconds` from now; raises AwsError where there is no lease to change.

    A standard queue takes any handle that it ever issued for the message, also when its lease is over (recorded).
    """
    message, latest = _find(queue, handle)
    if message is None or (queue.fifo and not latest):
        reason = "Message does not exist or is not available for visibility timeout change."
        raise invalid_value(handle, "ReceiptHandle", reason)
    if queue.fifo and message.state != IN_FLIGHT:
        raise AwsError(SQS_PREFIX + "MessageNotInflight", "The message referred to is not in flight.")
    received = message.last_received if message.last_received is not None else now
    if now + seconds > received + MAX_VISIBILITY:
        reason = f"Total VisibilityTimeout for the message is beyond the limit [{MAX_VISIBILITY} seconds]"
        raise invalid_value(seconds, "VisibilityTimeout", reason)
    queue.renew(message, seconds, now)
