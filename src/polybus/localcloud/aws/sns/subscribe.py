"""The actions on subscriptions: subscribe, list, attributes, unsubscribe."""

from __future__ import annotations

from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import sns_invalid
from polybus.localcloud.aws.paging import page
from polybus.localcloud.aws.params import Params, boolean, text, text_map
from polybus.localcloud.aws.sns.manage import PAGE
from polybus.localcloud.aws.sns.registry import Topics
from polybus.localcloud.aws.sns.subscription import Subscription

__all__ = ["SubscriptionActions"]


class SubscriptionActions:
    """Each method is one action: parameters in, response out; raises AwsError for what is refused."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def subscribe(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._topics.get(params.get("TopicArn"))
        protocol, endpoint = text(params, "Protocol"), text(params, "Endpoint")
        if not protocol or not endpoint:
            raise sns_invalid("Protocol" if not protocol else "Endpoint")
        subscription = self._topics.subscribe(topic, protocol, endpoint, text_map(params, "Attributes"))
        hidden = subscription.pending and not boolean(params, "ReturnSubscriptionArn")
        return {"SubscriptionArn": "pending confirmation" if hidden else subscription.arn_text}

    def unsubscribe(self, call: Call, params: Params) -> dict[str, Any]:
        arn = text(params, "SubscriptionArn")
        if not arn:
            raise sns_invalid("SubscriptionArn")
        self._topics.unsubscribe(arn)
        return {}

    def get_subscription_attributes(self, call: Call, params: Params) -> dict[str, Any]:
        return {"Attributes": self._topics.subscription(params.get("SubscriptionArn")).attributes(call.principal)}

    def set_subscription_attributes(self, call: Call, params: Params) -> dict[str, Any]:
        subscription = self._topics.subscription(params.get("SubscriptionArn"))
        name = text(params, "AttributeName")
        if not name:
            raise sns_invalid("AttributeName")
        self._topics.change_subscription(subscription, name, text(params, "AttributeValue") or "")
        return {}

    def list_subscriptions(self, call: Call, params: Params) -> dict[str, Any]:
        return _listed(self._topics.subscriptions(call.region), params)

    def list_subscriptions_by_topic(self, call: Call, params: Params) -> dict[str, Any]:
        return _listed(list(self._topics.get(params.get("TopicArn")).subscriptions.values()), params)


def _listed(subscriptions: list[Subscription], params: Params) -> dict[str, Any]:
    chosen, following = page(subscriptions, text(params, "NextToken"), PAGE)
    answer: dict[str, Any] = {"Subscriptions": [subscription.listed() for subscription in chosen]}
    return answer | ({"NextToken": following} if following else {})
