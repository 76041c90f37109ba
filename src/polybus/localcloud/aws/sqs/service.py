"""SQS as one service: its actions by name, and which resource each is about."""

from __future__ import annotations

from collections.abc import Mapping

from polybus.localcloud.aws.arn import queue_name_from_url
from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.faults import Faults
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.policy.document import Policy
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.services import Action
from polybus.localcloud.aws.sqs.actions import MessageActions
from polybus.localcloud.aws.sqs.manage import QueueActions
from polybus.localcloud.aws.sqs.move import MoveTasks
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.sqs.sampling import Sampler
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["SqsService"]

# A batch needs the right of its single action (SQS Developer Guide, API permissions); rights are told in lower case.
_RIGHTS = {
    "SendMessageBatch": "sendmessage",
    "DeleteMessageBatch": "deletemessage",
    "ChangeMessageVisibilityBatch": "changemessagevisibility",
}


class SqsService:
    """The actions of SQS; unknown names are not in `actions`."""

    def __init__(
        self, account: str, rows: Rows, timeline: Timeline, faults: Faults, sampler: Sampler | None = None
    ) -> None:
        self.queues = Queues(account, rows, timeline, sampler)
        self.tasks = MoveTasks(self.queues)
        messages, queues, tasks = MessageActions(self.queues, faults), QueueActions(self.queues), self.tasks
        self.actions: dict[str, Action] = {
            "AddPermission": queues.add_permission,
            "CancelMessageMoveTask": tasks.cancel_message_move_task,
            "ChangeMessageVisibility": messages.change_message_visibility,
            "ChangeMessageVisibilityBatch": messages.change_message_visibility_batch,
            "CreateQueue": queues.create_queue,
            "DeleteMessage": messages.delete_message,
            "DeleteMessageBatch": messages.delete_message_batch,
            "DeleteQueue": queues.delete_queue,
            "GetQueueAttributes": queues.get_queue_attributes,
            "GetQueueUrl": queues.get_queue_url,
            "ListDeadLetterSourceQueues": queues.list_dead_letter_source_queues,
            "ListMessageMoveTasks": tasks.list_message_move_tasks,
            "ListQueueTags": queues.list_queue_tags,
            "ListQueues": queues.list_queues,
            "PurgeQueue": queues.purge_queue,
            "ReceiveMessage": messages.receive_message,
            "RemovePermission": queues.remove_permission,
            "SendMessage": messages.send_message,
            "SendMessageBatch": messages.send_message_batch,
            "SetQueueAttributes": queues.set_queue_attributes,
            "StartMessageMoveTask": tasks.start_message_move_task,
            "TagQueue": queues.tag_queue,
            "UntagQueue": queues.untag_queue,
        }

    def load(self) -> None:
        """Bring back what was kept."""
        self.queues.load()
        self.tasks.load()

    def subject(self, call: Call, params: Params) -> tuple[str, str, Policy | None]:
        """Return the right that `call` needs, the ARN it is about, and that resource's policy."""
        right = "sqs:" + _RIGHTS.get(call.action, call.action.lower())
        if call.action in ("StartMessageMoveTask", "ListMessageMoveTasks"):
            arn = str(params.get("SourceArn") or "*")
        else:
            url = params.get("QueueUrl")
            name = queue_name_from_url(url) or url or params.get("QueueName")
            arn = str(self.queues.arn(call.region, name)) if isinstance(name, str) else "*"
        queue = self.queues.by_arn(arn)
        return right, arn, None if queue is None else queue.settings.policy

    def context(self, call: Call, params: Params) -> Mapping[str, str]:
        """Return the service's own condition keys: none."""
        return {}
