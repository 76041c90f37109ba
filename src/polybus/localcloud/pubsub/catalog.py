"""All that the server has: topics, subscriptions, snapshots, schemas and policies; how they come, go and refer."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from polybus.clock import Clock
from polybus.localcloud.events import Events
from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.encoding import decode
from polybus.localcloud.pubsub.iam import Policies
from polybus.localcloud.pubsub.journal import MessageJournal
from polybus.localcloud.pubsub.message import Message
from polybus.localcloud.pubsub.names import DELETED_SCHEMA, DELETED_TOPIC, project_of
from polybus.localcloud.pubsub.protocol import Proto, Schema, copy, set_time
from polybus.localcloud.pubsub.protocol import Snapshot as SnapshotConfig
from polybus.localcloud.pubsub.protocol import Subscription as SubscriptionConfig
from polybus.localcloud.pubsub.protocol import Topic as TopicConfig
from polybus.localcloud.pubsub.refusal import Refused, already_exists, invalid, not_found, unmet
from polybus.localcloud.pubsub.schema import SchemaRevisions
from polybus.localcloud.pubsub.settings import check_subscription, check_topic
from polybus.localcloud.pubsub.snapshot import Snapshot
from polybus.localcloud.pubsub.subscription import Subscription
from polybus.localcloud.pubsub.topic import Topic

__all__ = ["Catalog"]

_ACTIVE = 1  # Topic.State.ACTIVE and Subscription.State.ACTIVE


class Catalog:
    """Resources by name. Methods refuse with Refused; what they change is durable once the journal commits."""

    def __init__(
        self, clock: Clock, journal: MessageJournal, *, enforce_iam: bool, events: Events | None = None
    ) -> None:
        self.clock = clock
        self.events = Events() if events is None else events
        self.journal = journal
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.schemas: dict[str, SchemaRevisions] = {}
        self.policies = Policies(journal, enforce_iam)

    def load(self) -> None:
        """Take up what the store holds."""
        rows = {table: list(self.journal.rows(table)) for table in ("topic", "subscription", "snapshot", "schema")}
        holds = self.journal.load()
        self.policies.load()
        for _, (tag, config) in rows["topic"]:
            self._open_topic(TopicConfig.FromString(config), tag).restore(holds.get(tag, ()))
        for _, (tag, config) in rows["subscription"]:
            self._open_subscription(SubscriptionConfig.FromString(config), tag).restore(holds.get(tag, ()))
        for _, (tag, config) in rows["snapshot"]:
            self._open_snapshot(SnapshotConfig.FromString(config), tag).restore(holds.get(tag, ()))
        for name, (_, kept) in rows["schema"]:
            # Folders of before revisions have the one by itself.
            revisions = kept if isinstance(kept, list) else [kept]
            self.schemas[name] = SchemaRevisions([Schema.FromString(config) for config in revisions])

    def _save(self, table: str, config: Proto, tag: str = "") -> None:
        self.journal.save(table, config.name, [tag, config.SerializeToString()])

    def _tag(self) -> str:
        return f"{self.journal.number():x}"

    def exists(self, name: str) -> bool:
        """Say whether a resource of any kind has this name."""
        return any(name in kind for kind in (self.topics, self.subscriptions, self.snapshots, self.schemas))

    # -- topics

    def topic(self, name: str) -> Topic:
        topic = self.topics.get(name)
        if topic is None:
            raise not_found(name)
        return topic

    def create_topic(self, config: Proto) -> Topic:
        self._check_topic(config)
        if config.name in self.topics:
            raise already_exists(config.name)
        config.state = _ACTIVE
        topic = self._open_topic(config, self._tag())
        self._save("topic", config, topic.tag)
        return topic

    def _open_topic(self, config: Proto, tag: str) -> Topic:
        topic = self.topics[config.name] = Topic(config, tag, self.clock, self.journal, self.events)
        return topic

    def update_topic(self, config: Proto) -> Topic:
        topic = self.topic(config.name)
        self._check_topic(config)
        topic.configure(config)
        self._save("topic", config, topic.tag)
        return topic

    def _check_topic(self, config: Proto) -> None:
        check_topic(config)
        if config.HasField("schema_settings"):
            settings = config.schema_settings
            if settings.schema != DELETED_SCHEMA:
                self.schema(settings.schema).range_of(settings)

    def check_messages(self, topic: Topic, messages: Iterable[Proto]) -> None:
        """Refuse messages that aren't of their topic's schema, and note on others of which revision they are."""
        config = topic.config
        if not config.HasField("schema_settings"):
            return
        settings = config.schema_settings
        if settings.schema == DELETED_SCHEMA:
            raise unmet("The topic's schema was deleted: nothing can be published to it.")
        schema = self.schema(settings.schema)
        for message in messages:
            schema.check(settings, message)

    def delete_topic(self, name: str) -> None:
        """Delete a topic; its subscriptions keep what they have, and get no more."""
        topic = self.topic(name)
        for subscription in topic.subscriptions.values():
            config = copy(subscription.config)
            config.topic = DELETED_TOPIC
            subscription.configure(config)
            self._save("subscription", config, subscription.tag)
        topic.close()
        del self.topics[name]
        self.journal.drop("topic", name)
        self.policies.drop(name)

    # -- subscriptions

    def subscription(self, name: str) -> Subscription:
        subscription = self.subscriptions.get(name)
        if subscription is None:
            raise not_found(name)
        return subscription

    def attached(self, name: str) -> Subscription:
        """Return a subscription that can deliver."""
        subscription = self.subscription(name)
        if subscription.config.detached:
            raise unmet(f"The subscription is detached (resource={name.rpartition('/')[2]}).")
        return subscription

    def create_subscription(self, config: Proto) -> Subscription:
        if config.name in self.subscriptions:
            raise already_exists(config.name)
        self.topic(config.topic)
        check_subscription(config)
        self._check_dead_letter_topic(config)
        config.state = _ACTIVE
        config.detached = False
        subscription = self._open_subscription(config, self._tag())
        self._save("subscription", config, subscription.tag)
        return subscription

    def _open_subscription(self, config: Proto, tag: str) -> Subscription:
        subscription = Subscription(
            config,
            tag,
            clock=self.clock,
            journal=self.journal,
            forward=self._forward,
            expire=self._expire_subscription,
            events=self.events,
        )
        self.subscriptions[config.name] = subscription
        topic = self.topics.get(config.topic)
        if topic is not None and not config.detached:
            topic.subscriptions[config.name] = subscription
        return subscription

    def update_subscription(self, config: Proto) -> Subscription:
        subscription = self.subscription(config.name)
        check_subscription(config)
        self._check_dead_letter_topic(config)
        subscription.configure(config)
        self._save("subscription", config, subscription.tag)
        return subscription

    def _check_dead_letter_topic(self, config: Proto) -> None:
        if not config.HasField("dead_letter_policy"):
            return
        topic = config.dead_letter_policy.dead_letter_topic
        if not topic:
            raise invalid("The dead_letter_policy must name a dead_letter_topic.")
        self.topic(topic)

    def delete_subscription(self, name: str) -> None:
        subscription = self.subscription(name)
        topic = self.topics.get(subscription.config.topic)
        if topic is not None:
            topic.subscriptions.pop(name, None)
        subscription.close(not_found(name))
        del self.subscriptions[name]
        self.journal.drop("subscription", name)
        self.policies.drop(name)

    def detach(self, name: str) -> None:
        """Cut a subscription off its topic; what it retained is dropped."""
        subscription = self.attached(name)
        topic = self.topics.get(subscription.config.topic)
        if topic is not None:
            topic.subscriptions.pop(name, None)
        subscription.close(unmet(f"The subscription is detached (resource={name.rpartition('/')[2]})."))
        config = copy(subscription.config)
        config.detached = True
        subscription.configure(config)
        self._save("subscription", config, subscription.tag)

    def _expire_subscription(self, name: str) -> None:
        self.delete_subscription(name)
        self.journal.flush_soon()

    # -- dead letters

    def _forward(self, source: Subscription, message: Message, attempts: int) -> bool:
        """Publish a message that has had its last delivery to the dead-letter topic, where that may and can be done."""
        target = self.topics.get(source.config.dead_letter_policy.dead_letter_topic)
        if target is None or not self.policies.forwards(source.name, target.name):
            return False
        letter = decode(message.wire)
        attributes = letter.attributes
        attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = str(attempts)
        attributes["CloudPubSubDeadLetterSourceSubscription"] = source.name.rpartition("/")[2]
        attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] = project_of(source.name)
        attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = letter.publish_time.ToJsonString()
        letter.ClearField("message_id")
        letter.ClearField("publish_time")
        target.publish([letter])
        return True

    # -- snapshots

    def snapshot(self, name: str) -> Snapshot:
        snapshot = self.snapshots.get(name)
        if snapshot is None:
            raise not_found(name)
        return snapshot

    def create_snapshot(self, config: Proto, source: Subscription) -> Snapshot:
        """Make a snapshot of what is unacked; it lives for seven days less the age of the oldest of that."""
        if config.name in self.snapshots:
            raise already_exists(config.name)
        topic = self.topics.get(source.config.topic)
        if topic is None:
            raise unmet("The subscription's topic was deleted: there is nothing to make a snapshot of.")
        unacked = source.unacked()
        now = self.clock.time()
        expires = (unacked[0].published if unacked else now) + limits.SNAPSHOT_LIFE
        if expires < now + limits.SNAPSHOT_MINIMUM:
            raise unmet(
                "The subscription's oldest unacked message is too old: the snapshot would expire within an hour."
            )
        config.topic = topic.name
        set_time(config.expire_time, expires)
        snapshot = self._open_snapshot(config, self._tag())
        snapshot.add(unacked)
        self._save("snapshot", config, snapshot.tag)
        return snapshot

    def _open_snapshot(self, config: Proto, tag: str) -> Snapshot:
        snapshot = Snapshot(config, tag, clock=self.clock, journal=self.journal, expire=self._expire_snapshot)
        self.snapshots[config.name] = snapshot
        topic = self.topics.get(config.topic)
        if topic is not None:
            topic.snapshots[config.name] = snapshot
        return snapshot

    def update_snapshot(self, config: Proto) -> Snapshot:
        snapshot = self.snapshot(config.name)
        snapshot.configure(config)
        self._save("snapshot", config, snapshot.tag)
        return snapshot

    def delete_snapshot(self, name: str) -> None:
        snapshot = self.snapshot(name)
        topic = self.topics.get(snapshot.config.topic)
        if topic is not None:
            topic.snapshots.pop(name, None)
        snapshot.close()
        del self.snapshots[name]
        self.journal.drop("snapshot", name)
        self.policies.drop(name)

    def _expire_snapshot(self, name: str) -> None:
        self.delete_snapshot(name)
        self.journal.flush_soon()

    # -- schemas

    def schema(self, name: str) -> SchemaRevisions:
        schema = self.schemas.get(name)
        if schema is None:
            raise not_found(name)
        return schema

    def create_schema(self, schema: Proto) -> None:
        if schema.name in self.schemas:
            raise already_exists(schema.name)
        self.schemas[schema.name] = SchemaRevisions([schema])
        self.save_schema(schema.name)

    def save_schema(self, name: str) -> None:
        """Keep a schema whose revisions were changed."""
        rows = [revision.SerializeToString() for revision in self.schema(name).revisions]
        self.journal.save("schema", name, ["", rows])

    def delete_schema(self, name: str) -> None:
        """Delete a schema; topics that name it take nothing any more."""
        self.schema(name)
        del self.schemas[name]
        for topic in self.topics.values():
            if topic.config.schema_settings.schema == name:
                config = copy(topic.config)
                config.schema_settings.schema = DELETED_SCHEMA
                topic.configure(config)
                self._save("topic", config, topic.tag)
        self.journal.drop("schema", name)
        self.policies.drop(name)

    # -- the end

    def stop(self) -> None:
        """End every stream and pull, as a server that goes away does, and every timer."""
        reason = Refused(grpc.StatusCode.UNAVAILABLE, "The server is shutting down.")
        for subscription in self.subscriptions.values():
            subscription.stop(reason)
        for topic in self.topics.values():
            topic.stop()
        for snapshot in self.snapshots.values():
            snapshot.stop()
