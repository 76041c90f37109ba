"""The local AWS as the control face steers it: queues and topics by name, or by ARN where another region has them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from polybus.clock import Clock
from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.faults import Faults
from polybus.localcloud.aws.http import Steered
from polybus.localcloud.aws.look import Look, states
from polybus.localcloud.aws.sns.service import SnsService
from polybus.localcloud.aws.sns.topic import Topic
from polybus.localcloud.aws.sqs.message import DELAYED, IN_FLIGHT, READY, Message
from polybus.localcloud.aws.sqs.move import move_back
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.service import SqsService
from polybus.localcloud.control.steering import Entity, Refused, Restarted, Restoring, Shown
from polybus.localcloud.delays import Delays
from polybus.localcloud.events import Events
from polybus.localcloud.store import Store

__all__ = ["AwsSteering"]

_STATES = {READY: "waiting", DELAYED: "delayed", IN_FLIGHT: "in_flight"}


class Server(Restarted, Protocol):
    """What of the server is steered."""

    account: str
    region: str
    faults: Faults

    @property
    def url(self) -> str: ...

    def abort_connections(self) -> None: ...


class AwsSteering(Restoring):
    """See `control.steering.Steering`. Operations are actions of SQS and SNS, errors their codes, or `cut`."""

    def __init__(self, server: Server, store: Store, clock: Clock) -> None:
        super().__init__(server, store)
        self._server = server
        self._clock = clock
        self._delays = Delays()
        self._sqs: SqsService | None = None
        self._sns: SnsService | None = None
        self.events = Events()
        self.events.begin(clock, self._name)

    def begin(self, sqs: SqsService, sns: SnsService) -> Steered:
        """Take up a server's services when it starts, and return what its front has of this."""
        self._sqs, self._sns = sqs, sns
        sqs.queues.observe(self.events)
        return Steered(self._clock, self._delays, Look(sqs.queues, self._server.region))

    def _services(self) -> tuple[SqsService, SnsService]:
        if self._sqs is None or self._sns is None:
            raise Refused("the server isn't started")
        return self._sqs, self._sns

    def _name(self, arn: str) -> str:
        """Return what an ARN is called here."""
        own = f":{self._server.region}:{self._server.account}:"
        return arn.partition(own)[2] or arn

    def _queue(self, name: str) -> Queue | None:
        sqs, _ = self._services()
        queues = sqs.queues
        return queues.by_arn(name) or queues.by_arn(str(queues.arn(self._server.region, name)))

    def _topic(self, name: str) -> Topic | None:
        _, sns = self._services()
        return sns.topics.find(name) or sns.topics.find(
            f"arn:aws:sns:{self._server.region}:{self._server.account}:{name}"
        )

    # -- looking

    def entities(self) -> list[Entity]:
        sqs, sns = self._services()
        topics = (
            Entity(
                self._name(topic.arn_text),
                "topic",
                gives_to=[self._name(s.endpoint) for s in topic.subscriptions.values()],
            )
            for topic in sns.topics.all()
        )
        return [*topics, *(self._described(queue) for queue in sqs.queues.all())]

    def _described(self, queue: Queue) -> Entity:
        queue.advance(queue.timeline.now())
        letters = queue.settings.dead_letters
        return Entity(
            self._name(queue.arn_text),
            "queue",
            waiting=queue.counts[READY],
            in_flight=queue.counts[IN_FLIGHT],
            delayed=queue.counts[DELAYED],
            dead_letters=None if letters is None else self._name(str(letters)),
        )

    def messages(self, entity: str, limit: int) -> list[Shown]:
        queue = self._queue(entity)
        if queue is None:
            if self._topic(entity) is not None:
                return []
            raise _unknown(entity)
        return [_shown(message) for message in states(queue)[:limit]]

    # -- doing

    async def publish(self, entity: str, body: bytes, attributes: Mapping[str, str], key: str | None) -> str:
        sqs, sns = self._services()
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Refused("SNS and SQS carry text: the body is no UTF-8") from None
        params: dict[str, Any] = {
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            }
        }
        if key is not None:
            params |= {"MessageGroupId": key, "MessageDeduplicationId": uuid.uuid4().hex}
        topic = self._topic(entity)
        found = topic or self._queue(entity)
        if found is None:
            raise _unknown(entity)
        if isinstance(found, Topic):
            fifo, action = found.settings.fifo, sns.actions["Publish"]
            params |= {"TopicArn": found.arn_text, "Message": text}
        else:
            fifo, action = found.fifo, sqs.actions["SendMessage"]
            params |= {"QueueUrl": found.arn.resource, "MessageBody": text}
        if not fifo:
            params.pop("MessageDeduplicationId", None)
        call = Call(
            "", "", found.arn.region, "local", f"arn:aws:iam::{self._server.account}:root", self._server.url, ""
        )
        try:
            answer = action(call, params)
        except AwsError as error:
            raise Refused(f"{error.code}: {error.message}") from None
        assert isinstance(answer, dict)  # noqa: S101 - neither action waits
        await self._store.commit()
        return str(answer["MessageId"])

    async def redrive(self, entity: str) -> int:
        queue = self._queue(entity)
        if queue is None:
            raise _unknown(entity)
        target = queue.settings.dead_letters
        letters = None if target is None else self._queue(str(target))
        if letters is None:
            raise Refused(f"{entity} has no dead-letter queue")
        found = [one for one in states(letters) if one.source == queue.arn_text and one.state == READY]
        for message in found:
            move_back(letters, message, queue)
        await self._store.commit()
        return len(found)

    def fail(self, operation: str, error: str, count: int, *, after: bool) -> None:
        self._check_operation(operation)
        status = 0 if error == "cut" else 503 if error in ("ServiceUnavailable", "InternalFailure") else 400
        self._server.faults.fail_next(operation, error, status, count, after=after)

    def delay(self, operation: str, seconds: float, count: int) -> None:
        self._check_operation(operation)
        self._delays.plan(operation, seconds, count)

    def _check_operation(self, operation: str) -> None:
        sqs, sns = self._services()
        if operation != "*" and operation not in sqs.actions and operation not in sns.actions:
            raise Refused(f"{operation} is no action of SQS or SNS; * is all of them")

    def clear(self) -> None:
        self._server.faults.clear()
        self._delays.clear()

    async def cut(self) -> None:
        self._server.abort_connections()


def _unknown(entity: str) -> Refused:
    return Refused(f"there is no queue or topic {entity}")


def _shown(message: Message) -> Shown:
    attributes = {
        name: value.get("StringValue", value.get("BinaryValue", "")) for name, value in message.attributes.items()
    }
    return Shown(
        message.id,
        _STATES[message.state],
        message.body.encode(),
        attributes,
        message.group,
        message.receives,
        message.sent,
        message.visible_at if message.state != READY else None,
    )
