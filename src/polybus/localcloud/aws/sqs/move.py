"""Message move tasks: dead letters back to where they came from, in the background."""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import SQS_PREFIX, AwsError, invalid_value
from polybus.localcloud.aws.params import Params, integer, required, text
from polybus.localcloud.aws.sqs.message import DELAYED, READY, Message
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.sqs.send import sequence_number

__all__ = ["MoveTasks", "move_back"]

TASKS = "sqs.task"
NO_QUEUE = SQS_PREFIX + "NonExistentQueue"
_AT_ONCE = 100  # messages between two turns of the loop, where no rate is asked for: keeps other requests served


@dataclass(slots=True, eq=False)
class MoveTask:
    """One task; `destination` is None where each message goes back to its own source; times in seconds."""

    id: str
    source: str
    destination: str | None
    rate: int | None
    started: float
    to_move: int
    moved: int = 0
    status: str = "RUNNING"
    failure: str | None = None

    @property
    def row_key(self) -> str:
        return self.id

    def to_row(self) -> list[Any]:
        return [
            self.id,
            self.source,
            self.destination,
            self.rate,
            self.started,
            self.to_move,
            self.moved,
            self.status,
            self.failure,
        ]

    @property
    def handle(self) -> str:
        return base64.b64encode(msgspec.json.encode({"taskId": self.id, "sourceArn": self.source})).decode()


class MoveTasks:
    """All tasks, by id; those that ran when the server stopped go on when it is back."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._tasks: dict[str, MoveTask] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def load(self) -> None:
        for row in self._queues.rows.load(TASKS):
            task = MoveTask(*row)
            self._tasks[task.id] = task
            if task.status == "RUNNING":
                self._start(task)

    async def stop(self) -> None:
        """End the work of every task; with a data folder it goes on after the next start."""
        running = list(self._running.values())
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # The actions.

    def start_message_move_task(self, call: Call, params: Params) -> dict[str, Any]:
        source = self._source(params)
        if not self._queues.sources_of(source):
            raise _invalid("Source queue must be configured as a Dead Letter Queue.")
        destination = text(params, "DestinationArn")
        if destination is not None:
            target = self._queues.by_arn(destination)
            if target is None:
                raise _missing("DestinationArn")
            if target.fifo != source.fifo or target is source:
                raise invalid_value(destination, "DestinationArn", "It must be another queue of the same type.")
        rate = integer(params, "MaxNumberOfMessagesPerSecond", 1, 500)
        if any(task.source == source.arn_text and task.status == "RUNNING" for task in self._tasks.values()):
            found = "There is already a task running. Only one active task is allowed for a source queue arn"
            raise _invalid(f"{found} at a given time.")
        source.advance(self._queues.timeline.now())
        waiting = source.counts[READY] + source.counts[DELAYED]
        now = self._queues.timeline.now()
        task = MoveTask(str(uuid.uuid4()), source.arn_text, destination, rate, now, waiting)
        self._tasks[task.id] = task
        self._queues.rows.save(TASKS, task)
        self._start(task)
        return {"TaskHandle": task.handle}

    def list_message_move_tasks(self, call: Call, params: Params) -> dict[str, Any]:
        source = self._source(params)
        limit = integer(params, "MaxResults", 1, 10) or 1
        tasks = sorted((t for t in self._tasks.values() if t.source == source.arn_text), key=lambda t: -t.started)
        return {"Results": [_shown(task) for task in tasks[:limit]]}

    def cancel_message_move_task(self, call: Call, params: Params) -> dict[str, Any]:
        task = self._tasks.get(_task_id(required(params, "TaskHandle")))
        if task is None:
            raise AwsError("ResourceNotFoundException", "Task does not exist.", 404)
        if task.status != "RUNNING":
            raise _unsupported(f"Only active tasks can be cancelled: this one is {task.status}.")
        task.status = "CANCELLED"
        self._queues.rows.save(TASKS, task)
        self._running[task.id].cancel()
        return {"ApproximateNumberOfMessagesMoved": task.moved}

    # The work.

    def _source(self, params: Params) -> Queue:
        queue = self._queues.by_arn(required(params, "SourceArn"))
        if queue is None:
            raise _missing("SourceArn")
        return queue

    def _start(self, task: MoveTask) -> None:
        work = asyncio.get_running_loop().create_task(self._work(task))
        self._running[task.id] = work
        work.add_done_callback(lambda _: self._running.pop(task.id, None))

    async def _work(self, task: MoveTask) -> None:
        clock = self._queues.timeline.clock
        while task.status == "RUNNING":
            await clock.sleep(1 / task.rate if task.rate else 0)
            for _ in range(1 if task.rate else _AT_ONCE):
                if task.status == "RUNNING":
                    self._move_one(task)
            self._queues.rows.save(TASKS, task)

    def _move_one(self, task: MoveTask) -> None:
        source = self._queues.by_arn(task.source)
        if source is None:
            _end(task, "FAILED", NO_QUEUE)
            return
        now = self._queues.timeline.now()
        source.advance(now)
        target, message = self._next(task, source, now)
        if message is None:
            _end(task, "COMPLETED", None)
            return
        if target is None:
            source.renew(message, 0, now)
            named = message.source is not None or task.destination is not None
            _end(task, "FAILED", NO_QUEUE if named else "CouldNotDetermineMessageSource")
            return
        move_back(source, message, target)
        task.moved += 1

    def _next(self, task: MoveTask, source: Queue, now: float) -> tuple[Queue | None, Message | None]:
        taken, _ = source.take(1, 30, now, None)
        if not taken:
            return None, None
        destination = task.destination or taken[0].source
        return (self._queues.by_arn(destination) if destination else None), taken[0]


def move_back(source: Queue, message: Message, target: Queue) -> None:
    """Move a message from one queue to another."""
    source.remove(message)
    order = target.timeline.order()
    # What is redriven is a new message, with a new id and time (SQS Developer Guide, dead-letter queue redrive).
    fresh: Message = replace(
        message,
        queue=target.uid,
        order=order,
        id=str(uuid.uuid4()),
        sent=target.timeline.now(),
        sequence=sequence_number(order) if target.fifo else None,
        source=None,
        receives=0,
        first_received=None,
        last_received=None,
        state=READY,
        timer=0,
    )
    target.add(fresh, 0)
    target.waiters.wake()
    source.waiters.wake()


def _end(task: MoveTask, status: str, failure: str | None) -> None:
    task.status = status
    task.failure = failure


def _unsupported(why: str) -> AwsError:
    return AwsError(SQS_PREFIX + "UnsupportedOperation", why)


def _invalid(why: str) -> AwsError:
    return AwsError("InvalidParameterValue", why)


def _missing(name: str) -> AwsError:
    found = f"The resource that you specified for the {name} parameter doesn't exist."
    return AwsError("ResourceNotFoundException", found, 404)


def _task_id(handle: str) -> str:
    try:
        document: Any = msgspec.json.decode(base64.b64decode(handle, validate=True))
    except (binascii.Error, ValueError):
        document = None
    if not isinstance(document, Mapping) or not isinstance(document.get("taskId"), str):
        raise _invalid("Value for parameter TaskHandle is invalid.")
    task_id: str = document["taskId"]
    return task_id


def _shown(task: MoveTask) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "Status": task.status,
        "SourceArn": task.source,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": int(task.started * 1000),
    }
    optional = {
        "TaskHandle": task.handle if task.status == "RUNNING" else None,
        "DestinationArn": task.destination,
        "MaxNumberOfMessagesPerSecond": task.rate,
        "FailureReason": task.failure,
    }
    return answer | {name: value for name, value in optional.items() if value is not None}
