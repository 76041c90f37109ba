"""What planning asks of a cloud: pure functions and tables, no SDK; and what reads and imitates the cloud."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from polybus.binding import Binding
from polybus.plan.entitled import Right, declared
from polybus.plan.facts import Facts
from polybus.plan.findings import Report
from polybus.plan.policy_rules import Policy
from polybus.plan.values import Resource
from polybus.registry import each, find
from polybus.topology.model import Queue, Subscription, Topic, Topology

if TYPE_CHECKING:
    from polybus.plan.drift_rules import Rules
    from polybus.plan.observed import Observed, Outside
    from polybus.plan.settings import Mistake
    from polybus.plan.tags import TagRules
    from polybus.topology.limits import NameRule

__all__ = [
    "CloudPlan",
    "CloudSettings",
    "Entry",
    "Live",
    "Local",
    "OwnName",
    "Planning",
    "immutable",
    "local_of",
    "planning_of",
    "planning_of_type",
    "unannounced",
]

Entry: TypeAlias = Topic | Subscription | Queue


class CloudPlan(Protocol):
    """What the plans of all clouds share."""

    @property
    def topology(self) -> Topology:
        """What is to exist."""

    @property
    def resources(self) -> Sequence[Resource]:
        """What the cloud makes of it, each after what it refers to."""


class CloudSettings(Protocol):
    """What the settings of all clouds share: what a stack's configuration decides."""

    @property
    def stack(self) -> str:
        """The stack's name, which is part of physical names."""


@dataclass(frozen=True, slots=True)
class OwnName:
    """The argument that names a type of resource, and what the cloud takes there.

    `ordered_suffix` is what the names of ordered ones end with, and no others.
    """

    argument: str
    rule: NameRule
    ordered_suffix: str = ""

    def accepts(self, name: str, *, ordered: bool) -> bool:
        """Say whether the cloud takes a name."""
        suffixed = not self.ordered_suffix or ordered == name.endswith(self.ordered_suffix)
        return suffixed and self.rule.accepts(name)


def _nothing_refused(report: Report, topology: Topology, stack: str) -> None:
    pass


def _no_exports(plan: object) -> dict[str, Any]:
    return {}


def _no_mistakes(settings: object) -> Iterable[Mistake]:
    return ()


def _declared_rights(plan: CloudPlan) -> Mapping[str, Sequence[Right]]:
    return declared(plan.topology)


def _no_place(settings: object) -> Mapping[str, str | None]:
    return {}


def _name_of(resource: Resource, output: str) -> str:
    names = (value for key, value in resource.properties.items() if key == "name" or key.endswith("_name"))
    return next((name for name in names if isinstance(name, str)), output)


def _never_imported(resource: Resource, plan: object, account: str | None) -> str | None:
    return None


def _whole(address: str) -> tuple[str, ...]:
    return (address,)


def _no_type(entry: Entry) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """How a cloud realises a topology. Only the first three are needed; without a table its question isn't asked.

    `settings` is the type of what a stack's configuration decides; it can be made without arguments, and of the name of
    the `stack` alone.
    `plan(topology, settings)` gives the resources, or raises UnsupportedFeature with everything that is wrong.
    `binding_values(plan)` and `exports(plan)` are what a deployed stack gives: the binding's fields with references to
    resources in them, and the stack's other outputs. `rights(plan)` gives what each service may do, whoever it is.

    `mistakes(settings)` gives what the cloud would refuse of settings in the middle of an update, by its form alone.

    `sample(topology, stack)` plans with stand-ins for what only a stack's configuration says; without it, the plan is
    that of settings with the stack's name alone.

    `compared(topology, binding, stack)` plans with what a binding says of the stack's configuration, to be compared
    with what `Cloud.live` reads. `provider` is what its types of resources begin with, up to the first colon.
    `stand_in(resource, output)` gives an output of a resource that isn't there yet, as long as it will be: for
    estimates of sizes. `binding_bytes` are how long a binding can be in the environment of the cloud's functions, 0 for
    no limit, and what to do instead. `import_id(resource, plan, account)` gives the id by which the provider imports
    what is there already under a resource's name, None for a type that isn't imported; `account` is what no setting
    says, and it raises ConfigError for what is missing. `homes` are types that others are in, and are imported with
    these. `standing(entry, settings)` is what a topic or queue that is adopted could have as its address, for one that
    isn't known yet, and `forms(address)` are all texts that a plan makes of one, the longest first.
    `rules(report, topology, stack)` reports what the cloud refuses of a topology or does differently, and `sources` are
    the documents that it names there by a code. `policy` finds what every stack has to keep broken in its resources.
    `pass_through(entry)` is the type of the resource that an entry's `[topics.NAME.CLOUD]` table goes to, None where
    none is made. `adopted` are the types of topics and queues that exist already, `ordered_by` the property of such a
    type that says that it keeps order. `tags` is what the cloud takes as tags, None where it has none.

    The others are by type of resource. `arguments` are the names that a pass-through table may have, dotted where they
    are inside of another, of the version of the provider's SDK that `sdk` says, as (package, version). `attached` are
    arguments that the plan sets by a resource of its own, with that resource's type. `names` say which argument is the
    physical name. `immutable` are the properties that a resource keeps for its life, and `unannounced` those of them
    that the provider takes for changeable; `replaces(property, old, new)` knows better for a type, or answers None.
    `facts` are what the provider says of its types before it asks the cloud.
    `holds_letters` are the types that are deleted with their dead letters. `retention` is the property of a type that
    says how long messages are kept, where a shorter one deletes what is older. `drift` says what is compared with the
    cloud. `place(settings)` gives where all resources of a stack are, by the keys of the provider's configuration:
    where one changes, all are others. `bodies` says that plans have a place for large bodies; where they haven't, a
    topology that declares them is refused.
    """

    settings: type
    plan: Callable[[Topology, Any], CloudPlan]
    binding_values: Callable[[Any], dict[str, Any]]
    exports: Callable[[Any], dict[str, Any]] = _no_exports
    rights: Callable[[Any], Mapping[str, Sequence[Right]]] = _declared_rights
    mistakes: Callable[[Any], Iterable[Mistake]] = _no_mistakes
    sample: Callable[[Topology, str], CloudPlan] | None = None
    compared: Callable[[Topology, Binding, str], CloudPlan] | None = None
    provider: str = ""
    stand_in: Callable[[Resource, str], str] = _name_of
    binding_bytes: tuple[int, str] = (0, "")
    import_id: Callable[[Resource, Any, str | None], str | None] = _never_imported
    standing: Callable[[Any, Any], str] | None = None
    forms: Callable[[str], tuple[str, ...]] = _whole
    homes: frozenset[str] = frozenset()
    rules: Callable[[Report, Topology, str], None] = _nothing_refused
    sources: Mapping[str, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    pass_through: Callable[[Entry], str | None] = _no_type
    sdk: tuple[str, str] = ("", "")
    arguments: Mapping[str, frozenset[str]] = field(default_factory=dict)
    attached: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    names: Mapping[str, OwnName] = field(default_factory=dict)
    immutable: Mapping[str, frozenset[str]] = field(default_factory=dict)
    facts: Mapping[str, Facts] = field(default_factory=dict)
    replaces: Mapping[str, Callable[[str, Any, Any], bool | None]] = field(default_factory=dict)
    holds_letters: frozenset[str] = frozenset()
    retention: Mapping[str, str] = field(default_factory=dict)
    place: Callable[[Any], Mapping[str, str | None]] = _no_place
    unannounced: Mapping[str, frozenset[str]] = field(default_factory=dict)
    drift: Mapping[str, Rules] = field(default_factory=dict)
    adopted: Mapping[type[Topic | Queue], str] = field(default_factory=dict)
    ordered_by: Mapping[str, str] = field(default_factory=dict)
    tags: TagRules | None = None
    bodies: bool = False


Live: TypeAlias = Callable[[Binding, Any], Awaitable[Iterable["Observed | Outside"]]]
"""Reads a cloud: given a binding and the plan that `Planning.compared` made, what is there, in the plan's words.

What it has to rely on and isn't the stack's, such as the policy of a key, is `Outside`.

Raises BackendError for what the cloud refuses.
"""


@dataclass(frozen=True, slots=True)
class Local:
    """How `local up` and the torture stand in for a cloud.

    `server(host, port, data)` builds a `polybus.localcloud.server.LocalServer`, not started; `modules` are what it
    needs of the cloud's SDK. `plan` is pure and raises UnsupportedFeature. `realise(plan, server)` makes a plan's
    resources on a server that runs, here or in another process, and returns the binding by which it is reached there;
    it blocks, and may be called again on what is there already. `patience` is how many seconds the cloud's own client
    waits for an answer before it sends a request again. `standard(host, data)` builds a server on the ports where
    clients look that are told none. `switches(language, environment)` returns what a language's SDK needs beside what
    the server's own `env` says, given as `environment`; languages are those of `local env --for`. `secure(server)` has
    a server that isn't started yet speak TLS; None where it can't.
    """

    modules: tuple[str, ...]
    server: Callable[[str, int, Path | None], Any]
    plan: Callable[[Topology], CloudPlan]
    realise: Callable[[Any, Any], Binding]
    patience: float
    standard: Callable[[str, Path | None], Any] | None = None
    switches: Callable[[str, Mapping[str, str]], Mapping[str, str]] = lambda language, environment: {}
    secure: Callable[[Any], None] | None = None


def trusting(language: str, ca_file: str, bundle: str, trust_store: str) -> Mapping[str, str]:
    """Return how a language's runtime is told to trust a local server's certificate.

    That is in all three files: alone, with the system's authorities, and so for Java.
    """
    match language:
        case "node":
            return {"NODE_EXTRA_CA_CERTS": ca_file}
        case "go" | "dotnet":
            return {"SSL_CERT_FILE": bundle}
        case "java":
            options = f"-Djavax.net.ssl.trustStore={trust_store} -Djavax.net.ssl.trustStorePassword=changeit"
            return {"JAVA_TOOL_OPTIONS": options}
    return {}


def planning_of(cloud: str) -> Planning:
    """Return how a cloud is planned; raises BindingError for no such name, UnsupportedFeature where it has no plan."""
    return cast(Planning, find(cloud).load("planning"))


def local_of(cloud: str) -> Local:
    """Return how a cloud is stood in for; raises UnsupportedFeature for one that has no local server."""
    return cast(Local, find(cloud).load("local"))


def planning_of_type(type_: str) -> Planning | None:
    """Return the planning of the cloud whose provider has a type of resource, None where no cloud has it."""
    provider = type_.partition(":")[0]
    plannings: Iterator[Planning] = (cloud.load("planning") for cloud in each("planning"))
    return next((planning for planning in plannings if planning.provider == provider), None)


def immutable(type_: str) -> frozenset[str]:
    """Give the properties that a type of resource keeps for its life; raises KeyError for a type that no plan has."""
    planning = planning_of_type(type_)
    if planning is None:
        raise KeyError(type_)
    return planning.immutable[type_]


def unannounced(type_: str) -> frozenset[str]:
    """Give those of them that the provider takes for changeable: it would try, and the cloud refuse."""
    planning = planning_of_type(type_)
    return frozenset() if planning is None else planning.unannounced.get(type_, frozenset())
