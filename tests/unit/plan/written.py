"""A topology as polybus.toml writes it: what `topology.file` reads, the other way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from polybus.plan.alarms import THRESHOLDS
from polybus.topology.filters import Filter
from polybus.topology.model import OwnAlarms, Topology
from polybus.topology.quantities import format_duration, format_size


def values_of(topology: Topology) -> dict[str, Any]:
    """Return the tables of a topology, as tomllib gives them."""
    kinds = ("topics", "subscriptions", "queues", "services")
    sections = {kind: {name: _entry(entry) for name, entry in getattr(topology, kind).items()} for kind in kinds}
    rest = {} if topology.alarms is None else {"alarms": _entry(topology.alarms)}
    if topology.large_bodies is not None:
        rest["large_bodies"] = {"over": format_size(topology.large_bodies.over)}
    return {"bus": {"name": topology.name}, **{kind: found for kind, found in sections.items() if found}, **rest}


def toml_of(values: Mapping[str, Any]) -> str:
    """Write tables as TOML; only what a topology has, in inline tables."""
    return "".join(f"{json.dumps(key)} = {_inline(value)}\n" for key, value in values.items())


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _entry(entry: Any) -> dict[str, Any]:
    fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    found = {name: _value(name, value) for name, value in fields.items() if name not in ("name", "options")}
    passed = {cloud: _plain(arguments) for cloud, arguments in fields.get("options", {}).items()}
    return {**{name: value for name, value in found.items() if value not in (None, "", [], {})}, **passed}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Filter):
        return str(value)
    if isinstance(value, OwnAlarms):
        own = {key: getattr(value, key) for key in THRESHOLDS if getattr(value, key) is not None}
        return {key: _value(key, one) if one else False for key, one in own.items()} if value.on else False
    if dataclasses.is_dataclass(value):
        return _entry(value)
    if name == "max_message_size" and value is not None:
        return format_size(value)
    return format_duration(value) if isinstance(value, float) else _plain(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _entry(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
