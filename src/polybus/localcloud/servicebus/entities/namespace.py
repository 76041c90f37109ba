"""The namespace: every entity by its path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from polybus.clock import Clock
from polybus.localcloud.events import Events
from polybus.localcloud.servicebus.entities.journal import EntityJournal
from polybus.localcloud.servicebus.entities.mailbox import DEAD_LETTERS, TRANSFER_DEAD_LETTERS, Mailbox
from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.entities.options import (
    AccessRule,
    AnyOptions,
    QueueOptions,
    SubscriptionOptions,
    TopicOptions,
    check_name,
    check_options,
)
from polybus.localcloud.servicebus.entities.topic import Subscription, Topic
from polybus.localcloud.servicebus.paths import entity_path
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, ENTITY_ALREADY_EXISTS, NOT_FOUND, Refusal
from polybus.localcloud.servicebus.rules.rule import Rule

__all__ = ["Namespace"]

Access = Callable[[str, Iterable[AccessRule]], None]
_SUBQUEUES = (TRANSFER_DEAD_LETTERS, DEAD_LETTERS)


_KEPT = "The value for the {name} property of an existing {{kind}} cannot be changed."
_FIXED = {
    "requires_session": _KEPT.format(name="RequiresSession"),
    "detects_duplicates": _KEPT.format(name="RequiresDuplicateDetection"),
    "partitioned": "Partitioning cannot be changed for {kind}. It is fixed when the entity is created.",
}


def _check_fixed(options: AnyOptions, mailbox: Mailbox) -> None:
    """Raise Refusal where options differ from a mailbox's in what is fixed when it is created."""
    kind = type(options).__name__.removesuffix("Options")
    for name, said in _FIXED.items():
        if getattr(options, name, None) != getattr(mailbox.options, name, None):
            raise Refusal(ARGUMENT_ERROR, said.format(kind=kind))


class Namespace:
    """Creates, finds and deletes entities. Names are case-insensitive. For the server's own event loop."""

    def __init__(self, clock: Clock, journal: EntityJournal, access: Access = lambda path, rules: None) -> None:
        self.clock = clock
        self.journal = journal
        self.events = Events()
        self.access = access
        self.entities: dict[str, Mailbox] = {}

    # -- finding

    def find(self, address: str) -> Mailbox:
        """Return the queue, topic, subscription or sub-queue of an address; raise Refusal."""
        path = entity_path(address)
        lowered, suffix = path.lower(), ""
        for ending in _SUBQUEUES:
            if lowered.endswith(ending.lower()):
                lowered, suffix = lowered[: -len(ending)], ending
                break
        topic, middle, subscription = lowered.partition("/subscriptions/")
        found = self.entities.get(topic)
        if middle and found is not None:
            found = found.subscriptions.get(subscription) if isinstance(found, Topic) else None
        if found is None or (suffix and isinstance(found, Topic)):
            raise Refusal(NOT_FOUND, f"The messaging entity '{path}' could not be found.")
        return found.letters(suffix) if suffix else found

    def topic(self, name: str) -> Topic:
        found = self.entities.get(entity_path(name).lower())
        if not isinstance(found, Topic):
            raise Refusal(NOT_FOUND, f"The topic '{name}' could not be found.")
        return found

    def queue(self, name: str) -> Mailbox:
        found = self.entities.get(entity_path(name).lower())
        if found is None or isinstance(found, Topic):
            raise Refusal(NOT_FOUND, f"The queue '{name}' could not be found.")
        return found

    def queues(self) -> list[Mailbox]:
        return sorted((m for m in self.entities.values() if not isinstance(m, Topic)), key=lambda m: m.key)

    def topics(self) -> list[Topic]:
        return sorted((m for m in self.entities.values() if isinstance(m, Topic)), key=lambda m: m.key)

    # -- creating and changing

    def create_queue(self, name: str, options: QueueOptions = QueueOptions()) -> Mailbox:  # noqa: B008 - frozen
        """Create a queue; raise Refusal where the name is taken or a value isn't allowed."""
        self._check_new(name, options)
        queue = self.entities[name.lower()] = Mailbox(self, name, options)
        self._save(queue)
        return queue

    def create_topic(self, name: str, options: TopicOptions = TopicOptions()) -> Topic:  # noqa: B008 - frozen
        """Create a topic; raise Refusal where the name is taken or a value isn't allowed."""
        self._check_new(name, options)
        topic = self.entities[name.lower()] = Topic(self, name, options)
        self._save(topic)
        return topic

    def create_subscription(
        self,
        topic: str,
        name: str,
        options: SubscriptionOptions = SubscriptionOptions(),  # noqa: B008 - frozen
        rules: Iterable[Rule] | None = None,
    ) -> Subscription:
        """Create a subscription with `rules`; None is the rule $Default, which passes everything. Raise Refusal."""
        parent = self.topic(topic)
        check_name(name, child=True)
        check_options(options)
        if name.lower() in parent.subscriptions:
            raise Refusal(ENTITY_ALREADY_EXISTS, f"The subscription '{name}' of '{topic}' already exists.")
        subscription = Subscription(self, parent, name, options)
        for rule in [Rule()] if rules is None else rules:
            subscription.put_rule(dataclasses.replace(rule, created=rule.created or self.clock.time()))
        parent.subscriptions[name.lower()] = subscription
        self._save(subscription)
        return subscription

    def update(self, path: str, options: QueueOptions | TopicOptions | SubscriptionOptions) -> Mailbox:
        """Change an entity's options; raise Refusal, also for options that are fixed at creation."""
        mailbox = self.find(path)
        check_options(options)
        if type(options) is not type(mailbox.options):
            raise Refusal(ARGUMENT_ERROR, f"'{path}' is of another kind.")
        _check_fixed(options, mailbox)
        mailbox.configure(options)
        mailbox.updated = self.clock.time()
        if mailbox.forward_to is not None:
            for message in mailbox.dispatch.ready_messages():
                mailbox.remove(message)
                mailbox.forward(message, mailbox.forward_to)
        self._save(mailbox)
        return mailbox

    def put_rule(self, topic: str, subscription: str, rule: Rule, *, replace: bool = False) -> Rule:
        """Add a rule to a subscription, or replace the one of its name; raise Refusal."""
        check_name(rule.name, child=True)
        found = self.topic(topic).subscription(subscription)
        rule = dataclasses.replace(rule, created=rule.created or self.clock.time())
        found.put_rule(rule, replace=replace)
        self._save(found)
        return rule

    def drop_rule(self, topic: str, subscription: str, name: str) -> None:
        found = self.topic(topic).subscription(subscription)
        found.drop_rule(name)
        self._save(found)

    def delete(self, path: str) -> None:
        """Delete a queue, topic or subscription with all it holds, and detach who uses it; raise Refusal."""
        mailbox = self.find(path)
        if isinstance(mailbox, Subscription):
            del mailbox.topic.subscriptions[mailbox.name.lower()]
        elif self.entities.pop(mailbox.key, None) is None:
            raise Refusal(ARGUMENT_ERROR, f"'{path}' is a part of its entity and can't be deleted.")
        for gone in [*(mailbox.subscriptions.values() if isinstance(mailbox, Topic) else ()), mailbox]:
            gone.close(Refusal(NOT_FOUND, f"The messaging entity '{gone.path}' has been deleted."))
            gone.erase()
            self.journal.put_entity(gone.key, None)
            self.access(gone.path, ())

    def _check_new(self, name: str, options: QueueOptions | TopicOptions) -> None:
        check_name(name)
        check_options(options)
        if name.lower() in self.entities:
            raise Refusal(ENTITY_ALREADY_EXISTS, f"The messaging entity '{name}' already exists.")

    # -- keeping

    def _save(self, mailbox: Mailbox) -> None:
        row: dict[str, Any] = {"path": mailbox.path, "options": dataclasses.asdict(mailbox.options)}
        row |= {"created": mailbox.created, "updated": mailbox.updated}
        self.access(mailbox.path, getattr(mailbox.options, "access", ()))
        if isinstance(mailbox, Subscription):
            row |= {"kind": "subscription", "topic": mailbox.topic.path, "name": mailbox.name}
            row["rules"] = [compiled.rule.row() for compiled in mailbox.rules.values()]
        else:
            row["kind"] = "topic" if isinstance(mailbox, Topic) else "queue"
        self.journal.put_entity(mailbox.key, row)

    def load(self) -> None:
        """Take back everything that the journal's store holds; on a running event loop."""
        rows = [row for _, _, row in self.journal.load("entity")]
        for row in sorted(rows, key=lambda row: str(row["kind"]) == "subscription"):
            self._restore(row)
        for path, _, sequence in self.journal.load("sequence"):
            self.find(path).sequence = sequence
        seen: dict[str, list[tuple[str, float]]] = {}
        for path, key, when in self.journal.load("duplicate"):
            seen.setdefault(path, []).append((key, when))
        for path, entries in seen.items():
            self.find(path).duplicates.restore(entries)
        for path, session, state in self.journal.load("session"):
            if (sessions := self.find(path).sessions) is not None:
                sessions.restore_state(session, state)
        for path, _, fields in self.journal.load("message"):
            self.find(path).restore(Message.from_row(fields))

    def _restore(self, row: Mapping[str, Any]) -> None:
        options = dict(row["options"])
        if "access" in options:
            options["access"] = tuple(AccessRule.from_row(rule) for rule in options["access"])
        match row["kind"]:
            case "queue":
                found: Mailbox = self.create_queue(row["path"], QueueOptions(**options))
            case "topic":
                found = self.create_topic(row["path"], TopicOptions(**options))
            case _:
                rules = [Rule.from_row(rule) for rule in row["rules"]]
                found = self.create_subscription(row["topic"], row["name"], SubscriptionOptions(**options), rules)
        found.created, found.updated = row.get("created", found.created), row.get("updated", found.updated)

    def forget(self) -> None:
        """Have no entities, whatever the store has; only once it is closed."""
        for path in self.entities:
            self.access(path, ())
        self.entities.clear()

    def close(self, refusal: Refusal) -> None:
        for mailbox in self.entities.values():
            mailbox.close(refusal)
            if isinstance(mailbox, Topic):
                for subscription in mailbox.subscriptions.values():
                    subscription.close(refusal)
