"""Random stacks: a topology with everything that one can say and that a cloud takes, and what a stack config says.

`FEATURES` names what has to be reached; `test_limits.py` measures that it is.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from polybus.clouds.aws.plan import filters as filters_aws
from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import filters as filters_azure
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.namespace import CustomerKey, Diagnostics
from polybus.clouds.gcp.plan import filters as filters_gcp
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.planning import planning_of
from polybus.topology.filters import Filter, parse
from polybus.topology.model import (
    Alarms,
    Backoff,
    LargeBodies,
    Notify,
    OwnAlarms,
    Push,
    Queue,
    Service,
    Subscription,
    Topic,
    Topology,
)

from .strategies import FILTERS

DAY = 86_400
TAG = "0" * 8
PROBLEMS: Mapping[str, Callable[[Filter], str | None]] = {
    "aws": filters_aws.filter_problem,
    "azure": lambda filter_: filters_azure.filter_problem(filter_, TAG),
    "gcp": lambda filter_: filters_gcp.filter_problem(filter_, TAG),
}


@dataclass(frozen=True)
class Stack:
    """A topology, and the settings of one cloud for it."""

    topology: Topology
    settings: Any

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show what can be read: of a fan-out the first, of a filter its text, of many tags their number."""
        read = [item for name, item in self.topology.subscriptions.items() if not re.fullmatch(r"fan-0*[1-9].*", name)]
        shown = [(replace(item, filter=None), str(item.filter)[:200]) for item in read]
        rest, tags = replace(self.topology, subscriptions={}), "labels" if hasattr(self.settings, "labels") else "tags"
        settings = replace(self.settings, **{tags: {}})
        printer.text(f"Stack({rest}, {shown}, {settings}, {len(getattr(self.settings, tags))} tags)")


def _longest(cloud: str) -> Filter:
    """Give a filter that is as long as the cloud takes it: one value more is refused."""
    texts = [f"value-{number:03}" for number in range(200)]
    counts = range(1, len(texts))
    made = [parse("region in (" + ", ".join(f'"{text}"' for text in texts[:count]) + ")") for count in counts]
    return max((one for one in made if PROBLEMS[cloud](one) is None), key=lambda one: len(str(one)))


LONGEST = {cloud: _longest(cloud) for cloud in PROBLEMS}

# -- Names: short, as long as allowed, alike until where they are cut, with every character that is allowed ------------

_LETTERS = "abzXY"
_INNER = st.text("abzXY019_-", max_size=56)
_WORDS = st.builds(lambda first, inner, last: first + inner + last, st.sampled_from(_LETTERS), _INNER, st.just("9"))
_LONG = _INNER.map(lambda text: ("A-name_that-begins-like-others-and-is-cut-somewhere-after-" + text)[:59] + "z")
_LONG_TO_THE_END = st.sampled_from("abcdefgh").map(
    lambda letter: "the-same-until-its-very-last-letter-".ljust(59, "x") + letter
)
NAMES = st.one_of(st.sampled_from(_LETTERS), _WORDS, _LONG, _LONG_TO_THE_END)
BUSES = st.one_of(st.just("s"), st.just("shop"), st.just("Shop_2"), st.just("B" * 60))
STACKS = st.sampled_from(["", "dev", "Prod_2", "production-" + "x" * 60, "p" * 100])

# -- What each cloud takes ---------------------------------------------------------------------------------------------

_RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "aws": {"lease": (1, 43_200), "attempts": (1, 999), "retention": (60, 14 * DAY), "letters": (60, 14 * DAY)},
    "azure": {"lease": (5, 43_200), "attempts": (1, 1_000), "retention": (60, 365 * DAY), "letters": (60, 365 * DAY)},
    "gcp": {"lease": (10, 43_200), "attempts": (1, 99), "retention": (600, 31 * DAY), "letters": (600, 31 * DAY)},
}
_LARGE = 256 * 1_024  # above it SNS pushes to functions alone, and Azure wants a Premium namespace
_SIZES = {"aws": (1_024, 1 << 20), "azure": (1_024, 100 << 20), "gcp": (1_024, 10_000_000)}
_OPTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "aws": {"topic": {"signature_version": 2}, "queue": {"receive_wait_time_seconds": 5}},
    "azure": {"topic": {"max_size_in_megabytes": 2_048}, "queue": {"user_metadata": "of the team"}},
    "gcp": {
        "topic": {"message_storage_policy": {"allowed_persistence_regions": ["europe-west1"]}},
        "queue": {"enable_exactly_once_delivery": True},
    },
}
_FUNCTIONS = {
    "aws": "arn:aws:lambda:eu-west-1:111122223333:function:f",
    "gcp": "https://in-111122223333.europe-west1.run.app/x",
}
_NOTIFIED = {
    "aws": "arn:aws:sns:eu-west-1:111122223333:alarms",
    "azure": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Insights/actionGroups/alarms",
    "gcp": "projects/p/topics/alarms",
}
NAMESPACE = "the-namespace"
_KINDS = {"aws": ("https", "https", "email", "sms", "function"), "azure": ("function",), "gcp": ("https", "function")}
_ENDS = {
    "email": "ops@example.com",
    "sms": "+447700900123",
    "https": "https://example.com/hook?a=b",
    "function": "named",
}


def _between(ends: tuple[int, int]) -> st.SearchStrategy[int]:
    return st.sampled_from(ends) | st.integers(*ends)


def _existing(cloud: str, kind: str, name: str, ordered: bool) -> str:
    fifo = ".fifo" if ordered else ""
    service = "sns" if kind == "topic" else "sqs"
    home = f"/subscriptions/s/resourceGroups/r/providers/Microsoft.ServiceBus/namespaces/{NAMESPACE}"
    return {
        "aws": f"arn:aws:{service}:eu-west-1:111122223333:old-{name[:40]}{fifo}",
        "azure": f"{home}/{kind}s/old-{name}",
        "gcp": f"projects/p/topics/old-{name}",
    }[cloud]


@st.composite
def _backoffs(draw: st.DrawFn) -> Backoff:
    first = draw(st.sampled_from([0.0, 0.001, 1.0, 1.5, 600.0]))
    return Backoff(first, max(first, draw(st.sampled_from([0.5, 10.0, 600.0]))))


@st.composite
def _delivery(draw: st.DrawFn, cloud: str) -> dict[str, Any]:
    ranges = _RANGES[cloud]
    lease = float(draw(_between(ranges["lease"])))
    return {
        "lease": lease + 0.5 if draw(st.booleans()) and lease < ranges["lease"][1] else lease,
        "max_attempts": draw(_between(ranges["attempts"])),
        "retention": float(draw(_between(ranges["retention"]))),
        "dead_letter_retention": float(draw(_between(ranges["letters"]))),
        "backoff": draw(_backoffs()),
    }


@st.composite
def _published(draw: st.DrawFn, cloud: str, kind: str, name: str) -> dict[str, Any]:
    """Draw what topics and queues share; what is adopted has no arguments but a queue's on Google."""
    ordered = draw(st.booleans())
    delayed = not ordered and (cloud == "azure" or (cloud == "aws" and kind == "queue"))
    existing = _existing(cloud, kind, name, ordered) if draw(st.integers(0, 4)) == 4 else None
    options = {cloud: _OPTIONS[cloud][kind]} if existing is None and draw(st.booleans()) else {}
    return {
        "ordered": ordered,
        "max_delay": draw(st.sampled_from([0.0, 0.001, 900.0])) if delayed else 0.0,
        "max_message_size": draw(st.none() | st.just(_LARGE) | _between(_SIZES[cloud])),
        "existing": existing,
        "options": options,
    }


@st.composite
def _subscription(draw: st.DrawFn, cloud: str, name: str, topic: Topic, forwards: list[Topic | Queue]) -> Subscription:
    delivery = draw(_delivery(cloud))
    filter_ = draw(st.one_of(st.none(), st.just(LONGEST[cloud]), FILTERS))
    fits = filter_ is not None and PROBLEMS[cloud](filter_) is None
    push = draw(_pushes(cloud, topic, [one.name for one in forwards])) if draw(st.booleans()) else None
    ordered = [None, False, True] if topic.ordered else [None, False]
    if push is not None:
        delivery |= draw(_push_attempts(cloud, push))
        ordered = [None]
    return Subscription(
        name,
        topic.name,
        filter=filter_ if fits else None,
        ordered=draw(st.sampled_from(ordered)),
        push=push,
        tap=push is None and draw(st.booleans()),
        options={cloud: _OPTIONS[cloud]["queue"]} if push is None and draw(st.booleans()) else {},
        **delivery,
    )


@st.composite
def _pushes(draw: st.DrawFn, cloud: str, topic: Topic, forwards: list[str]) -> Push | None:
    large = cloud == "aws" and (topic.max_message_size or 0) > _LARGE
    kinds = ("function",) if large else _KINDS[cloud]
    kinds = () if cloud == "aws" and topic.ordered else kinds
    kinds = (*kinds, "forward") if forwards else kinds
    if not kinds:
        return None
    kind = draw(st.sampled_from(kinds))
    if kind == "forward":
        return Push(forward=draw(st.sampled_from(forwards)))
    end = _FUNCTIONS.get(cloud, "named") if kind == "function" and draw(st.booleans()) else _ENDS[kind]
    return Push(**{kind: end}, raw=kind == "https" and draw(st.booleans()))


def _push_attempts(cloud: str, push: Push) -> st.SearchStrategy[dict[str, Any]]:
    """Give attempts that the cloud's own delivery makes; SNS tries an HTTPS endpoint for an hour in all."""
    if cloud == "aws" and push.kind == "https":
        some = [(1, Backoff()), (5, Backoff(0.0, 0.5)), (101, Backoff(1.0, 71.0))]
        return st.sampled_from(some).map(lambda one: {"max_attempts": one[0], "backoff": one[1]})
    ends = {"aws": (1, 1_000), "azure": (1, 1_000), "gcp": (5, 100)}[cloud]
    return _between(ends).map(lambda count: {"max_attempts": count})


def _forwards(cloud: str, topic: Topic, topics: list[Topic], queues: list[Queue]) -> list[Topic | Queue]:
    """List what a topic's messages may be forwarded to: on Azure the last topic too, and from there to queues."""
    if cloud == "gcp":
        return []
    ends: list[Topic | Queue] = [*queues]
    if cloud == "azure" and topic is not topics[-1]:
        ends.append(topics[-1])
    if cloud == "aws" and topic.ordered:
        return [end for end in ends if end.ordered]
    return [end for end in ends if topic.ordered or not end.ordered]


@st.composite
def _services(
    draw: st.DrawFn, topics: Any, subscriptions: Mapping[str, Subscription], queues: Any
) -> dict[str, Service]:
    def some(names: list[str]) -> tuple[str, ...]:
        return tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3))) if names else ()

    read = [name for name, item in subscriptions.items() if item.push is None] + list(queues)
    operated = [*subscriptions, *queues]
    names = draw(st.lists(NAMES, max_size=3, unique_by=str.lower))
    return {name: Service(name, some([*topics, *queues]), some(read), some(operated)) for name in names}


@st.composite
def _alarms(draw: st.DrawFn, cloud: str) -> Alarms:
    email, topic = draw(st.booleans()), draw(st.booleans())
    return Alarms(
        dead_letters=draw(_between((1, 1_000_000))),
        oldest_age=float(draw(_between((60, 14 * DAY)))),
        backlog=draw(_between((1, 1_000_000_000))),
        failed_pushes=draw(_between((1, 1_000_000))),
        notify=Notify(email="ops@example.com" if email else None, topic=_NOTIFIED[cloud] if topic else None),
    )


_OFF = OwnAlarms(on=False)
_OF_QUEUES = st.sampled_from([None, _OFF]) | st.builds(
    OwnAlarms,
    dead_letters=st.sampled_from([None, 0, 7]),
    oldest_age=st.sampled_from([None, 0.0, 3_600.0]),
    backlog=st.sampled_from([0, 7]),
)
_OWN = _OF_QUEUES | st.builds(OwnAlarms, dead_letters=st.sampled_from([None, 7]), failed_pushes=st.sampled_from([0, 7]))


@st.composite
def _told(draw: st.DrawFn, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Draw what entries say of their own alarms."""
    drawn = {name: draw(_OF_QUEUES if isinstance(entry, Queue) else _OWN) for name, entry in entries.items()}
    return {name: replace(entry, alarms=drawn[name]) for name, entry in entries.items()}


def _fan_out(topics: dict[str, Topic], subscriptions: dict[str, Subscription], ordered: bool) -> None:
    """Add a topic with a hundred subscriptions: no SNS FIFO topic may have more."""
    topics["fan"] = Topic("fan", ordered=ordered)
    subscriptions |= {f"fan-{number:03}": Subscription(f"fan-{number:03}", "fan") for number in range(100)}


@st.composite
def stacks(draw: st.DrawFn, cloud: str, *, fan: bool = True) -> Stack:
    """Make a stack that a cloud takes; `fan` lets one topic in a few have many subscriptions."""
    named = draw(st.lists(NAMES, max_size=7, unique_by=str.lower))
    cut = draw(st.integers(0, len(named)))
    topics = {name: Topic(name, **draw(_published(cloud, "topic", name))) for name in named[:cut]}
    queues = {
        name: Queue(name, **draw(_published(cloud, "queue", name)), **draw(_delivery(cloud))) for name in named[cut:]
    }
    # A subscription may be named as its topic is, or as any other, but not as a queue.
    taken = {name.lower() for name in queues}
    wanted = draw(st.lists(st.sampled_from(named) | NAMES, max_size=6, unique_by=str.lower)) if topics else []
    free = [name for name in wanted if name.lower() not in taken]
    subscriptions: dict[str, Subscription] = {}
    for name in free:
        topic = draw(st.sampled_from([*topics.values()]))
        used = {item.push.forward for item in subscriptions.values() if item.push and item.topic == topic.name}
        ends = _forwards(cloud, topic, [*topics.values()], [*queues.values()])
        unused = [end for end in ends if end.name not in used]
        made = draw(_subscription(cloud, name, topic, unused))
        there = [item.push.endpoint for item in subscriptions.values() if item.push and item.topic == topic.name]
        if cloud == "aws" and made.push is not None and made.push.endpoint in there:
            continue  # SNS subscribes an endpoint once
        subscriptions[name] = made
    lower = {name.lower() for name in (*topics, *subscriptions, *queues)}
    if fan and "fan" not in lower and draw(st.integers(0, 7)) == 0:
        _fan_out(topics, subscriptions, draw(st.booleans()))
    services = draw(_services(topics, subscriptions, queues))
    alarms = draw(st.none() | _alarms(cloud))
    if alarms is not None:
        topics, subscriptions, queues = (draw(_told(entries)) for entries in (topics, subscriptions, queues))
    large_bodies = draw(st.none() | _large_bodies(cloud, [*topics.values(), *queues.values()]))
    topology = Topology(
        *(draw(BUSES), topics, subscriptions, queues, services, alarms),
        source="polybus.toml",
        large_bodies=large_bodies,
    )
    chosen = draw(_SETTINGS[cloud](topology))
    # An account on Azure has no private endpoint yet.
    if getattr(chosen, "subnet", None) is not None or getattr(chosen, "public_access", None) is False:
        topology = replace(topology, large_bodies=None)
    return Stack(topology, chosen)


def _large_bodies(cloud: str, entries: list[Topic | Queue]) -> st.SearchStrategy[LargeBodies | None]:
    """Draw what stays in messages: up to what the smallest of them takes, beside the room for its dead letter."""
    if not planning_of(cloud).bodies:
        return st.none()
    least = min([_LARGE, *(entry.max_message_size for entry in entries if entry.max_message_size)]) - 2_048
    return st.sampled_from([1_024, least]).map(LargeBodies) if least >= 1_024 else st.none()


# -- What a stack config says ------------------------------------------------------------------------------------------


@st.composite
def _tags(draw: st.DrawFn) -> dict[str, str]:
    count = draw(st.sampled_from([0, 1, 47]))
    return {f"Cost centre {number}" if number else "k" * 120: "Zürich: 1/2" for number in range(count)}


@st.composite
def _aws(draw: st.DrawFn, topology: Topology) -> aws.AwsSettings:
    role = st.sampled_from(["a-role", "arn:aws:iam::111122223333:role/team/the-role"])
    return aws.AwsSettings(
        stack=draw(STACKS),
        region=draw(st.sampled_from([None, "eu-west-1"])),
        vpc_endpoints=draw(st.sampled_from([(), ("vpce-1a2b3c4d", "vpce-5e6f7a8b")])),
        kms_key=draw(st.sampled_from([None, "arn:aws:kms:eu-west-1:111122223333:key/k"])),
        tags=draw(_tags()),
        roles={name: draw(role) for name in topology.services if draw(st.booleans())},
        functions={"named": _FUNCTIONS["aws"]},
        composite_alarms=draw(st.sampled_from([None, "bus", "service"])),
        delivery_logs=draw(st.sampled_from([None, 0, 100])),
    )


def _as(service: str) -> st.SearchStrategy[str]:
    """Draw what a service runs as: itself, or an identity that others run as too."""
    return st.sampled_from([service, "shared"])


_GROUP = "/subscriptions/s/resourceGroups/r/providers"
_OURS = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/r/providers"
_VAULT = f"{_OURS}/Microsoft.KeyVault/vaults/keys"
_STORE = f"{_OURS}/Microsoft.AppConfiguration/configurationStores/store"
_WORKSPACE = f"{_GROUP}/Microsoft.OperationalInsights/workspaces/w"
_ACCOUNT = f"{_GROUP}/Microsoft.Storage/storageAccounts/a"
_IDENTITY = f"{_GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/i"


def _object_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


@st.composite
def _azure(draw: st.DrawFn, topology: Topology) -> azure.AzureSettings:
    adopts = any(item.existing for item in (*topology.topics.values(), *topology.queues.values()))
    large = any(
        (item.max_message_size or 0) > _LARGE for item in (*topology.topics.values(), *topology.queues.values())
    )
    plain = azure.AzureSettings(
        stack=draw(STACKS | st.just("eu.west")),
        location=draw(st.sampled_from([None, "westeurope"])),
        resource_group=draw(st.sampled_from([None, "the-group"])),
        namespace=NAMESPACE if adopts or draw(st.integers(0, 3)) == 3 else None,
        subscription_id=draw(st.sampled_from([None, "11111111-2222-3333-4444-555555555555"])),
        zone_redundant=draw(st.sampled_from([None, True])),
        public_access=draw(st.sampled_from([None, True])),
        tags=draw(_tags()),
        principals={
            name: azure.Principal(_object_id(draw(_as(name)))) for name in topology.services if draw(st.booleans())
        },
        functions={"named": azure.Principal(_object_id("named"))},
        bindings=draw(st.sampled_from([None, _VAULT, _STORE])),
        diagnostics=draw(st.sampled_from([None, Diagnostics(workspace=_WORKSPACE), Diagnostics(storage=_ACCOUNT)])),
    )
    if not large and draw(st.booleans()):
        return plain
    return replace(
        plain,
        sku="Premium",
        capacity=draw(st.sampled_from([None, 1, 16])),
        public_access=draw(st.sampled_from([None, True, False])),
        subnet=draw(st.sampled_from([None, f"{_GROUP}/Microsoft.Network/virtualNetworks/v/subnets/n"])),
        customer_key=draw(st.sampled_from([None, CustomerKey("https://v.vault.azure.net", "key", _IDENTITY)])),
    )


_GCP_KEY = "projects/p/locations/europe/keyRings/r/cryptoKeys/k"


@st.composite
def _gcp(draw: st.DrawFn, topology: Topology) -> gcp.GcpSettings:
    regions, key = (
        draw(st.sampled_from([(), ("europe-west1", "europe-west4")])),
        draw(st.sampled_from([None, _GCP_KEY])),
    )
    return gcp.GcpSettings(
        stack=draw(STACKS | st.just("eu.west")),
        project=draw(st.sampled_from([None, "the-project"])),
        project_number=draw(st.sampled_from([None, "111122223333"])),
        regions=regions,
        kms_key=key,
        # A bucket is where its key is.
        bodies_location="EU" if key is not None or not regions else draw(st.sampled_from([None, "EU"])),
        push_account=draw(st.sampled_from([None, "push@p.iam.gserviceaccount.com"])),
        labels=draw(_tags()),
        members={name: f"serviceAccount:{draw(_as(name))}@p" for name in topology.services if draw(st.booleans())},
        functions={"named": _FUNCTIONS["gcp"]},
    )


_SETTINGS: Mapping[str, Callable[[Topology], st.SearchStrategy[Any]]] = {"aws": _aws, "azure": _azure, "gcp": _gcp}
