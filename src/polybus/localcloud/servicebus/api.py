"""The entities of a server, for code in its own process: tests, and what realises a plan locally."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from polybus.localcloud.servicebus.entities.journal import EntityJournal
from polybus.localcloud.servicebus.entities.namespace import Namespace
from polybus.localcloud.servicebus.entities.options import Counts, QueueOptions, SubscriptionOptions, TopicOptions
from polybus.localcloud.servicebus.rules.rule import Rule

__all__ = ["Entities"]

T = TypeVar("T")


class Entities:
    """Creates, changes and inspects entities; every method is callable from any thread and raises Refusal.

    From another thread than the server's, a method returns once its change is durable; from the server's own loop at
    once, and the change is durable with the next answer. Options are those of entities/options.py.
    """

    def __init__(
        self, namespace: Namespace, journal: EntityJournal, loop: Callable[[], asyncio.AbstractEventLoop | None]
    ) -> None:
        self._namespace = namespace
        self._journal = journal
        self._loop = loop

    def _run(self, function: Callable[[], T]) -> T:
        loop = self._loop()
        if loop is None:
            return function()
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            result = function()
            self._journal.flush()
            return result

        async def there() -> T:
            result = function()
            durable = asyncio.get_running_loop().create_future()
            self._journal.after_commit(durable.set_result)
            failure = await durable
            if failure is not None:
                raise failure
            return result

        return asyncio.run_coroutine_threadsafe(there(), loop).result()

    def create_queue(self, name: str, options: QueueOptions = QueueOptions()) -> None:  # noqa: B008 - frozen
        """Create a queue."""
        self._run(lambda: self._namespace.create_queue(name, options))

    def create_topic(self, name: str, options: TopicOptions = TopicOptions()) -> None:  # noqa: B008 - frozen
        """Create a topic."""
        self._run(lambda: self._namespace.create_topic(name, options))

    def create_subscription(
        self,
        topic: str,
        name: str,
        options: SubscriptionOptions = SubscriptionOptions(),  # noqa: B008 - frozen
        rules: Iterable[Rule] | None = None,
    ) -> None:
        """Create a subscription with `rules`; None is the rule $Default, which passes everything."""
        self._run(lambda: self._namespace.create_subscription(topic, name, options, rules))

    def update(self, path: str, options: QueueOptions | TopicOptions | SubscriptionOptions) -> None:
        """Change the options of the entity with that path."""
        self._run(lambda: self._namespace.update(path, options))

    def put_rule(self, topic: str, subscription: str, rule: Rule, *, replace: bool = False) -> None:
        """Add a rule, or replace the one of its name."""
        self._run(lambda: self._namespace.put_rule(topic, subscription, rule, replace=replace))

    def drop_rule(self, topic: str, subscription: str, name: str) -> None:
        """Remove a rule."""
        self._run(lambda: self._namespace.drop_rule(topic, subscription, name))

    def rules(self, topic: str, subscription: str) -> list[Rule]:
        """Return the rules of a subscription."""
        return self._run(
            lambda: [c.rule for c in self._namespace.topic(topic).subscription(subscription).rules.values()]
        )

    def delete(self, path: str) -> None:
        """Delete the queue, topic or subscription (`topic/Subscriptions/name`) with all that it holds."""
        self._run(lambda: self._namespace.delete(path))

    def options(self, path: str) -> QueueOptions | TopicOptions | SubscriptionOptions:
        """Return the options of the entity with that path."""
        return self._run(lambda: self._namespace.find(path).options)

    def counts(self, path: str) -> Counts:
        """Return how many messages an entity holds."""
        return self._run(lambda: self._namespace.find(path).counts())

    def queues(self) -> list[str]:
        return self._run(lambda: [queue.path for queue in self._namespace.queues()])

    def topics(self) -> list[str]:
        return self._run(lambda: [topic.path for topic in self._namespace.topics()])

    def subscriptions(self, topic: str) -> list[str]:
        """Return the names of a topic's subscriptions."""
        return self._run(lambda: [s.name for s in self._namespace.topic(topic).subscriptions.values()])
