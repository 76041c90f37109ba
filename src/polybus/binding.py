"""Where a topology was realised, and what the run time must know of it.

A stack exports a binding, services read it. It never holds a secret: credentials come from where the cloud's own SDK
finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from polybus.errors import BindingError

__all__ = ["VERSION", "Backoff", "Binding", "Bodies", "Entity", "Kind", "Rights"]

VERSION = 1

# Backends whose publishers put a message into each subscription themselves.
_EMBEDDED = frozenset({"memory", "sqlite"})


class Kind(StrEnum):
    """What an entity is."""

    TOPIC = "topic"
    SUBSCRIPTION = "subscription"
    QUEUE = "queue"
    DEAD_LETTERS = "dead letters"


class Backoff(msgspec.Struct, frozen=True):
    """Waits between attempts, in seconds: `initial`, doubling to `maximum`, with jitter."""

    initial: float = 1.0
    maximum: float = 600.0


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One topic, subscription or queue, as the run time sees it.

    `name` is the topology's, `address` the cloud's own (an ARN, a queue URL, a resource path, an entity path).
    `dead_letter` is the address of its dead letters (None for topics). `lease` and `max_delay` are in seconds,
    `max_size` in bytes (None: the cloud's own limit). `retention` and `dead_letter_retention` are in seconds from when
    a message came there, so anew with each move; a lease outlasts them. `filter` is the declared filter, for backends
    that evaluate it themselves; `filter_attributes` are the attributes that any filter of the topic names: they must
    travel natively. `tag` is the short hash by which a redriven message reaches this subscription alone. `options` are
    a backend's own. `schema` says what its messages are (docs/contracts.md), None where nothing is declared;
    `format` is "plain", "cloudevents" or "cloudevents-structured" (docs/cloudevents.md). The values of the
    attribute `fairness_key` take turns (docs/flow.md); None where all is one line.
    """

    kind: Kind
    name: str
    address: str
    topic: str | None = None
    dead_letter: str | None = None
    ordered: bool = False
    lease: float = 60.0
    max_attempts: int = 5
    backoff: Backoff = Backoff()
    retention: float = 604_800.0
    dead_letter_retention: float = 1_209_600.0
    max_size: int | None = None
    max_delay: float = 0.0
    filter: str | None = None
    filter_attributes: tuple[str, ...] = ()
    tag: str | None = None
    push: bool = False
    tap: bool = False
    options: Mapping[str, Any] = {}
    schema: str | None = None
    format: str = "plain"
    fairness_key: str | None = None

    @property
    def publishable(self) -> bool:
        """Whether it can be published to."""
        return self.kind in (Kind.TOPIC, Kind.QUEUE)

    @property
    def consumable(self) -> bool:
        """Whether it can be consumed; what is pushed to an endpoint can't."""
        return self.kind in (Kind.SUBSCRIPTION, Kind.QUEUE, Kind.DEAD_LETTERS) and not self.push

    @property
    def keeps_order(self) -> bool:
        """Whether what waits here waits for the earlier messages of its ordering key: never among dead letters."""
        return self.ordered and self.kind is not Kind.DEAD_LETTERS

    @property
    def dead_letters(self) -> Entity:
        """The dead letters of this subscription or queue, to be consumed like any; raises BindingError without.

        `ordered`, `topic` and `max_attempts` stay as they are, since a cloud's dead letters may be of the same kind as
        what they come from (a FIFO queue, on SQS). Dead letters have neither order (`keeps_order`) nor a limit of
        attempts all the same.
        """
        if self.dead_letter is None:
            raise BindingError(f"{self.kind.value} {self.name!r} has no dead letters in the binding")
        return msgspec.structs.replace(
            self,
            kind=Kind.DEAD_LETTERS,
            address=self.dead_letter,
            dead_letter=None,
            filter=None,
            fairness_key=None,
            push=False,
            retention=self.dead_letter_retention,
        )


class Rights(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one service may do: names of topics and queues, of subscriptions and queues, and of any of these."""

    publishes: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    operates: tuple[str, ...] = ()


class Bodies(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the bodies are that are too large for a message: `s3://bucket` and the like, or the path of a folder.

    "" is where an embedded store has them: a folder beside it, or the memory. `options` are those of obstore for it,
    such as a region; no credentials. `over` is the largest body in bytes that stays in its message, where the topology
    declares it: then each bus puts larger ones there and fetches them from there by itself.
    """

    url: str = ""
    options: Mapping[str, Any] = {}
    over: int | None = None


class Binding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole of it.

    `backend` is a registered name (`memory`, `sqlite`, `aws`, `azure`, `gcp`, ...). `settings` are the backend's own:
    a region, a project, a namespace's host name, a file's path. `digest` is the topology's, so that drift shows.
    `bodies` says where `polybus.blobs` stores, None for a folder beside the embedded store.
    """

    backend: str
    bus: str
    version: int = VERSION
    digest: str = ""
    settings: Mapping[str, Any] = {}
    topics: Mapping[str, Entity] = {}
    subscriptions: Mapping[str, Entity] = {}
    queues: Mapping[str, Entity] = {}
    services: Mapping[str, Rights] = {}
    bodies: Bodies | None = None

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = "binding") -> Binding:
        """Read a binding; raise BindingError that names `source` and the place in it."""
        try:
            binding = msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise BindingError(
                f"{source}: {error}; a binding is what `pulumi stack output polybus --json` prints"
            ) from None
        if binding.version != VERSION:
            raise BindingError(
                f"{source}: at $.version: found {binding.version}, this polybus reads {VERSION}; "
                "deploy the stack with the same polybus version, or upgrade polybus here"
            )
        return binding

    @classmethod
    def from_file(cls, path: Path) -> Binding:
        """Read a binding from a file; raise BindingError where it can't be read."""
        try:
            text = path.read_bytes()
        except OSError as error:
            raise BindingError(f"{path}: {error.strerror or error}") from None
        return cls.from_json(text, source=str(path))

    def to_compact_json(self) -> str:
        """Return the binding as JSON in one line, without a space that it doesn't need: for an environment variable."""
        import json  # which keeps what a stack's outputs hold

        # In one order always: what comes from another stack has lost its own, and a function shouldn't change for that.
        return json.dumps(self.to_compact(), separators=(",", ":"), ensure_ascii=False, sort_keys=True)

    def to_compact(self) -> dict[str, Any]:
        """Return the binding as plain data, without what is as it would be anyway."""
        found: dict[str, Any] = _compact(self)
        return found

    def to_json(self) -> str:
        """Return the binding as indented JSON with a final line feed."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    def target(self, name: str) -> Entity:
        """Return what `name` publishes to: a topic or queue; raise BindingError naming the nearest."""
        return self._find(name, "publish to", {**self.queues, **self.topics})

    def source(self, name: str) -> Entity:
        """Return what `name` consumes from: a subscription or queue; raise BindingError naming the nearest."""
        entity = self._find(name, "consume from", {**self.queues, **self.subscriptions})
        if entity.push:
            raise BindingError(f"{name!r} is a push subscription: the cloud delivers it, nothing consumes it")
        return entity

    def entity(self, name: str) -> Entity:
        """Return any entity; a subscription or queue before a topic of the same name."""
        return self._find(name, "find", {**self.topics, **self.queues, **self.subscriptions})

    def subscriptions_of(self, topic: Entity | str) -> tuple[Entity, ...]:
        """Return the subscriptions of a topic, or of the topic of that name."""
        name = topic if isinstance(topic, str) else topic.name
        return tuple(each for each in self.subscriptions.values() if each.topic == name)

    def sources(self) -> tuple[Entity, ...]:
        """Return all that holds messages: subscriptions and queues, each followed by its dead letters."""
        found: list[Entity] = []
        for each in (*self.subscriptions.values(), *self.queues.values()):
            found.append(each)
            if each.dead_letter is not None:
                found.append(each.dead_letters)
        return tuple(found)

    def for_service(self, service: str, *, pushes: Iterable[str] = ()) -> Binding:
        """Return what one service may use and no more; raise BindingError for one that isn't there.

        That is what it publishes to, consumes and operates, with the topics that these subscriptions are of. `pushes`
        are push subscriptions that it handles: which service does that, the topology doesn't say. Where a publisher
        delivers by itself, as to the embedded stores, it keeps what its topics deliver to.
        """
        rights = self.services.get(service)
        if rights is None:
            known = ", ".join(sorted(self.services)) or "none"
            raise BindingError(f"service {service!r} is not declared in bus {self.bus!r}; there are: {known}")
        pushes = frozenset(pushes)
        names = {*rights.publishes, *rights.consumes, *rights.operates, *pushes}
        delivers = rights.publishes if self.backend in _EMBEDDED else ()
        subscriptions = {
            name: entity for name, entity in self.subscriptions.items() if name in names or entity.topic in delivers
        }
        topics = {*rights.publishes, *(entity.topic for entity in subscriptions.values())}
        return msgspec.structs.replace(
            self,
            topics={name: entity for name, entity in self.topics.items() if name in topics},
            subscriptions=subscriptions,
            queues={name: entity for name, entity in self.queues.items() if name in names},
            services={service: rights},
            bodies=self.bodies if rights.publishes or rights.consumes or pushes else None,
        )

    def _find(self, name: str, purpose: str, entities: Mapping[str, Entity]) -> Entity:
        try:
            return entities[name]
        except KeyError:
            import difflib

            near = difflib.get_close_matches(name, entities, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(entities)) or 'none'}"
            raise BindingError(f"nothing named {name!r} to {purpose} in bus {self.bus!r}; {hint}") from None


def _compact(value: Any) -> Any:
    """Leave out what a struct has by default, and write whole numbers without a fraction: they mean the same."""
    if isinstance(value, msgspec.Struct):
        fields = ((each, getattr(value, each.name)) for each in msgspec.structs.fields(value))
        return {each.encode_name: _compact(found) for each, found in fields if found != _default(each)}
    if isinstance(value, Mapping):
        return {key: _compact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_compact(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
