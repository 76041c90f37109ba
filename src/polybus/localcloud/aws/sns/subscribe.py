"""The actions on subscriptions: subscribe, confirm, list, attributes, unsubscribe."""

from __future__ import annotations

from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.paging import page
from polybus.localcloud.aws.params import Params, boolean, text, text_map
from polybus.localcloud.aws.sns.fanout import Fanout
from polybus.localcloud.aws.sns.manage import PAGE
from polybus.localcloud.aws.sns.registry import Topics, check_subscription_arn
from polybus.localcloud.aws.sns.subscription import Subscription

__all__ = ["SubscriptionActions"]


class SubscriptionActions:
    """Each method is one action: parameters in, response out; raises AwsError for what is refused."""

    def __init__(self, topics: Topics, fanout: Fanout) -> None:
        self._topics = topics
        self._fanout = fanout

    def subscribe(self, call: Call, params: Params) -> dict[str, Any]:
        topic = self._topics.get(params.get("TopicArn"), call.region)
        protocol, endpoint = text(params, "Protocol"), text(params, "Endpoint")
        if not protocol or not endpoint:
            raise sns_invalid("Protocol" if not protocol else "Endpoint")
        subscription = self._topics.subscribe(topic, protocol, endpoint, text_map(params, "Attributes"))
        if subscription.pending:
            self._fanout.ask("SubscriptionConfirmation", topic, subscription)
        hidden = subscription.pending and not boolean(params, "ReturnSubscriptionArn")
        return {"SubscriptionArn": "pending confirmation" if hidden else subscription.arn_text}

    def unsubscribe(self, call: Call, params: Params) -> dict[str, Any]:
        arn = str(check_subscription_arn(params.get("SubscriptionArn")))
        subscription = self._topics.find_subscription(arn)
        if subscription is None:
            return {}
        if call.anonymous and subscription.authenticated:
            raise AwsError("AuthorizationError", "Only the owner may end this subscription.", 403)
        topic = self._topics.get(subscription.topic_arn, subscription.arn.region)
        self._topics.unsubscribe(arn)
        if not subscription.pending:
            self._fanout.ask("UnsubscribeConfirmation", topic, subscription)
        return {}

    def confirm_subscription(self, call: Call, params: Params) -> dict[str, Any]:
        authenticated = boolean(params, "AuthenticateOnUnsubscribe") and not call.anonymous
        found = self._topics.confirm(
            params.get("TopicArn"), params.get("Token"), call.region, authenticated=authenticated
        )
        return {"SubscriptionArn": found.arn_text}

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
        return _listed(list(self._topics.get(params.get("TopicArn"), call.region).subscriptions.values()), params)


def _listed(subscriptions: list[Subscription], params: Params) -> dict[str, Any]:
    chosen, following = page(subscriptions, text(params, "NextToken"), PAGE)
    answer: dict[str, Any] = {"Subscriptions": [subscription.listed() for subscription in chosen]}
    return answer | ({"NextToken": following} if following else {})
