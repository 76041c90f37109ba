"""SNS as one service: its actions by name, and which topic each is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.faults import Faults
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.policy.document import Policy
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.services import Action
from polybus.localcloud.aws.sns.actions import PublishActions
from polybus.localcloud.aws.sns.envelope import Envelopes
from polybus.localcloud.aws.sns.fanout import Fanout
from polybus.localcloud.aws.sns.http_delivery import HttpDeliveries
from polybus.localcloud.aws.sns.manage import TopicActions
from polybus.localcloud.aws.sns.registry import Topics
from polybus.localcloud.aws.sns.signing import Signer
from polybus.localcloud.aws.sns.subscribe import SubscriptionActions
from polybus.localcloud.aws.sqs.registry import Queues

__all__ = ["SnsService"]


class SnsService:
    """The actions of SNS; unknown names are not in `actions`. `url` says where this server is reached."""

    def __init__(self, queues: Queues, rows: Rows, faults: Faults, url: Callable[[], str]) -> None:
        self.topics = Topics(queues.account, rows)
        self.signer = Signer()
        self.http = HttpDeliveries(queues.timeline.clock)
        fanout = Fanout(queues, Envelopes(self.signer, url), self.http)
        topics, subscriptions = TopicActions(self.topics), SubscriptionActions(self.topics, fanout)
        publishing = PublishActions(self.topics, fanout, queues.timeline, faults)
        self.actions: dict[str, Action] = {
            "AddPermission": topics.add_permission,
            "ConfirmSubscription": subscriptions.confirm_subscription,
            "CreateTopic": topics.create_topic,
            "DeleteTopic": topics.delete_topic,
            "GetSubscriptionAttributes": subscriptions.get_subscription_attributes,
            "GetTopicAttributes": topics.get_topic_attributes,
            "ListSubscriptions": subscriptions.list_subscriptions,
            "ListSubscriptionsByTopic": subscriptions.list_subscriptions_by_topic,
            "ListTagsForResource": topics.list_tags_for_resource,
            "ListTopics": topics.list_topics,
            "Publish": publishing.publish,
            "PublishBatch": publishing.publish_batch,
            "RemovePermission": topics.remove_permission,
            "SetSubscriptionAttributes": subscriptions.set_subscription_attributes,
            "SetTopicAttributes": topics.set_topic_attributes,
            "Subscribe": subscriptions.subscribe,
            "TagResource": topics.tag_resource,
            "Unsubscribe": subscriptions.unsubscribe,
            "UntagResource": topics.untag_resource,
        }

    def load(self) -> None:
        """Bring back what was kept."""
        self.topics.load()

    def subject(self, call: Call, params: Params) -> tuple[str, str, Policy | None]:
        """Return the right that `call` needs, the topic it is about, and that topic's policy."""
        right = "SNS:" + ("Publish" if call.action == "PublishBatch" else call.action)
        named = params.get("TopicArn") or params.get("TargetArn") or params.get("ResourceArn")
        if named is None and (subscription := Arn.parse(params.get("SubscriptionArn"))) is not None:
            named = str(subscription).rsplit(":", 1)[0]
        if named is None:
            resource = params.get("Name") if call.action == "CreateTopic" else "*"
            named = str(Arn("sns", call.region, self.topics.account, str(resource)))
        topic = self.topics.find(named)
        return right, str(named), None if topic is None else topic.settings.policy

    def context(self, call: Call, params: Params) -> Mapping[str, str]:
        """Return the condition keys of Subscribe."""
        keys = {"sns:protocol": params.get("Protocol"), "sns:endpoint": params.get("Endpoint")}
        return {key: value for key, value in keys.items() if isinstance(value, str)}
