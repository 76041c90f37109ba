"""From a queue to its dead-letter queue."""

from __future__ import annotations

from dataclasses import replace

from polybus.localcloud.aws.sqs.message import READY, Message
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.events import DEAD_LETTERED

__all__ = ["take"]


def take(queues: Queues, queue: Queue, limit: int, visibility: float, now: float) -> list[Message]:
    """Lease up to `limit` messages; those that were received too often go to the dead-letter queue instead.

    As on SQS that happens at a receive, and only where the dead-letter queue is there: else they stay.
    """
    target = queue.settings.dead_letters
    letters = queues.by_arn(str(target)) if target is not None else None
    taken, dead = queue.take(limit, visibility, now, queue.settings.max_receives if letters is not None else None)
    if letters is not None and dead:
        for message in dead:
            _bury(queue, letters, message)
        letters.waiters.wake()
    return taken


def _bury(source: Queue, letters: Queue, message: Message) -> None:
    # A standard queue's letters keep the time they were sent, a FIFO queue's begin anew (SQS Developer Guide,
    # dead-letter queues); both keep their id, and their receive count, which goes on.
    letter = replace(
        message,
        queue=letters.uid,
        order=letters.timeline.order(),
        sent=letters.timeline.now() if letters.fifo else message.sent,
        source=source.arn_text,
        state=READY,
        timer=0,
    )
    letters.add(letter, 0)
    source.events.tell(DEAD_LETTERED, source.arn_text, message.id)
