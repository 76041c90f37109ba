"""The actions on messages: send, receive, delete, change visibility; alone and in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from polybus.localcloud.aws.attributes import attributes_md5
from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import SQS_PREFIX, AwsError, missing_parameter, no_queue
from polybus.localcloud.aws.faults import Faults
from polybus.localcloud.aws.params import Params, check_batch, integer, required
from polybus.localcloud.aws.sqs.dead_letters import take
from polybus.localcloud.aws.sqs.message import IN_FLIGHT, Message
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.receive import MAX_IN_FLIGHT, Attempts, Poll, check_poll, shown
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.sqs.send import check_draft, check_fifo, post
from polybus.localcloud.aws.sqs.settings import MAX_MESSAGE
from polybus.localcloud.aws.sqs.settle import change_visibility, delete

__all__ = ["MessageActions"]

Entry = Mapping[str, Any]


class MessageActions:
    """Each method is one action: parameters in, response out; raises AwsError for what is refused."""

    def __init__(self, queues: Queues, faults: Faults) -> None:
        self._queues = queues
        self._faults = faults
        self._timeline = queues.timeline
        self._attempts: dict[str, Attempts] = {}

    def send_message(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._queues.get(call.region, params.get("QueueUrl"))
        message = post(queue, check_draft(queue, params, call.principal, call.trace))
        queue.waiters.wake()
        return _sent(message, params)

    def send_message_batch(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._queues.get(call.region, params.get("QueueUrl"))
        entries = check_batch(params, "Entries")
        drafts: dict[str, Any] = {}
        failed: list[dict[str, object]] = []
        for entry in entries:
            check_fifo(queue, entry)
        for entry in entries:
            try:
                self._faults.check_entry(entry["Id"])
                drafts[entry["Id"]] = check_draft(queue, entry, call.principal, call.trace)
            except AwsError as error:
                failed.append(error.as_entry(entry["Id"]))
        total = sum(draft.size for draft in drafts.values())
        if total > MAX_MESSAGE:
            found = f"Batch requests cannot be longer than {MAX_MESSAGE} bytes. You have sent {total} bytes."
            raise AwsError(SQS_PREFIX + "BatchRequestTooLong", found)
        given = {entry["Id"]: entry for entry in entries}
        sent = [{"Id": entry_id, **_sent(post(queue, draft), given[entry_id])} for entry_id, draft in drafts.items()]
        queue.waiters.wake()
        return _batch_result(sent, failed)

    async def receive_message(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._queues.get(call.region, params.get("QueueUrl"))
        poll = check_poll(queue, params)
        until = self._timeline.now() + poll.wait
        while True:
            now = self._timeline.now()
            messages = self._take(queue, poll, now)
            if messages:
                return {"Messages": [shown(message, poll) for message in messages]}
            if until <= now:
                return {}
            await queue.waiters.wait(until - now)
            if queue.gone:
                raise no_queue()

    def _take(self, queue: Queue, poll: Poll, now: float) -> list[Message]:
        queue.advance(now)
        if poll.attempt is not None:
            attempts = self._attempts.setdefault(queue.uid, Attempts())
            again = attempts.again(poll.attempt, now)
            for message in again:
                queue.renew(message, poll.visibility, now)
            if again:
                return again
        if queue.counts[IN_FLIGHT] >= MAX_IN_FLIGHT:
            raise AwsError("OverLimit", f"Too many messages in flight: the maximum is {MAX_IN_FLIGHT}.", 403)
        messages = take(self._queues, queue, poll.count, poll.visibility, now)
        queue.waiters.wake()
        if poll.attempt is not None and messages:
            self._attempts[queue.uid].keep(poll.attempt, messages, now)
        return messages

    def delete_message(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._settling(call, params)
        delete(queue, required(params, "ReceiptHandle"))
        queue.waiters.wake()
        return {}

    def delete_message_batch(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._settling(call, params)
        return self._each(queue, params, lambda entry: delete(queue, required(entry, "ReceiptHandle")))

    def change_message_visibility(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._settling(call, params)
        self._change(queue, params)
        queue.waiters.wake()
        return {}

    def change_message_visibility_batch(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._settling(call, params)
        return self._each(queue, params, lambda entry: self._change(queue, entry))

    def _settling(self, call: Call, params: Params) -> Queue:
        queue = self._queues.get(call.region, params.get("QueueUrl"))
        queue.advance(self._timeline.now())
        return queue

    def _change(self, queue: Queue, params: Params) -> None:
        seconds = integer(params, "VisibilityTimeout", 0, 43_200)
        if seconds is None:
            raise missing_parameter("VisibilityTimeout")
        change_visibility(queue, required(params, "ReceiptHandle"), seconds, self._timeline.now())

    def _each(self, queue: Queue, params: Params, act: Callable[[Entry], None]) -> dict[str, Any]:
        done: list[dict[str, object]] = []
        failed: list[dict[str, object]] = []
        for entry in check_batch(params, "Entries"):
            try:
                self._faults.check_entry(entry["Id"])
                act(entry)
                done.append({"Id": entry["Id"]})
            except AwsError as error:
                failed.append(error.as_entry(entry["Id"]))
        queue.waiters.wake()
        return _batch_result(done, failed)


def _sent(message: Message, params: Params) -> dict[str, Any]:
    answer: dict[str, Any] = {"MessageId": message.id, "MD5OfMessageBody": message.md5}
    if message.attributes_md5 is not None:
        answer["MD5OfMessageAttributes"] = message.attributes_md5
    if params.get("MessageSystemAttributes") and message.trace is not None:
        header = {"AWSTraceHeader": {"DataType": "String", "StringValue": message.trace}}
        answer["MD5OfMessageSystemAttributes"] = attributes_md5(header)
    if message.sequence is not None:
        answer["SequenceNumber"] = message.sequence
    return answer


def _batch_result(done: list[dict[str, Any]], failed: list[dict[str, object]]) -> dict[str, Any]:
    answer: dict[str, Any] = {"Successful": done}
    if failed:
        answer["Failed"] = failed
    return answer
