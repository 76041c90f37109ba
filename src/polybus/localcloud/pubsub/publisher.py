"""google.pubsub.v1.Publisher."""

from __future__ import annotations

from collections.abc import Mapping

from polybus.localcloud.pubsub import protocol
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.names import check_name, check_project
from polybus.localcloud.pubsub.paging import page
from polybus.localcloud.pubsub.protocol import EMPTY, Proto
from polybus.localcloud.pubsub.publishing import check_publish
from polybus.localcloud.pubsub.settings import TOPIC_FIELDS, updated
from polybus.localcloud.pubsub.wire import Context, Method

__all__ = ["Publisher"]


class Publisher:
    NAME = "google.pubsub.v1.Publisher"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def methods(self) -> Mapping[str, Method]:
        return {
            "CreateTopic": (protocol.Topic, self.create_topic),
            "UpdateTopic": (protocol.UpdateTopicRequest, self.update_topic),
            "Publish": (protocol.PublishRequest, self.publish),
            "GetTopic": (protocol.GetTopicRequest, self.get_topic),
            "ListTopics": (protocol.ListTopicsRequest, self.list_topics),
            "ListTopicSubscriptions": (protocol.ListTopicSubscriptionsRequest, self.list_topic_subscriptions),
            "ListTopicSnapshots": (protocol.ListTopicSnapshotsRequest, self.list_topic_snapshots),
            "DeleteTopic": (protocol.DeleteTopicRequest, self.delete_topic),
            "DetachSubscription": (protocol.DetachSubscriptionRequest, self.detach_subscription),
        }

    async def publish(self, request: Proto, _: Context) -> Proto:
        topic = self._catalog.topic(request.topic)
        check_publish(request)
        self._catalog.check_messages(topic, request.messages)
        numbers = topic.publish(request.messages)
        await self._catalog.journal.commit()
        return protocol.PublishResponse(message_ids=map(str, numbers))

    async def create_topic(self, request: Proto, _: Context) -> Proto:
        check_name(request.name, "topics")
        topic = self._catalog.create_topic(request)
        await self._catalog.journal.commit()
        return topic.config

    async def update_topic(self, request: Proto, _: Context) -> Proto:
        topic = self._catalog.topic(request.topic.name)
        topic = self._catalog.update_topic(updated(topic.config, request.topic, request.update_mask, TOPIC_FIELDS))
        await self._catalog.journal.commit()
        return topic.config

    async def get_topic(self, request: Proto, _: Context) -> Proto:
        check_name(request.topic, "topics")
        return self._catalog.topic(request.topic).config

    async def list_topics(self, request: Proto, _: Context) -> Proto:
        check_project(request.project)
        mine = {
            name: topic.config
            for name, topic in self._catalog.topics.items()
            if name.startswith(f"{request.project}/topics/")
        }
        topics, token = page(mine, request.page_size, request.page_token)
        return protocol.ListTopicsResponse(topics=topics, next_page_token=token)

    async def list_topic_subscriptions(self, request: Proto, _: Context) -> Proto:
        topic = self._catalog.topic(request.topic)
        names, token = page({name: name for name in topic.subscriptions}, request.page_size, request.page_token)
        return protocol.ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    async def list_topic_snapshots(self, request: Proto, _: Context) -> Proto:
        topic = self._catalog.topic(request.topic)
        names, token = page({name: name for name in topic.snapshots}, request.page_size, request.page_token)
        return protocol.ListTopicSnapshotsResponse(snapshots=names, next_page_token=token)

    async def delete_topic(self, request: Proto, _: Context) -> Proto:
        self._catalog.delete_topic(request.topic)
        await self._catalog.journal.commit()
        return EMPTY

    async def detach_subscription(self, request: Proto, _: Context) -> Proto:
        self._catalog.detach(request.subscription)
        await self._catalog.journal.commit()
        return protocol.DetachSubscriptionResponse()
