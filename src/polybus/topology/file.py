"""`polybus.toml` to a topology. Every error names the file, the path in it, what was found and what is allowed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from polybus.errors import FilterError, TopologyError
from polybus.registry import each
from polybus.topology import model
from polybus.topology.filters import Filter, parse
from polybus.topology.limits import DAY, KIB, MAX_NACK_DELAY, MIB, attribute_name_problem
from polybus.topology.open import FORMS, Open, has_password, problem
from polybus.topology.references import check_references
from polybus.topology.table import Problems, Table, shown

__all__ = ["DEAD_LETTER_SUFFIX", "NAME_ALLOWED", "NAME_PATTERN", "load", "loads", "push_forms", "topology_of"]

DEAD_LETTER_SUFFIX = "-dead-letters"
"""Ends the physical name of what holds dead letters, so no declared name may end so."""

NAME_ALLOWED = (
    "1 to 60 of A-Z a-z 0-9 _ -, a letter first, a letter or digit last, "
    f"not ending in {DEAD_LETTER_SUFFIX} and not polybus"
)
NAME_PATTERN = r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?"
_NAME = re.compile(NAME_PATTERN)

SCHEMA_ALLOWED = (
    'a Python type, "shop.messages:Order", a class that protoc made, "shop.order_pb2:Order", or a file: JSON Schema '
    '(.json), Avro (.avsc), or compiled Protobuf (.binpb or .desc) with its message, "order.binpb#shop.Order"'
)
_SCHEMA = re.compile(
    r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*|[^#:]+\.(?:json|avsc)|[^#:]+\.(?:binpb|desc|proto)(?:#[A-Za-z_][\w.]*)?"
)

# What a declaration may say on any cloud; a cloud's own range is narrower and is held by `polybus check`.
_LEASE = (1.0, 12 * 3_600.0)  # the longest that any cloud grants: SQS
_RETENTION = (60.0, 365 * DAY)
_DELAY = (0.0, 365 * DAY)
_ALARMS = ("dead_letters", "oldest_age", "backlog", "failed_pushes")
_MOST = {"dead_letters": 1_000_000, "backlog": 1_000_000_000, "failed_pushes": 1_000_000}
_MESSAGE = (KIB, 100 * MIB)  # the largest that any cloud carries: Service Bus Premium


def load(path: Path) -> model.Topology:
    """Read a file; raises TopologyError with all that is wrong in it."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise TopologyError([f"{path}: no such file; `polybus init` writes one to start from"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TopologyError([f"{path}: at line {line}: found bytes that are not UTF-8; allowed: UTF-8"]) from None
    except OSError as error:
        raise TopologyError([f"{path}: can't be read: {error.strerror}"]) from None
    return loads(text, source=str(path))


def loads(text: str, *, source: str) -> model.Topology:
    """Read a text; `source` names it in errors. Raises TopologyError with all that is wrong in it."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError([f"{source}: not valid TOML: {error}"]) from None
    problems = Problems(source)
    topology = topology_of(Table(values, "$", problems), source)
    check_references(topology, problems)
    if problems.lines:
        raise TopologyError(problems.lines)
    return topology


def topology_of(root: Table, source: str) -> model.Topology:
    """Read a whole declaration key by key; what is wrong is noted in the table's problems."""
    bus = root.table("bus")
    name = bus.required("name", f"a name: {NAME_ALLOWED}")
    if name and not _good_name(name):
        bus.refuse("name", NAME_ALLOWED)
    bus.close()
    # Looked for once: it takes reading what all installed packages offer.
    clouds = tuple(cloud.name for cloud in each("planning"))
    topology = model.Topology(
        name=name,
        topics=MappingProxyType({name: _topic(name, table, clouds) for name, table in _named(root, "topics")}),
        subscriptions=MappingProxyType(
            {name: _subscription(name, table, clouds) for name, table in _named(root, "subscriptions")}
        ),
        queues=MappingProxyType({name: _queue(name, table, clouds) for name, table in _named(root, "queues")}),
        services=MappingProxyType({name: _service(name, table, clouds) for name, table in _named(root, "services")}),
        alarms=_alarms(root.table("alarms")) if "alarms" in root else None,
        source=source,
        large_bodies=_large_bodies(root.table("large_bodies")) if "large_bodies" in root else None,
    )
    for key in ("alarms", "large_bodies"):
        root.table(key)  # so that the key is known, declared or not
    root.close()
    return topology


def _large_bodies(table: Table) -> model.LargeBodies:
    over = table.size("over", *_MESSAGE)
    table.close()
    return model.LargeBodies() if over is None else model.LargeBodies(over)


def _good_name(name: str) -> bool:
    reserved = name.lower().endswith(DEAD_LETTER_SUFFIX) or name.lower() == "polybus"
    return _NAME.fullmatch(name) is not None and not reserved


def _named(root: Table, kind: str) -> Iterable[tuple[str, Table]]:
    section = root.table(kind)
    for name, table in section.tables():
        if not _good_name(name):
            section.problems.add(section.at(name), f"the name {shown(name)}", NAME_ALLOWED)
        yield name, table


def _topic(name: str, table: Table, clouds: Sequence[str]) -> model.Topic:
    topic = model.Topic(
        name=name,
        ordered=table.flag("ordered"),
        fairness_key=_fairness_key(table),
        max_delay=table.duration("max_delay", 0.0, *_DELAY),
        max_message_size=table.size("max_message_size", *_MESSAGE),
        existing=table.open_text("existing", allowed="the ARN or id of a topic to adopt"),
        options=_options(table, clouds),
        allow=_allow(table, ("publish", "subscribe"), clouds),
        alarms=_own_alarms(table, *_ALARMS),
        clouds=table.some_of("clouds", clouds),
        **_for_people(table),
        **_contract(table),
    )
    table.close()
    return topic


def _subscription(name: str, table: Table, clouds: Sequence[str]) -> model.Subscription:
    subscription = model.Subscription(
        name=name,
        topic=table.required("topic", "the name of a topic"),
        filter=_filter(table),
        ordered=table.optional_flag("ordered"),
        push=_push(table),
        tap=table.flag("tap"),
        options=_options(table, clouds),
        alarms=_own_alarms(table, *_ALARMS),
        clouds=table.some_of("clouds", clouds),
        **_for_people(table),
        **_delivery(table),
    )
    table.close()
    return subscription


def _queue(name: str, table: Table, clouds: Sequence[str]) -> model.Queue:
    queue = model.Queue(
        name=name,
        ordered=table.flag("ordered"),
        fairness_key=_fairness_key(table),
        max_delay=table.duration("max_delay", 0.0, *_DELAY),
        max_message_size=table.size("max_message_size", *_MESSAGE),
        existing=table.open_text("existing", allowed="the ARN or id of a queue to adopt"),
        options=_options(table, clouds),
        allow=_allow(table, ("publish", "consume"), clouds),
        alarms=_own_alarms(table, *(name for name in _ALARMS if name != "failed_pushes")),
        clouds=table.some_of("clouds", clouds),
        **_for_people(table),
        **_contract(table),
        **_delivery(table),
    )
    table.close()
    return queue


def _fairness_key(table: Table) -> str | None:
    """Read the name of the attribute that tells tenants apart."""
    allowed = "the name of an attribute, such as tenant"
    name = table.text("fairness_key", allowed=allowed)
    if name is not None and attribute_name_problem(name) is not None:
        table.refuse("fairness_key", allowed)
        return None
    return name


def _contract(table: Table) -> dict[str, Any]:
    """Read what messages are; whether it is there, and what it says, `polybus check` finds."""
    schema = table.text("schema", allowed=SCHEMA_ALLOWED)
    if schema is not None and _SCHEMA.fullmatch(schema) is None:
        table.refuse("schema", SCHEMA_ALLOWED)
        schema = None
    known = get_args(model.Compatibility)
    allowed = f"one of {', '.join(known)}"
    formats = get_args(model.Format)
    return {
        "schema": schema,
        "compatibility": table.one_of("compatibility", "full", known, allowed),
        "format": table.one_of("format", "plain", formats, f"one of {', '.join(formats)}"),
    }


def _delivery(table: Table) -> dict[str, Any]:
    """Read what subscriptions and queues share."""
    return {
        "lease": table.duration("lease", model.DEFAULT_LEASE, *_LEASE),
        "max_attempts": table.integer("max_attempts", model.DEFAULT_MAX_ATTEMPTS, 1, 1_000),
        "retention": table.duration("retention", model.DEFAULT_RETENTION, *_RETENTION),
        "dead_letter_retention": table.duration(
            "dead_letter_retention", model.DEFAULT_DEAD_LETTER_RETENTION, *_RETENTION
        ),
        "backoff": _backoff(table.table("backoff")),
        "consumers": _consumers(table),
    }


def _consumers(table: Table) -> model.Consumers:
    allowed = '"polybus", or "foreign" where something else consumes it'
    said = table.one_of("consumers", "polybus", get_args(model.Consumers), allowed)
    return "foreign" if said == "foreign" else "polybus"


def _backoff(table: Table) -> model.Backoff:
    default = model.Backoff()
    initial = table.duration("initial", default.initial, 0.0, MAX_NACK_DELAY)
    maximum = table.duration("maximum", max(default.maximum, initial), 0.0, MAX_NACK_DELAY)
    table.close()
    if maximum < initial:
        table.refuse("maximum", 'at least as long as "initial"')
    return model.Backoff(initial, maximum)


def _filter(table: Table) -> Filter | None:
    allowed = """a filter such as 'region in ("eu", "uk") and not exists(test)'"""
    text = table.text("filter", allowed=allowed)
    if text is None:
        return None
    try:
        return parse(text)
    except FilterError as error:
        problem = f"at character {error.position + 1}, {str(error).splitlines()[0]}"
        table.problems.add(table.at("filter"), f"{shown(text)} ({problem})", allowed)
        return None


def push_forms() -> dict[str, tuple[str, str]]:
    """Return, for each kind of push, the pattern of its address, and what an error says is allowed."""
    functions = ", ".join(filter(None, (cloud.function for cloud in each("driver"))))
    known = {kind: FORMS[kind] for kind in model.PUSH_KINDS}
    return {**known, "function": (FORMS["function"][0], f"a function: {functions}, or a name for the stack config")}


def _push(table: Table) -> model.Push | None:
    inner = table.table("push")
    if "push" not in table:
        return None
    known = push_forms()
    found = {kind: _endpoint(inner, kind, allowed) for kind, (_, allowed) in known.items()}
    raw = inner.flag("raw")
    inner.close()
    forms = {kind: value for kind, value in found.items() if value is not None}
    for kind, value in forms.items():
        allowed = known[kind][1]
        if has_password(value):
            # Not shown: it would be in this error, and else in plans, diagrams and the state of the stack.
            instead = f"{allowed}, and has neither; or {{ config = ... }}, which may be a secret of the stack"
            inner.problems.add(inner.at(kind), "a URL with a name or password in it", instead)
        elif not isinstance(value, Open) and problem(kind, value) is not None:
            inner.refuse(kind, allowed)
    if len(forms) != 1:
        several = " and ".join(forms) or "none of them"
        table.problems.add(inner.path, several, f"exactly one of {', '.join(model.PUSH_KINDS)}")
        return None
    if raw and "https" not in forms:
        inner.refuse("raw", "true beside https alone")
    return model.Push(**forms, raw=raw)


def _endpoint(push: Table, kind: str, allowed: str) -> str | None:
    """Read where a push goes; where on this bus is the topology's own to say."""
    return push.text(kind, allowed=allowed) if kind == "forward" else push.open_text(kind, allowed=allowed)


def _options(table: Table, clouds: Sequence[str]) -> model.Options:
    found: dict[str, Mapping[str, Any]] = {}
    for cloud in clouds:
        options = table.table(cloud)
        if cloud in table:
            found[cloud] = MappingProxyType(options.plain())
    return MappingProxyType(found)


def _allow(table: Table, known: tuple[str, ...], clouds: Sequence[str]) -> tuple[model.Allow, ...]:
    return tuple(_allowed(row, known, clouds) for row in table.rows("allow"))


def _allowed(row: Table, known: tuple[str, ...], clouds: Sequence[str]) -> model.Allow:
    principal = row.required("principal", 'who may, in the cloud\'s own words, such as "s3.amazonaws.com"')
    actions = row.strings("actions")
    if not actions or not set(actions) <= set(known):
        row.refuse("actions", f"a list of {' and '.join(known)}")
    cloud = row.text("cloud", allowed=", ".join(clouds))
    if cloud is not None and cloud not in clouds:
        row.refuse("cloud", ", ".join(clouds))
    conditions = row.table("conditions")
    given = {key: conditions.texts(key) for key in conditions}
    conditions.close()
    row.close()
    return model.Allow(principal, actions, MappingProxyType(given), cloud)


def _service(name: str, table: Table, clouds: Sequence[str]) -> model.Service:
    rights: dict[str, Any] = {right: table.strings(right) for right in ("publishes", "consumes", "operates")}
    there, said = table.some_of("clouds", clouds), _for_people(table)
    table.close()
    return model.Service(name=name, **rights, clouds=there, **said)


def _for_people(table: Table) -> dict[str, Any]:
    return {
        "description": table.text("description", allowed="a text for those who read the catalogue") or "",
        "owner": table.text("owner", allowed="a team or a person") or "",
    }


def _alarms(table: Table) -> model.Alarms:
    notify = table.table("notify")
    alarms = model.Alarms(
        **_thresholds(table, *_ALARMS, default=model.Alarms()),
        notify=model.Notify(
            email=notify.open_text("email", allowed=FORMS["notify email"][1]),
            topic=notify.open_text("topic", allowed=FORMS["notify topic"][1]),
        ),
    )
    notify.close()
    table.close()
    return alarms


def _own_alarms(table: Table, *known: str) -> model.OwnAlarms | None:
    if "alarms" not in table:
        return table.value("alarms", None, lambda _: None, "")  # so that the key is known
    if table.is_off("alarms"):
        return model.OwnAlarms(on=False)
    own = table.table("alarms", allowed="false, or a table of thresholds")
    thresholds = _thresholds(own, *known)
    own.close()
    return model.OwnAlarms(**thresholds)


def _thresholds(table: Table, *known: str, default: model.Alarms | None = None) -> dict[str, Any]:
    """Read the thresholds that are said; `false` is 0, which no threshold can be: there is no such alarm.

    `default` has what counts for the others.
    """
    found: dict[str, Any] = {}
    for name in known:
        if table.is_off(name):
            found[name] = 0
        elif name == "oldest_age":
            found[name] = table.duration(name, getattr(default, name, 0.0), 60.0, 14 * DAY)
        else:
            found[name] = table.integer(name, getattr(default, name, 0), 1, _MOST[name])
    return {name: value for name, value in found.items() if name in table}
