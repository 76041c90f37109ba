"""From a topic to the queues that subscribe to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from polybus.localcloud.aws.errors import AwsError, no_queue
from polybus.localcloud.aws.policy.document import Request
from polybus.localcloud.aws.sns.envelope import envelope
from polybus.localcloud.aws.sns.publish import Notification
from polybus.localcloud.aws.sns.subscription import Subscription
from polybus.localcloud.aws.sns.topic import Topic
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.sqs.send import MAX_ATTRIBUTES, check_draft, post

__all__ = ["Fanout"]

log = logging.getLogger(__name__)

SENDER = "sns.amazonaws.com"


class Fanout:
    """Delivers at once and in order: when a publish is answered, its messages are in the queues."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def deliver(self, topic: Topic, notifications: Sequence[Notification], request_id: str) -> None:
        """Give each subscription its copies; what a queue refuses goes to its dead letters, or nowhere."""
        touched: dict[str, Queue] = {}
        for subscription in topic.subscriptions.values():
            if subscription.protocol != "sqs":
                continue
            chosen = subscription.settings.filter
            for notification in notifications:
                body = notification.body("sqs")
                if chosen is None or chosen.match(notification.attributes, body):
                    queue = self._deliver_one(topic, subscription, notification, request_id)
                    if queue is not None:
                        touched[queue.uid] = queue
        for queue in touched.values():
            queue.waiters.wake()

    def _deliver_one(
        self, topic: Topic, subscription: Subscription, notification: Notification, request_id: str
    ) -> Queue | None:
        params = self._params(subscription, notification)
        try:
            return self._send(topic, subscription.endpoint, params)
        except AwsError as error:
            letters = subscription.settings.dead_letters
            if letters is None:
                log.warning("%s: not delivered, dropped: %s", subscription.arn_text, error)
                return None
            # SNS adds these three to what it dead-letters (SNS Developer Guide, dead-letter queues).
            reasons = {"RequestID": request_id, "ErrorCode": error.code, "ErrorMessage": error.message}
            attributes = params.get("MessageAttributes", {})
            if len(attributes) + len(reasons) <= MAX_ATTRIBUTES:
                extra = {name: {"DataType": "String", "StringValue": value} for name, value in reasons.items()}
                params["MessageAttributes"] = attributes | extra
        try:
            return self._send(topic, letters, params)
        except AwsError as error:
            log.warning("%s: not delivered, nor dead-lettered to %s: %s", subscription.arn_text, letters, error)
            return None

    def _params(self, subscription: Subscription, notification: Notification) -> dict[str, Any]:
        params: dict[str, Any] = {"MessageGroupId": notification.group, "MessageDeduplicationId": notification.dedup}
        if subscription.settings.raw:
            params["MessageBody"] = notification.body("sqs")
            params["MessageAttributes"] = notification.attributes
        else:
            params["MessageBody"] = envelope(notification, subscription, self._queues.timeline.now())
        return params

    def _send(self, topic: Topic, endpoint: str, params: dict[str, Any]) -> Queue:
        queue = self._queues.by_arn(endpoint)
        if queue is None:
            raise no_queue()
        policy = queue.settings.policy
        context = {
            "aws:sourcearn": topic.arn_text,
            "aws:sourceaccount": topic.arn.account,
            "aws:securetransport": "true",
        }
        if policy is None or not policy.verdict(Request(SENDER, "sqs:SendMessage", queue.arn_text, context)):
            why = f"{SENDER} is not authorized to perform: sqs:SendMessage on resource: {queue.arn_text}"
            raise AwsError("AccessDenied", f"{why} because its policy does not allow it for {topic.arn_text}", 403)
        wanted = params if queue.fifo else {**params, "MessageDeduplicationId": None}
        post(queue, check_draft(queue, wanted, SENDER))
        return queue
