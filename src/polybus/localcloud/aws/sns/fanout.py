"""From a topic to the queues and the HTTP endpoints that subscribe to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from polybus.localcloud.aws.errors import AwsError, no_queue
from polybus.localcloud.aws.policy.document import Request
from polybus.localcloud.aws.sns.delivery_policy import effective_of, retries_of
from polybus.localcloud.aws.sns.envelope import Envelopes
from polybus.localcloud.aws.sns.http_delivery import HttpDeliveries, Post
from polybus.localcloud.aws.sns.publish import Notification
from polybus.localcloud.aws.sns.subscription import Subscription
from polybus.localcloud.aws.sns.topic import Topic
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.sqs.send import MAX_ATTRIBUTES, check_draft, post
from polybus.localcloud.events import PUBLISHED

__all__ = ["Fanout"]

_TRACE = "trace"  # beside the parameters of SendMessage

log = logging.getLogger(__name__)

HTTP = ("http", "https")
SENDER = "sns.amazonaws.com"
# The policy of AWS's own key lets no other service use it, and can't be changed: SNS can't send to a queue that is
# encrypted with it (SNS Developer Guide, encrypted topics with encrypted queues).
MANAGED_KEY = "alias/aws/sqs"


@dataclass(frozen=True, slots=True)
class _Told:
    """What an endpoint is posted."""

    kind: str
    id: str
    body: str


class Fanout:
    """Delivers to queues at once and in order: when a publish is answered, its messages are there.

    To HTTP endpoints it goes by itself, some time after.
    """

    def __init__(self, queues: Queues, envelopes: Envelopes, http: HttpDeliveries) -> None:
        self._queues = queues
        self._envelopes = envelopes
        self._http = http

    def deliver(self, topic: Topic, notifications: Sequence[Notification]) -> None:
        """Give each subscription its copies; what a queue refuses goes to its dead letters, or nowhere."""
        touched: dict[str, Queue] = {}
        for notification in notifications:
            self._queues.events.tell(PUBLISHED, topic.arn_text, notification.id)
        for subscription in topic.subscriptions.values():
            if subscription.protocol != "sqs":
                self._post(topic, subscription, notifications)
                continue
            chosen = [item for item in notifications if _passes(subscription, item)]
            if not chosen:
                continue
            queue = self._admit(topic, subscription.endpoint)
            for notification in chosen:
                reached = self._deliver_one(topic, subscription, queue, notification)
                if reached is not None:
                    touched[reached.uid] = reached
        for reached in touched.values():
            reached.waiters.wake()

    def ask(self, kind: str, topic: Topic, subscription: Subscription) -> None:
        """Post a question to an HTTP endpoint: whether it wants to subscribe, or that its subscription has ended."""
        if subscription.protocol in HTTP:
            message_id, body = self._envelopes.question(kind, topic, subscription, self._queues.timeline.now())
            self._begin(topic, subscription, _Told(kind, message_id, body))

    def _post(self, topic: Topic, subscription: Subscription, notifications: Sequence[Notification]) -> None:
        if subscription.protocol not in HTTP or subscription.pending:
            return
        now = self._queues.timeline.now()
        for notification in notifications:
            if _passes(subscription, notification):
                raw = subscription.settings.raw
                body = notification.body(subscription.protocol)
                if not raw:
                    body = self._envelopes.notification(topic, notification, subscription, now)
                failed = partial(self._failed, topic, subscription, notification)
                self._begin(topic, subscription, _Told("Notification", notification.id, body), failed)

    def _begin(
        self, topic: Topic, subscription: Subscription, told: _Told, failed: Callable[[str], object] | None = None
    ) -> None:
        policy = effective_of(topic.settings.given.get("DeliveryPolicy"), subscription.settings.shown("DeliveryPolicy"))
        headers = {
            "Content-Type": str(policy["requestPolicy"]["headerContentType"]),
            "x-amz-sns-message-type": told.kind,
            "x-amz-sns-message-id": told.id,
            "x-amz-sns-topic-arn": topic.arn_text,
        }
        if told.kind != "SubscriptionConfirmation":
            headers["x-amz-sns-subscription-arn"] = subscription.arn_text
        if told.kind == "Notification" and subscription.settings.raw:
            headers["x-amz-sns-rawdelivery"] = "true"
        self._http.send(Post(subscription.endpoint, told.body, headers, retries_of(policy), failed))

    def _failed(self, topic: Topic, subscription: Subscription, notification: Notification, why: str) -> None:
        """Leave what an endpoint did not take among the subscription's dead letters."""
        letters = subscription.settings.dead_letters
        if letters is None:
            return
        params = self._params(topic, subscription, notification, raw=subscription.settings.raw)
        try:
            reached = _send(self._admit(topic, letters), params)
        except AwsError as error:
            log.warning("%s: not dead-lettered to %s: %s", subscription.arn_text, letters, error)
        else:
            if reached is not None:
                reached.waiters.wake()

    def _deliver_one(
        self,
        topic: Topic,
        subscription: Subscription,
        queue: Queue | AwsError,
        notification: Notification,
    ) -> Queue | None:
        params = self._params(topic, subscription, notification, raw=subscription.settings.raw)
        try:
            return _send(queue, params)
        except AwsError as error:
            # Its dead letter is the message as it was to be delivered, without a word of why (recorded).
            letters = subscription.settings.dead_letters
            if letters is None:
                log.warning("%s: not delivered, dropped: %s", subscription.arn_text, error)
                return None
        if len(notification.attributes) > MAX_ATTRIBUTES:
            # No queue could ever take it raw. In which form AWS leaves it isn't documented; this one carries all of it.
            params = self._params(topic, subscription, notification, raw=False)
        try:
            return _send(self._admit(topic, letters), params)
        except AwsError as error:
            log.warning("%s: not delivered, nor dead-lettered to %s: %s", subscription.arn_text, letters, error)
            return None

    def _params(
        self, topic: Topic, subscription: Subscription, notification: Notification, *, raw: bool
    ) -> dict[str, Any]:
        params: dict[str, Any] = {"MessageGroupId": notification.group, "MessageDeduplicationId": notification.dedup}
        params[_TRACE] = notification.trace
        if raw:
            params["MessageBody"] = notification.body("sqs")
            params["MessageAttributes"] = notification.attributes
        else:
            now = self._queues.timeline.now()
            params["MessageBody"] = self._envelopes.notification(topic, notification, subscription, now)
        return params

    def _admit(self, topic: Topic, endpoint: str) -> Queue | AwsError:
        """Return the queue, or why this topic may not send to it."""
        queue = self._queues.by_arn(endpoint)
        if queue is None:
            return no_queue()
        settings = queue.settings
        context = {
            "aws:sourcearn": topic.arn_text,
            "aws:sourceaccount": topic.arn.account,
            "aws:securetransport": "true",
            "aws:principalisawsservice": "true",
            "aws:principalservicename": SENDER,
        }
        request = Request(SENDER, "sqs:SendMessage", queue.arn_text, context)
        if settings.policy is None or not settings.policy.verdict(request):
            why = f"{SENDER} is not authorized to perform: sqs:SendMessage on resource: {queue.arn_text}"
            return AwsError("AccessDenied", f"{why} because its policy does not allow it for {topic.arn_text}", 403)
        if settings.given.get("KmsMasterKeyId") == MANAGED_KEY:
            return AwsError("KMS.AccessDeniedException", f"SNS may not use {MANAGED_KEY}: take a key of your own.")
        return queue


def _passes(subscription: Subscription, notification: Notification) -> bool:
    chosen = subscription.settings.filter
    return chosen is None or chosen.match(notification.attributes, notification.body("sqs"))


def _send(queue: Queue | AwsError, params: dict[str, Any]) -> Queue | None:
    if isinstance(queue, AwsError):
        raise queue
    wanted = dict(params)
    if not queue.fifo and params["MessageDeduplicationId"] is not None:
        # From a FIFO topic: what makes it FIFO is left behind, the group too (recorded).
        wanted |= {"MessageDeduplicationId": None, "MessageGroupId": None}
    post(queue, check_draft(queue, wanted, SENDER, wanted.pop(_TRACE)))
    return queue
