"""The actions on queues: create, list, attributes, tags, permissions, purge, delete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import SQS_PREFIX, AwsError, invalid_value, missing_parameter, no_queue
from polybus.localcloud.aws.paging import page
from polybus.localcloud.aws.params import Params, integer, required, strings, text, text_map
from polybus.localcloud.aws.policy.document import one_or_all
from polybus.localcloud.aws.sqs.message import DELAYED, IN_FLIGHT, READY
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.sqs.settings import READ_ONLY

__all__ = ["QueueActions"]

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")
_MAX_PERMISSIONS = 7  # actions of one AddPermission (SQS API reference)
_PURGE_PAUSE = 60.0  # seconds between two purges (botocore model, PurgeQueueInProgress)


class QueueActions:
    """Each method is one action: parameters in, response out; raises AwsError for what is refused."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._timeline = queues.timeline

    def _get(self, call: Call, params: Params) -> Queue:
        return self._queues.get(call.region, params.get("QueueUrl"))

    def create_queue(self, call: Call, params: Params) -> dict[str, Any]:
        name = required(params, "QueueName")
        tags = text_map(params, "tags") or text_map(params, "Tags")
        queue = self._queues.create(call.region, name, text_map(params, "Attributes"), tags)
        return {"QueueUrl": self._url(call, queue)}

    def delete_queue(self, call: Call, params: Params) -> dict[str, Any]:
        self._queues.delete(self._get(call, params))
        return {}

    def get_queue_url(self, call: Call, params: Params) -> dict[str, Any]:
        name = required(params, "QueueName")
        owner = text(params, "QueueOwnerAWSAccountId") or self._queues.account
        queue = self._queues.by_arn(str(self._queues.arn(call.region, name)))
        if queue is None or owner != self._queues.account:
            raise no_queue()
        return {"QueueUrl": self._url(call, queue)}

    def list_queues(self, call: Call, params: Params) -> dict[str, Any]:
        prefix = text(params, "QueueNamePrefix") or ""
        queues = sorted(
            (q for q in self._queues.all() if q.arn.region == call.region and q.arn.resource.startswith(prefix)),
            key=lambda queue: queue.arn.resource,
        )
        return self._page(call, params, queues, "QueueUrls")

    def list_dead_letter_source_queues(self, call: Call, params: Params) -> dict[str, Any]:
        sources = self._queues.sources_of(self._get(call, params))
        return {"queueUrls": [], **self._page(call, params, sources, "queueUrls")}

    def get_queue_attributes(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._get(call, params)
        names = strings(params, "AttributeNames")
        queue.advance(self._timeline.now())
        values = self._attributes(queue)
        for name in names:
            if name != "All" and name not in values and name not in _OPTIONAL:
                raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        chosen = values if "All" in names else {name: values[name] for name in names if name in values}
        return {"Attributes": chosen} if chosen else {}

    def set_queue_attributes(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._get(call, params)
        changes = text_map(params, "Attributes")
        if not changes:
            raise missing_parameter("Attributes")
        self._queues.change(queue, changes)
        queue.waiters.wake_all()
        return {}

    def purge_queue(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._get(call, params)
        now = self._timeline.now()
        if now < queue.purged + _PURGE_PAUSE:
            found = f"Only one PurgeQueue operation on {queue.arn.resource} is allowed every 60 seconds."
            raise AwsError(SQS_PREFIX + "PurgeQueueInProgress", found, 403)
        queue.purged = now
        queue.clear()
        return {}

    def tag_queue(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._get(call, params)
        tags = queue.tags | text_map(params, "Tags")
        if len(tags) > 50:
            raise AwsError("InvalidParameterValue", f"Too many tags added for queue {queue.arn.resource}.")
        queue.tags = tags
        self._queues.saved(queue)
        return {}

    def untag_queue(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._get(call, params)
        keys = strings(params, "TagKeys")
        queue.tags = {key: value for key, value in queue.tags.items() if key not in keys}
        self._queues.saved(queue)
        return {}

    def list_queue_tags(self, call: Call, params: Params) -> dict[str, Any]:
        tags = self._get(call, params).tags
        return {"Tags": dict(tags)} if tags else {}

    def add_permission(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._get(call, params)
        label = required(params, "Label")
        accounts, actions = strings(params, "AWSAccountIds"), strings(params, "Actions")
        if not _LABEL.fullmatch(label):
            raise invalid_value(label, "Label", "Alphanumeric characters, hyphens and underscores; 1 to 80 in length.")
        if not accounts or not 1 <= len(actions) <= _MAX_PERMISSIONS:
            raise missing_parameter("AWSAccountIds" if not accounts else "Actions")
        policy = self._policy(queue)
        if any(statement.get("Sid") == label for statement in policy["Statement"]):
            raise invalid_value(label, "Label", "Already exists.")
        policy["Statement"].append(
            {
                "Sid": label,
                "Effect": "Allow",
                "Principal": {"AWS": one_or_all([f"arn:aws:iam::{account}:root" for account in accounts])},
                "Action": one_or_all([f"SQS:{action}" for action in actions]),
                "Resource": queue.arn_text,
            }
        )
        self._queues.change(queue, {"Policy": msgspec.json.encode(policy).decode()})
        return {}

    def remove_permission(self, call: Call, params: Params) -> dict[str, Any]:
        queue = self._get(call, params)
        label = required(params, "Label")
        policy = self._policy(queue)
        left = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
        if len(left) == len(policy["Statement"]):
            raise invalid_value(label, "Label", "can't find label.")
        self._queues.change(
            queue, {"Policy": msgspec.json.encode({**policy, "Statement": left}).decode() if left else ""}
        )
        return {}

    @staticmethod
    def _policy(queue: Queue) -> dict[str, Any]:
        document: dict[str, Any] = {
            "Version": "2008-10-17",
            "Id": f"{queue.arn_text}/SQSDefaultPolicy",
            "Statement": [],
        }
        if given := queue.settings.given.get("Policy"):
            document |= msgspec.json.decode(given)
        if isinstance(document["Statement"], Mapping):
            document["Statement"] = [document["Statement"]]
        return document

    def _attributes(self, queue: Queue) -> dict[str, str]:
        return queue.settings.effective() | {
            "QueueArn": queue.arn_text,
            "ApproximateNumberOfMessages": str(queue.counts[READY]),
            "ApproximateNumberOfMessagesNotVisible": str(queue.counts[IN_FLIGHT]),
            "ApproximateNumberOfMessagesDelayed": str(queue.counts[DELAYED]),
            "CreatedTimestamp": str(int(queue.created)),
            "LastModifiedTimestamp": str(int(queue.modified)),
        }

    def _page(self, call: Call, params: Params, queues: list[Queue], key: str) -> dict[str, Any]:
        token, size = text(params, "NextToken"), integer(params, "MaxResults", 1, 1000)
        chosen, following = page(queues, token, size or 1000)
        answer: dict[str, Any] = {key: [self._url(call, queue) for queue in chosen]} if chosen else {}
        if following and size:  # a listing without MaxResults ends after 1,000 and has no token
            answer["NextToken"] = following
        return answer

    @staticmethod
    def _url(call: Call, queue: Queue) -> str:
        return f"{call.endpoint}/{queue.arn.account}/{queue.arn.resource}"


# Known attributes that a queue may not have.
_OPTIONAL = {
    *READ_ONLY,
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
}
