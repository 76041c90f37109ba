"""All topics and subscriptions: finding, creating, deleting them, and bringing them back after a restart."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.errors import AwsError, sns_invalid
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.sns.subscription import Subscription, SubscriptionSettings, check_endpoint
from polybus.localcloud.aws.sns.topic import DEFAULT_MESSAGE, Topic, TopicSettings
from polybus.localcloud.aws.sqs.dedup import TABLE as DEDUP
from polybus.localcloud.aws.sqs.dedup import Seen

__all__ = ["Topics", "check_subscription_arn"]

TOPICS = "sns.topic"
SUBSCRIPTIONS = "sns.subscription"
MAX_FIFO_SUBSCRIPTIONS = 100  # SNS quotas, subscriptions of a FIFO topic
_TOKEN = re.compile(r"[0-9a-f]{64,512}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_FILTERS = 200  # SNS quotas, filter policies of a topic


class Topics:
    """The topics of one account in every region."""

    def __init__(self, account: str, rows: Rows) -> None:
        self.account = account
        self.rows = rows
        self._topics: dict[str, Topic] = {}
        self._subscriptions: dict[str, Subscription] = {}

    def load(self) -> None:
        """Bring back what was kept; called once, before the first request."""
        for text, given, tags in self.rows.load(TOPICS):
            arn = _arn(text)
            self._topics[text] = Topic(arn, TopicSettings(arn.resource, given), tags, self.rows)
        for text, topic_arn, protocol, endpoint, given, *state in self.rows.load(SUBSCRIPTIONS):
            settings = SubscriptionSettings(protocol, given)
            subscription = Subscription(_arn(text), topic_arn, protocol, endpoint, settings)
            if state:  # older folders have none
                subscription.token, subscription.confirmed, subscription.authenticated = state
            self._attach(subscription)
        for seen in sorted((Seen(*row) for row in self.rows.load(DEDUP)), key=lambda seen: seen.until):
            topic = self._topics.get(seen.owner.removeprefix("sns/"))
            if topic is not None:
                topic.dedup.restore(seen)

    def all(self) -> list[Topic]:
        """Return every topic, in the order of creation."""
        return list(self._topics.values())

    def topics(self, region: str) -> list[Topic]:
        return [topic for topic in self._topics.values() if topic.arn.region == region]

    def subscriptions(self, region: str) -> list[Subscription]:
        return [item for item in self._subscriptions.values() if item.arn.region == region]

    def find(self, arn: object) -> Topic | None:
        return self._topics.get(arn) if isinstance(arn, str) else None

    def get(self, arn: object, region: str) -> Topic:
        """Return the topic; raises AwsError where there is none, or where it is another region's (recorded)."""
        parsed = Arn.parse(arn)
        if parsed is None:
            raise sns_invalid(f"TopicArn Reason: {too_short(arn)}")
        if parsed.service != "sns" or parsed.region != region:
            raise sns_invalid("TopicArn")
        topic = self._topics.get(str(parsed))
        if topic is None:
            raise AwsError("NotFound", "Topic does not exist", 404)
        return topic

    def create(self, region: str, name: str, given: Mapping[str, str], tags: dict[str, str]) -> Topic:
        """Create a topic, or return the one that has this name, these attributes and these tags."""
        settings = TopicSettings(name, given)
        arn = Arn("sns", region, self.account, name)
        existing = self._topics.get(str(arn))
        if existing is not None:
            if any(existing.settings.shown(key) != value for key, value in settings.given.items()):
                raise sns_invalid("Attributes Reason: Topic already exists with different attributes")
            # Fewer tags than it has are fine (recorded).
            if tags.items() - existing.tags.items():
                raise sns_invalid("Tags Reason: Topic already exists with different tags")
            return existing
        topic = self._topics[str(arn)] = Topic(arn, settings, tags, self.rows)
        self.rows.save(TOPICS, topic)
        return topic

    def change(self, topic: Topic, name: str, value: str) -> None:
        """Set one attribute of a topic; raises AwsError where SNS refuses it."""
        if name == "FifoTopic":
            raise sns_invalid("AttributeName")
        settings = TopicSettings(topic.arn.resource, {**topic.settings.given, name: value})
        topic.check_sizes(settings.max_message, [item.protocol for item in topic.subscriptions.values()])
        topic.settings = settings
        self.rows.save(TOPICS, topic)

    def saved(self, topic: Topic) -> None:
        self.rows.save(TOPICS, topic)

    def delete(self, arn: str, region: str) -> None:
        """Delete a topic and its subscriptions; deleting twice is fine."""
        parsed = Arn.parse(arn)
        if parsed is None or parsed.service != "sns" or parsed.region != region:
            raise sns_invalid("TopicArn" if parsed else f"TopicArn Reason: {too_short(arn)}")
        topic = self.find(arn)
        if topic is None:
            return
        for subscription in list(topic.subscriptions.values()):
            self.unsubscribe(subscription.arn_text)
        topic.dedup.clear()
        del self._topics[topic.arn_text]
        self.rows.drop(TOPICS, topic)

    def subscribe(self, topic: Topic, protocol: str, endpoint: str, given: Mapping[str, str]) -> Subscription:
        """Subscribe, or return the subscription that this endpoint has with the same attributes."""
        check_endpoint(protocol, endpoint, topic.settings.fifo)
        settings = SubscriptionSettings(protocol, given)
        _check_letters(topic, endpoint, settings)
        for existing in topic.subscriptions.values():
            if (existing.protocol, existing.endpoint) == (protocol, endpoint):
                if any(existing.settings.shown(key) != value for key, value in settings.given.items()):
                    raise sns_invalid("Attributes Reason: Subscription already exists with different attributes")
                return existing
        count = len(topic.subscriptions)
        if topic.settings.fifo and count >= MAX_FIFO_SUBSCRIPTIONS:
            raise AwsError("SubscriptionLimitExceeded", f"Subscription limit exceeded: {MAX_FIFO_SUBSCRIPTIONS}", 403)
        self.check_filters(topic, settings, None)
        if topic.settings.max_message > DEFAULT_MESSAGE:
            protocols = [item.protocol for item in topic.subscriptions.values()]
            topic.check_sizes(topic.settings.max_message, [*protocols, protocol])
        arn = replace(topic.arn, resource=f"{topic.arn.resource}:{uuid.uuid4()}")
        subscription = Subscription(arn, topic.arn_text, protocol, endpoint, settings)
        self._attach(subscription)
        self.rows.save(SUBSCRIPTIONS, subscription)
        return subscription

    def check_filters(self, topic: Topic, settings: SubscriptionSettings, own: Subscription | None) -> None:
        """Refuse the filter policy that would be one too many."""
        others = (item for item in topic.subscriptions.values() if item is not own)
        if settings.filter is not None and sum(item.settings.filter is not None for item in others) >= MAX_FILTERS:
            raise AwsError("FilterPolicyLimitExceeded", f"A topic has at most {MAX_FILTERS} filter policies", 403)

    def find_subscription(self, arn: str) -> Subscription | None:
        return self._subscriptions.get(arn)

    def subscription(self, arn: object) -> Subscription:
        """Return the subscription; raises AwsError where there is none."""
        parsed = check_subscription_arn(arn)
        subscription = self._subscriptions.get(str(parsed))
        if subscription is None:
            raise AwsError("NotFound", "Subscription does not exist", 404)
        return subscription

    def change_subscription(self, subscription: Subscription, name: str, value: str) -> None:
        """Set one attribute of a subscription; raises AwsError where SNS refuses it."""
        settings = subscription.settings.changed(subscription.protocol, name, value)
        topic = self._topics[subscription.topic_arn]
        _check_letters(topic, subscription.endpoint, settings)
        self.check_filters(topic, settings, subscription)
        subscription.settings = settings
        self.rows.save(SUBSCRIPTIONS, subscription)

    def confirm(self, topic_arn: object, token: object, region: str, *, authenticated: bool) -> Subscription:
        """Confirm a subscription by its token; raises AwsError for a wrong one (texts recorded)."""
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise sns_invalid("Token")
        topic = self.find(topic_arn)
        if topic is None or topic.arn.region != region:
            raise sns_invalid("Topic")
        found = next((one for one in topic.subscriptions.values() if one.token == token), None)
        if found is None:
            raise AwsError("InvalidParameter", "Invalid token")
        found.confirmed = True
        found.authenticated = found.authenticated or authenticated
        self.rows.save(SUBSCRIPTIONS, found)
        return found

    def unsubscribe(self, arn: str) -> Subscription | None:
        """End a subscription and return it; ending it twice is fine."""
        subscription = self._subscriptions.pop(arn, None)
        if subscription is None:
            return None
        del self._topics[subscription.topic_arn].subscriptions[arn]
        self.rows.drop(SUBSCRIPTIONS, subscription)
        return subscription

    def _attach(self, subscription: Subscription) -> None:
        self._subscriptions[subscription.arn_text] = subscription
        self._topics[subscription.topic_arn].subscriptions[subscription.arn_text] = subscription


def too_short(arn: object) -> str:
    """Say what is wrong with what should be an ARN."""
    return f"An ARN must have at least 6 elements, not {len(str(arn).split(':'))}"


def check_subscription_arn(arn: object) -> Arn:
    """Return the parts of a subscription's ARN; raises AwsError for what is none (texts recorded)."""
    if not arn:
        raise sns_invalid("SubscriptionArn Reason: no value for required parameter")
    parsed = Arn.parse(arn)
    if parsed is None:
        raise sns_invalid(f"SubscriptionArn Reason: {too_short(arn)}")
    if parsed.service != "sns" or not _ID.fullmatch(parsed.resource.partition(":")[2]):
        raise sns_invalid("SubscriptionId")
    return parsed


def _arn(text: str) -> Arn:
    arn = Arn.parse(text)
    if arn is None:
        raise ValueError(f"the data folder names {text!r}, which is no ARN: remove the folder")
    return arn


def _check_letters(topic: Topic, endpoint: str, settings: SubscriptionSettings) -> None:
    """Refuse a standard queue for the dead letters of a FIFO queue's subscription."""
    fifo = topic.settings.fifo and endpoint.endswith(".fifo")
    if fifo and settings.dead_letters is not None and not settings.dead_letters.endswith(".fifo"):
        raise sns_invalid("RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
