"""The actions of publishing: publish, publish a batch."""

from __future__ import annotations

from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.faults import Faults
from polybus.localcloud.aws.params import Params, check_batch
from polybus.localcloud.aws.sns.fanout import Fanout
from polybus.localcloud.aws.sns.publish import Notification, check_notification
from polybus.localcloud.aws.sns.registry import Topics
from polybus.localcloud.aws.sns.topic import Topic
from polybus.localcloud.aws.sqs.send import sequence_number
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["PublishActions"]


class PublishActions:
    """Each method is one action: parameters in, response out; raises AwsError for what is refused."""

    def __init__(self, topics: Topics, fanout: Fanout, timeline: Timeline, faults: Faults) -> None:
        self._topics = topics
        self._fanout = fanout
        self._timeline = timeline
        self._faults = faults

    def publish(self, call: Call, params: Params) -> dict[str, Any]:
        if params.get("PhoneNumber") is not None:
            raise sns_invalid("PhoneNumber Reason: this server sends no text messages")
        if params.get("TopicArn") is None and ":endpoint/" in str(params.get("TargetArn")):
            raise sns_invalid("TargetArn Reason: No endpoint found for the target arn specified")
        topic = self._topics.get(params.get("TopicArn") or params.get("TargetArn"), call.region)
        notification = check_notification(topic, params, call.trace)
        if self._accept(topic, notification):
            self._fanout.deliver(topic, [notification])
        return _published(notification)

    def publish_batch(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._topics.get(params.get("TopicArn"), call.region)
        entries = check_batch(params, "PublishBatchRequestEntries", prefix="")
        accepted: dict[str, Notification] = {}
        failed: list[dict[str, object]] = []
        for entry in entries:
            # What is wrong with one entry is the request's fault: nothing of it is published (recorded).
            notification = check_notification(topic, entry, call.trace)
            try:
                self._faults.check_entry(entry["Id"])
                accepted[entry["Id"]] = notification
            except AwsError as error:
                failed.append(error.as_entry(entry["Id"]))
        if sum(notification.size for notification in accepted.values()) > topic.settings.max_message:
            found = "The length of all the messages put together is more than the limit."
            raise AwsError("BatchRequestTooLong", found)
        fresh = [notification for notification in accepted.values() if self._accept(topic, notification)]
        self._fanout.deliver(topic, fresh)
        done = [{"Id": entry_id, **_published(notification)} for entry_id, notification in accepted.items()]
        return {"Successful": done, "Failed": failed}

    def _accept(self, topic: Topic, notification: Notification) -> bool:
        """Give a FIFO topic's message its number; return False for one that repeats another, whose ids it then has."""
        if not topic.settings.fifo:
            return True
        now = self._timeline.now()
        scope = (notification.group or "") if topic.settings.dedup_by_group else ""
        dedup = notification.dedup or ""
        seen = topic.dedup.find(scope, dedup, now)
        if seen is not None:
            notification.id, notification.sequence = seen.message_id, seen.sequence
            return False
        notification.sequence = sequence_number(self._timeline.order())
        topic.dedup.add(scope, dedup, now, notification.id, notification.sequence)
        return True


def _published(notification: Notification) -> dict[str, Any]:
    answer = {"MessageId": notification.id}
    if notification.sequence is not None:
        answer["SequenceNumber"] = notification.sequence
    return answer
