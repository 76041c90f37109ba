"""The topology: what should exist, as pure values.

Durations are seconds, sizes are bytes, mappings are by name and can't be changed. The defaults are those of the
project (docs/provisioning.md), whatever the cloud's own are: a declaration means the same on each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from polybus.topology.filters import Filter

__all__ = [
    "DEFAULT_DEAD_LETTER_RETENTION",
    "DEFAULT_LEASE",
    "DEFAULT_MAX_ATTEMPTS",
    "DEFAULT_OVER",
    "DEFAULT_RETENTION",
    "PUSH_KINDS",
    "Alarms",
    "Allow",
    "Backoff",
    "Compatibility",
    "Consumers",
    "Format",
    "LargeBodies",
    "Notify",
    "Options",
    "OwnAlarms",
    "Push",
    "Queue",
    "Service",
    "Subscription",
    "Topic",
    "Topology",
    "digest",
]

PUSH_KINDS = ("email", "sms", "https", "function", "forward")

DAY = 86_400.0
DEFAULT_LEASE = 60.0
DEFAULT_MAX_ATTEMPTS = 5
DEFAULT_RETENTION = 7 * DAY
DEFAULT_DEAD_LETTER_RETENTION = 14 * DAY
# The largest body that stays in its message: what is largest on SNS and Service Bus Standard is 256 KiB, attributes and
# the room for a dead letter's reason included.
DEFAULT_OVER = 200 * 1024

Consumers = Literal["polybus", "foreign"]
Compatibility = Literal["backward", "forward", "full", "none"]
Format = Literal["plain", "cloudevents", "cloudevents-structured"]

Options = Mapping[str, Mapping[str, Any]]
"""Provider arguments for one entry, by cloud: what `[topics.orders.aws]` holds."""


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed message waits: `initial` seconds, doubling to `maximum` seconds, with jitter."""

    initial: float = 1.0
    maximum: float = 600.0


@dataclass(frozen=True, slots=True)
class Push:
    """Where the cloud itself delivers; exactly one of the five is set.

    `function` names the function in the cloud's own words: a Lambda ARN, an Azure Functions resource id, a Cloud Run
    URL; or it is a name that the stack config resolves. `forward` names a queue or topic of this bus, which gets the
    messages as if they had been published there. `raw` sends the body alone over HTTPS, without the cloud's envelope.
    """

    email: str | None = None
    sms: str | None = None
    https: str | None = None
    function: str | None = None
    forward: str | None = None
    raw: bool = False

    @property
    def kind(self) -> str:
        """Name the form: "email", "sms", "https", "function" or "forward"."""
        return next(kind for kind in PUSH_KINDS if getattr(self, kind) is not None)

    @property
    def endpoint(self) -> str:
        """Give the address that is set."""
        found: str = getattr(self, self.kind)
        return found


@dataclass(frozen=True, slots=True)
class Allow:
    """Who may use a topic or queue beside the services of the bus.

    `principal` is named in the cloud's own words: a service of AWS's, an account, a role, an object id, a member.
    `actions` are "publish", and "subscribe" of a topic or "consume" of a queue. Of each of `conditions`, the cloud's
    own too, one value has to hold. `cloud` is the one whose words these are; None says that every cloud knows them.
    """

    principal: str
    actions: tuple[str, ...]
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    cloud: str | None = None


@dataclass(frozen=True, slots=True)
class OwnAlarms:
    """What differs for one entry from the alarms of the bus: None is as there, 0 no such alarm.

    `on` of False means that the entry has no alarms at all. What a topic has is for its subscriptions too, where they
    don't say otherwise.
    """

    on: bool = True
    dead_letters: int | None = None
    oldest_age: float | None = None
    backlog: int | None = None
    failed_pushes: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """Where messages are published; every subscription gets its own copy.

    `max_delay` of 0 means that no delay may be asked for. `max_message_size` of None means the cloud's own default.
    `existing` is the ARN or id of a topic to adopt instead of creating one. `clouds` are those that it exists on, ()
    for all. `description` and `owner` are for people: a catalogue shows them, no cloud is told. `schema` says what its
    messages are: a Python type, or a file; `compatibility` says for whom a changed one has to stay readable. `format`
    says how they travel. `fairness_key` is the attribute that tells one tenant's messages from another's: what waits is
    handed out so that no tenant waits behind all of another's.
    """

    name: str
    ordered: bool = False
    max_delay: float = 0.0
    max_message_size: int | None = None
    existing: str | None = None
    options: Options = field(default_factory=_nothing)
    allow: tuple[Allow, ...] = ()
    alarms: OwnAlarms | None = None
    clouds: tuple[str, ...] = ()
    description: str = ""
    owner: str = ""
    schema: str | None = None
    compatibility: Compatibility = "full"
    format: Format = "plain"
    fairness_key: str | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A named, durable view of one topic; `ordered` of None means as its topic is.

    `consumers` says what consumes it: polybus, or what knows the cloud's own counting of attempts alone.
    """

    name: str
    topic: str
    filter: Filter | None = None
    lease: float = DEFAULT_LEASE
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    retention: float = DEFAULT_RETENTION
    dead_letter_retention: float = DEFAULT_DEAD_LETTER_RETENTION
    backoff: Backoff = Backoff()
    ordered: bool | None = None
    push: Push | None = None
    tap: bool = False
    options: Options = field(default_factory=_nothing)
    alarms: OwnAlarms | None = None
    clouds: tuple[str, ...] = ()
    consumers: Consumers = "polybus"
    description: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """Point to point: what is published to it goes to its consumers once; fields as those of topic and subscription."""

    name: str
    ordered: bool = False
    max_delay: float = 0.0
    lease: float = DEFAULT_LEASE
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    retention: float = DEFAULT_RETENTION
    dead_letter_retention: float = DEFAULT_DEAD_LETTER_RETENTION
    backoff: Backoff = Backoff()
    max_message_size: int | None = None
    existing: str | None = None
    options: Options = field(default_factory=_nothing)
    allow: tuple[Allow, ...] = ()
    alarms: OwnAlarms | None = None
    clouds: tuple[str, ...] = ()
    consumers: Consumers = "polybus"
    description: str = ""
    owner: str = ""
    schema: str | None = None
    compatibility: Compatibility = "full"
    format: Format = "plain"
    fairness_key: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A named workload with rights: the topics and queues it publishes to, what it consumes and what it operates."""

    name: str
    publishes: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    operates: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    description: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Notify:
    """Who hears of an alarm: an e-mail address, or a topic of the cloud's own kind by its ARN or id."""

    email: str | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class Alarms:
    """When to raise an alarm: at this many dead letters, this age in seconds, this backlog, this many failed pushes.

    0 means that there is no such alarm.
    """

    dead_letters: int = 1
    oldest_age: float = 900.0
    backlog: int = 10_000
    failed_pushes: int = 1
    notify: Notify = Notify()


@dataclass(frozen=True, slots=True)
class LargeBodies:
    """Bodies of more than `over` bytes are objects beside the bus, and their messages refer to them."""

    over: int = DEFAULT_OVER


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that one bus declares; `source` names where it was read from, for errors alone.

    Without `large_bodies` a body is in its message, whatever its size.

    `origin` is the topology that this one is a part of or was filled in from: it is what was declared.
    """

    name: str
    topics: Mapping[str, Topic] = field(default_factory=_nothing)
    subscriptions: Mapping[str, Subscription] = field(default_factory=_nothing)
    queues: Mapping[str, Queue] = field(default_factory=_nothing)
    services: Mapping[str, Service] = field(default_factory=_nothing)
    alarms: Alarms | None = None
    source: str = "polybus.toml"
    large_bodies: LargeBodies | None = None
    origin: Topology | None = field(default=None, compare=False, repr=False)
    _of: Mapping[str, tuple[Subscription, ...]] = field(init=False, compare=False, repr=False)
    _to: Mapping[str, tuple[Subscription, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Sort subscriptions by topic and by what they forward to: to look at all for each grows with the square."""
        found = self.subscriptions.values()
        object.__setattr__(self, "_of", _grouped(found, _topic_of))
        object.__setattr__(self, "_to", _grouped(found, _target_of))

    def on(self, cloud: str) -> Topology:
        """Give what there is on a cloud: entries that exist there, and of what these refer to the same.

        What refers to more than that is left out here without a word; `polybus.plan.check` refuses it.
        """
        topics = _there(self.topics, cloud)
        queues = _there(self.queues, cloud)
        found = {
            name: item for name, item in _there(self.subscriptions, cloud).items() if _whole(item, {**topics, **queues})
        }
        services = {
            name: dataclasses.replace(
                service,
                publishes=tuple(name for name in service.publishes if name in topics or name in queues),
                consumes=tuple(name for name in service.consumes if name in found or name in queues),
                operates=tuple(name for name in service.operates if name in found or name in queues),
            )
            for name, service in _there(self.services, cloud).items()
        }
        if (topics, found, queues, services) == (self.topics, self.subscriptions, self.queues, self.services):
            return self
        return dataclasses.replace(
            self,
            topics=MappingProxyType(topics),
            subscriptions=MappingProxyType(found),
            queues=MappingProxyType(queues),
            services=MappingProxyType(services),
            origin=self.origin or self,
        )

    def subscriptions_of(self, topic: str) -> tuple[Subscription, ...]:
        """List the subscriptions of a topic, as declared."""
        return self._of.get(topic, ())

    def is_ordered(self, name: str) -> bool:
        """Tell whether a topic, subscription or queue is ordered; a subscription is as its topic unless it says so."""
        if name in self.subscriptions:
            subscription = self.subscriptions[name]
            if subscription.ordered is not None:
                return subscription.ordered
            return self.topics[subscription.topic].ordered
        return self.topics[name].ordered if name in self.topics else self.queues[name].ordered

    def forwards_to(self, name: str) -> tuple[Subscription, ...]:
        """List the subscriptions whose messages the cloud forwards to a queue or topic."""
        return self._to.get(name, ())

    def filter_attributes(self, topic: str) -> frozenset[str]:
        """Collect the attributes that any filter on a topic names: what must travel where the cloud can see it."""
        filters = (subscription.filter for subscription in self.subscriptions_of(topic))
        return frozenset().union(*(filter_.attributes for filter_ in filters if filter_ is not None))


def _grouped(
    items: Iterable[Subscription], key: Callable[[Subscription], str | None]
) -> dict[str, tuple[Subscription, ...]]:
    groups: dict[str, list[Subscription]] = {}
    for item in items:
        name = key(item)
        if name is not None:
            groups.setdefault(name, []).append(item)
    return {name: tuple(group) for name, group in groups.items()}


def _topic_of(item: Subscription) -> str:
    return item.topic


def _target_of(item: Subscription) -> str | None:
    return None if item.push is None else item.push.forward


E = TypeVar("E", Topic, Subscription, Queue, Service)


def _there(entries: Mapping[str, E], cloud: str) -> dict[str, E]:
    return {name: entry for name, entry in entries.items() if not entry.clouds or cloud in entry.clouds}


def _whole(item: Subscription, targets: Mapping[str, object]) -> bool:
    """Tell whether a subscription's topic, and where it forwards to, are there."""
    forward = None if item.push is None else item.push.forward
    return item.topic in targets and (forward is None or forward in targets)


def digest(topology: Topology) -> str:
    """Hash what a topology declares, to 16 hexadecimal digits.

    The order of the entries, spaces inside filters and the file it came from make no difference; any value does. It is
    that of the whole topology, as declared, whatever a cloud has of it and whatever fills in what is open. What is for
    people alone, `description` and `owner`, has no part in it.
    """
    text = json.dumps(_plain(topology.origin or topology), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Where it was read from, what is derived, and what is for people alone.
_LEFT_OUT = frozenset(("source", "origin", "_of", "_to", "description", "owner"))
# What was added later has no part in the digest where it isn't used: else every binding would be of another topology.
_ADDED: Mapping[str, object] = {
    "alarms": None,
    "allow": (),
    "clouds": (),
    "consumers": "polybus",
    "schema": None,
    "compatibility": "full",
    "format": "plain",
    "fairness_key": None,
}
_ADDED_TO_ALL: Mapping[str, object] = {"large_bodies": None}


def _plain(value: object) -> object:
    if isinstance(value, Filter):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        added = _ADDED_TO_ALL if isinstance(value, Topology) else _ADDED
        return {
            name: _plain(item)
            for name, item in fields.items()
            if name not in _LEFT_OUT and (name not in added or item != added[name])
        }
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)  # dates and times, which TOML has, inside pass-through tables
