"""Which handler an event is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polybus.app import App
from polybus.binding import Binding, Entity, Kind
from polybus.errors import ConfigError

__all__ = ["Match", "Router", "from_queue", "from_subscription", "from_topic"]

Match = Callable[[Binding, Entity], bool]


class Router:
    """Finds the source whose handler gets an event, by the address that the cloud gives with it.

    `fixed` names the source for all events. Raises ConfigError at once where the app has no handler of it.
    """

    def __init__(self, app: App, binding: Binding, fixed: str | None) -> None:
        self._sources = [handler.source for handler in app.handlers]
        self._binding = binding
        self._fixed = fixed
        if not self._sources:
            raise ConfigError(f"{app!r} has no handlers: a function without them would lose what it is invoked with")
        if fixed is not None and fixed not in self._sources:
            raise ConfigError(f"handles={fixed!r}: the app has no handler of it; there are: {self._listed()}")

    def only(self) -> str:
        """Return the one source there can be, where events don't say where they come from."""
        if self._fixed is not None:
            return self._fixed
        if len(self._sources) > 1:
            raise ConfigError(
                "these events don't say where they come from, and the app has several handlers: make one function "
                f"for each, with handles=... one of: {self._listed()}"
            )
        return self._sources[0]

    def find(self, address: str, match: Match) -> str:
        """Return the source that `address` belongs to; raise ConfigError where none or several of the handlers do."""
        if self._fixed is not None:
            return self._fixed
        found = [name for name in self._sources if self._matches(name, match)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{address} is where {', '.join(found)} come from: say which by handles=...")
        raise ConfigError(
            f"{address} is none of what the app handles ({self._listed()}) in bus {self._binding.bus!r}: deploy "
            "the function with the binding of the stack that invokes it, or say handles=..."
        )

    def _matches(self, name: str, match: Match) -> bool:
        for entities in (self._binding.queues, self._binding.subscriptions):
            entity = entities.get(name)
            if entity is not None and match(self._binding, entity):
                return True
        return False

    def _listed(self) -> str:
        return ", ".join(self._sources)

    def topics(self) -> Sequence[str]:
        """Return the addresses of the topics that push to what the app handles."""
        pushed = [self._binding.subscriptions.get(name) for name in self._sources]
        names = [entity.topic for entity in pushed if entity is not None and entity.push and entity.topic is not None]
        return [self._binding.topics[name].address for name in names if name in self._binding.topics]


def from_queue(arn: str) -> Match:
    """Match what is consumed from an SQS queue: its ARN ends with the account and the name, as its URL does."""
    tail = arn.split(":")[-2:]
    return lambda binding, entity: not entity.push and entity.address.rstrip("/").split("/")[-2:] == tail


def from_topic(arn: str) -> Match:
    """Match what an SNS topic pushes."""

    def match(binding: Binding, entity: Entity) -> bool:
        topic = None if entity.topic is None else binding.topics.get(entity.topic)
        return entity.push and entity.kind is Kind.SUBSCRIPTION and topic is not None and topic.address == arn

    return match


def from_subscription(path: str) -> Match:
    """Match a Pub/Sub subscription."""
    return lambda binding, entity: entity.address == path
