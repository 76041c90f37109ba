"""google.pubsub.v1.Subscriber, but for delivery: subscriptions, snapshots and seeking."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from polybus.localcloud.pubsub import protocol
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.names import check_name, check_project, project_of
from polybus.localcloud.pubsub.paging import page
from polybus.localcloud.pubsub.protocol import EMPTY, Proto, copy, seconds
from polybus.localcloud.pubsub.push import Pushes
from polybus.localcloud.pubsub.refusal import invalid, unmet
from polybus.localcloud.pubsub.settings import SNAPSHOT_FIELDS, SUBSCRIPTION_FIELDS, updated
from polybus.localcloud.pubsub.subscription import Subscription
from polybus.localcloud.pubsub.wire import Context, Method

__all__ = ["Subscriber"]


class Subscriber:
    NAME = "google.pubsub.v1.Subscriber"

    def __init__(self, catalog: Catalog, pushes: Pushes) -> None:
        self._catalog = catalog
        self._pushes = pushes

    def methods(self) -> Mapping[str, Method]:
        return {
            "CreateSubscription": (protocol.Subscription, self.create_subscription),
            "GetSubscription": (protocol.GetSubscriptionRequest, self.get_subscription),
            "UpdateSubscription": (protocol.UpdateSubscriptionRequest, self.update_subscription),
            "ListSubscriptions": (protocol.ListSubscriptionsRequest, self.list_subscriptions),
            "DeleteSubscription": (protocol.DeleteSubscriptionRequest, self.delete_subscription),
            "ModifyPushConfig": (protocol.ModifyPushConfigRequest, self.modify_push_config),
            "GetSnapshot": (protocol.GetSnapshotRequest, self.get_snapshot),
            "ListSnapshots": (protocol.ListSnapshotsRequest, self.list_snapshots),
            "CreateSnapshot": (protocol.CreateSnapshotRequest, self.create_snapshot),
            "UpdateSnapshot": (protocol.UpdateSnapshotRequest, self.update_snapshot),
            "DeleteSnapshot": (protocol.DeleteSnapshotRequest, self.delete_snapshot),
            "Seek": (protocol.SeekRequest, self.seek),
        }

    def _described(self, subscription: Subscription) -> Proto:
        topic = self._catalog.topics.get(subscription.config.topic)
        if topic is None or not topic.config.HasField("message_retention_duration"):
            return subscription.config
        described = copy(subscription.config)
        described.topic_message_retention_duration.CopyFrom(topic.config.message_retention_duration)
        return described

    # -- subscriptions

    async def create_subscription(self, request: Proto, _: Context) -> Proto:
        check_name(request.name, "subscriptions")
        subscription = self._catalog.create_subscription(request)
        self._pushes.serve(subscription)
        await self._catalog.journal.commit()
        return self._described(subscription)

    async def get_subscription(self, request: Proto, _: Context) -> Proto:
        check_name(request.subscription, "subscriptions")
        return self._described(self._catalog.subscription(request.subscription))

    async def update_subscription(self, request: Proto, _: Context) -> Proto:
        current = self._catalog.subscription(request.subscription.name).config
        return await self._reconfigure(updated(current, request.subscription, request.update_mask, SUBSCRIPTION_FIELDS))

    async def modify_push_config(self, request: Proto, _: Context) -> Proto:
        config = copy(self._catalog.subscription(request.subscription).config)
        config.push_config.CopyFrom(request.push_config)
        await self._reconfigure(config)
        return EMPTY

    async def _reconfigure(self, config: Proto) -> Proto:
        subscription = self._catalog.update_subscription(config)
        self._pushes.serve(subscription)
        await self._catalog.journal.commit()
        return self._described(subscription)

    async def list_subscriptions(self, request: Proto, _: Context) -> Proto:
        check_project(request.project)
        mine = {
            name: subscription
            for name, subscription in self._catalog.subscriptions.items()
            if name.startswith(f"{request.project}/subscriptions/")
        }
        shown, token = page(mine, request.page_size, request.page_token)
        return protocol.ListSubscriptionsResponse(
            subscriptions=[self._described(subscription) for subscription in shown], next_page_token=token
        )

    async def delete_subscription(self, request: Proto, _: Context) -> Proto:
        self._catalog.delete_subscription(request.subscription)
        await self._catalog.journal.commit()
        return EMPTY

    # -- snapshots

    async def create_snapshot(self, request: Proto, _: Context) -> Proto:
        source = self._catalog.attached(request.subscription)
        # Google names one that nobody has named, in the subscription's project.
        name = request.name or f"projects/{project_of(source.name)}/snapshots/snapshot-{uuid4().hex}"
        check_name(name, "snapshots")
        config = protocol.Snapshot(name=name, labels=request.labels)
        snapshot = self._catalog.create_snapshot(config, source)
        await self._catalog.journal.commit()
        return snapshot.config

    async def get_snapshot(self, request: Proto, _: Context) -> Proto:
        return self._catalog.snapshot(request.snapshot).config

    async def list_snapshots(self, request: Proto, _: Context) -> Proto:
        check_project(request.project)
        mine = {
            name: snapshot.config
            for name, snapshot in self._catalog.snapshots.items()
            if name.startswith(f"{request.project}/snapshots/")
        }
        shown, token = page(mine, request.page_size, request.page_token)
        return protocol.ListSnapshotsResponse(snapshots=shown, next_page_token=token)

    async def update_snapshot(self, request: Proto, _: Context) -> Proto:
        current = self._catalog.snapshot(request.snapshot.name).config
        config = updated(current, request.snapshot, request.update_mask, SNAPSHOT_FIELDS)
        snapshot = self._catalog.update_snapshot(config)
        await self._catalog.journal.commit()
        return snapshot.config

    async def delete_snapshot(self, request: Proto, _: Context) -> Proto:
        self._catalog.delete_snapshot(request.snapshot)
        await self._catalog.journal.commit()
        return EMPTY

    # -- seeking

    async def seek(self, request: Proto, _: Context) -> Proto:
        subscription = self._catalog.attached(request.subscription)
        topic = self._catalog.topics.get(subscription.config.topic)
        if request.HasField("time"):
            since = seconds(request.time)
            subscription.seek(topic.log if topic is not None else (), lambda message: message.published >= since)
        elif request.HasField("snapshot"):
            snapshot = self._catalog.snapshot(request.snapshot)
            if topic is None or snapshot.config.topic != topic.name:
                raise unmet("The snapshot's topic must be the same as that of the subscription.")
            unacked = snapshot.messages
            subscription.seek(unacked.values(), lambda message: message.number in unacked)
        else:
            raise invalid("The seek request must have a time or a snapshot to seek to.")
        await self._catalog.journal.commit()
        return protocol.SeekResponse()
