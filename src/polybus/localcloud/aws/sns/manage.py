"""The actions on topics: create, list, attributes, tags, permissions, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.paging import page
from polybus.localcloud.aws.params import Params, required, strings, text, text_map
from polybus.localcloud.aws.policy.document import one_or_all
from polybus.localcloud.aws.sns.delivery_policy import effective
from polybus.localcloud.aws.sns.registry import Topics
from polybus.localcloud.aws.sns.topic import Topic

__all__ = ["PAGE", "TopicActions"]

# The default policy's actions in AWS's order, and those that AddPermission can give (recorded).
_OWNERS = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)
PAGE = 100  # topics or subscriptions of one answer (SNS API reference, ListTopics)


class TopicActions:
    """Each method is one action: parameters in, response out; raises AwsError for what is refused."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def create_topic(self, call: Call, params: Params) -> dict[str, Any]:
        name = text(params, "Name") or ""
        topic = self._topics.create(call.region, name, text_map(params, "Attributes"), _tags(params))
        return {"TopicArn": topic.arn_text}

    def delete_topic(self, call: Call, params: Params) -> dict[str, Any]:
        self._topics.delete(required(params, "TopicArn"), call.region)
        return {}

    def list_topics(self, call: Call, params: Params) -> dict[str, Any]:
        chosen, following = page(self._topics.topics(call.region), text(params, "NextToken"), PAGE)
        answer: dict[str, Any] = {"Topics": [{"TopicArn": topic.arn_text} for topic in chosen]}
        return answer | ({"NextToken": following} if following else {})

    def get_topic_attributes(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._topics.get(params.get("TopicArn"), call.region)
        subscriptions = topic.subscriptions.values()
        pending = sum(subscription.pending for subscription in subscriptions)
        values = {
            "TopicArn": topic.arn_text,
            "Owner": topic.arn.account,
            "DisplayName": "",
            "SubscriptionsConfirmed": str(len(subscriptions) - pending),
            "SubscriptionsPending": str(pending),
            "SubscriptionsDeleted": "0",
            "Policy": msgspec.json.encode(_default_policy(topic)).decode(),
            "MaximumMessageSize": str(topic.settings.max_message),
            "EffectiveDeliveryPolicy": effective(topic.settings.given.get("DeliveryPolicy")),
        }
        if topic.settings.fifo:
            values |= {"FifoTopic": "true", "ContentBasedDeduplication": "false", "FifoThroughputScope": "Topic"}
        return {"Attributes": values | topic.settings.given}

    def set_topic_attributes(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._topics.get(params.get("TopicArn"), call.region)
        self._topics.change(topic, required(params, "AttributeName"), text(params, "AttributeValue") or "")
        return {}

    def tag_resource(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._tagged(params)
        tags = topic.tags | _tags(params)
        if len(tags) > 50:
            raise AwsError("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
        topic.tags = tags
        self._topics.saved(topic)
        return {}

    def untag_resource(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._tagged(params)
        keys = strings(params, "TagKeys")
        topic.tags = {key: value for key, value in topic.tags.items() if key not in keys}
        self._topics.saved(topic)
        return {}

    def list_tags_for_resource(self, call: Call, params: Params) -> dict[str, Any]:
        return {"Tags": [{"Key": key, "Value": value} for key, value in self._tagged(params).tags.items()]}

    def _tagged(self, params: Params) -> Topic:
        topic = self._topics.find(params.get("ResourceArn"))
        if topic is None:
            raise AwsError("ResourceNotFound", "Resource does not exist", 404)
        return topic

    def add_permission(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._topics.get(params.get("TopicArn"), call.region)
        label = required(params, "Label")
        accounts, actions = strings(params, "AWSAccountId"), strings(params, "ActionName")
        if not accounts or not actions:
            raise sns_invalid("AWSAccountId" if not accounts else "ActionName")
        if set(actions) - set(_OWNERS):
            raise sns_invalid("Policy statement action out of service scope!")
        policy = _policy(topic)
        if any(statement.get("Sid") == label for statement in policy["Statement"]):
            raise sns_invalid("Statement already exists")
        policy["Statement"].append(
            {
                "Sid": label,
                "Effect": "Allow",
                "Principal": {"AWS": one_or_all([f"arn:aws:iam::{account}:root" for account in accounts])},
                "Action": one_or_all([f"SNS:{action}" for action in actions]),
                "Resource": topic.arn_text,
            }
        )
        self._topics.change(topic, "Policy", msgspec.json.encode(policy).decode())
        return {}

    def remove_permission(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._topics.get(params.get("TopicArn"), call.region)
        label = required(params, "Label")
        policy = _policy(topic)
        left = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
        document = msgspec.json.encode({**policy, "Statement": left}).decode() if left else ""
        self._topics.change(topic, "Policy", document)
        return {}


def _tags(params: Params) -> dict[str, str]:
    raw = params.get("Tags") or []
    if not isinstance(raw, list):
        raise sns_invalid("Tags")
    tags: dict[str, str] = {}
    for tag in raw:
        key = tag.get("Key") if isinstance(tag, Mapping) else None
        value = tag.get("Value", "") if isinstance(tag, Mapping) else None
        if not isinstance(key, str) or not key or not isinstance(value, str):
            raise sns_invalid("Tags Reason: a tag has a Key and a Value")
        if key in tags:
            raise sns_invalid("Duplicated keys are not allowed.")
        tags[key] = value
    return tags


def _default_policy(topic: Topic) -> dict[str, Any]:
    """Return the policy that a topic shows until it is given one: its owner's account may use it."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in _OWNERS],
        "Resource": topic.arn_text,
        "Condition": {"StringEquals": {"AWS:SourceOwner": topic.arn.account}},
    }
    return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}


def _policy(topic: Topic) -> dict[str, Any]:
    given = topic.settings.given.get("Policy")
    document: dict[str, Any] = msgspec.json.decode(given) if given else _default_policy(topic)
    if isinstance(document["Statement"], Mapping):
        document["Statement"] = [document["Statement"]]
    return document
