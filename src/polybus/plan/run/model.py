"""What runs a service, in no platform's words, and what a cloud says of the platforms that it has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from polybus.binding import Binding, Entity
from polybus.plan.names import physical_name, short_hash
from polybus.plan.run.asked import DEFAULT, Asked
from polybus.plan.values import Ref, marked
from polybus.topology.model import Service, Subscription
from polybus.topology.quantities import format_duration

__all__ = [
    "BLANK",
    "HEALTH_PORT",
    "Document",
    "Platform",
    "Running",
    "Scene",
    "Source",
    "Workload",
    "Written",
    "blank",
    "blank_name",
    "label_name",
]

Document: TypeAlias = Mapping[str, Any]

BLANK = "$"
"""Where a reference names this in place of a resource, its output is the name of what whoever deploys fills in."""

HEALTH_PORT = 8080
"""What `polybus run --health` listens to: above 1023, so that it takes no rights."""


def blank(name: str) -> str:
    """Return the text that stands for what the stack's configuration doesn't say, until the end."""
    return marked(Ref(BLANK, name))


def blank_name(*parts: str) -> str:
    """Name a blank by its parts: billing and "image" are BILLING_IMAGE."""
    return re.sub(r"[^A-Z0-9]+", "_", "_".join(parts).upper()).strip("_")


def label_name(*parts: str, longest: int) -> str:
    """Name something where a DNS label is wanted: a-z, 0-9 and hyphens, beginning with a letter.

    What had to be changed for it has a hash of what it was, so that no two of a bus are one.
    """
    given = [part for part in parts if part]
    fit = [re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in given]
    if fit == given:
        return physical_name(*given, longest=longest)
    return f"{'-'.join(fit)[: longest - 9].rstrip('-')}-{short_hash('/'.join(given))}"


@dataclass(frozen=True, slots=True)
class Source:
    """What a service consumes, with where it is; its messages are counted to scale the service."""

    name: str
    entity: Entity

    @property
    def address(self) -> str:
        """What the cloud calls it, as the binding has it."""
        return self.entity.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One service as something that runs.

    `image` and `apps` are what runs it, of `least` to `most` replicas, each for `messages` that wait or are in flight,
    of the fullest source. `grace` are the seconds that its handlers have, `cpu` its cores, `memory` its MiB. `pushed`
    are the push subscriptions that it handles. `binding` is what it may use; `reference` is where the stack puts
    that, "" where it puts it nowhere.
    """

    bus: str
    stack: str
    service: Service
    image: str
    apps: tuple[str, ...]
    least: int
    most: int
    messages: int
    grace: float
    cpu: float
    memory: int
    sources: tuple[Source, ...]
    pushed: tuple[Subscription, ...]
    binding: Binding
    reference: str = ""

    def name(self, longest: int) -> str:
        """Name what runs the service, as a DNS label."""
        return label_name(self.bus, self.stack, self.service.name, longest=longest)

    def blank(self, what: str) -> str:
        """Stand for what is to be filled in of this service."""
        return blank(blank_name(self.service.name, what))

    @property
    def scales(self) -> bool:
        """Whether there is anything to scale it by, and anything to scale."""
        return bool(self.sources) and self.least != self.most

    @property
    def command(self) -> tuple[str, ...]:
        """Give what its container runs."""
        grace = ("--grace", format_duration(self.grace))
        return ("polybus", "run", *self.apps, "--health", str(HEALTH_PORT), *grace, "--log-format", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a platform is written for. `plan` is the cloud's own, `find` gives its resources' outputs as text.

    `namespace` is of Kubernetes, `identity` how processes prove there who they are, "" for the cloud's usual way;
    `jobs` asks for what ends by itself.
    """

    plan: Any
    find: Callable[[Ref], str]
    workloads: Sequence[Workload]
    namespace: str = "default"
    identity: str = ""
    jobs: bool = False


@dataclass(slots=True)
class Written:
    """Documents by the name of their file, without its suffix, and what has to be said beside them.

    `plain` are files of which each is one JSON document, and no YAML.
    """

    files: dict[str, list[Document]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    plain: set[str] = field(default_factory=set)

    def add(self, file: str, *documents: Document) -> None:
        """Add documents to a file."""
        self.files.setdefault(file, []).extend(documents)

    def add_plain(self, file: str, document: Document) -> None:
        """Add a file that is one JSON document."""
        self.files[file] = [document]
        self.plain.add(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What runs services. `defaults` are what is asked where nobody says it, in place of the usual.

    `identities` are the ways in which processes may prove who they are, the usual one first. `kubernetes` says that it
    has namespaces, `jobs` that it can start what ends by itself.
    """

    write: Callable[[Scene], Written]
    defaults: Asked = DEFAULT
    identities: tuple[str, ...] = ()
    kubernetes: bool = False
    jobs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where services run on a cloud: the part `running` of a `polybus.cloud.Cloud`.

    `platforms` are by the words that `polybus export` takes. `find(plan)` gives a function of a reference that returns
    what the resource's output will be, as text, with `blank` for what nobody knows yet.
    """

    platforms: Mapping[str, Platform]
    find: Callable[[Any], Callable[[Ref], str]]
