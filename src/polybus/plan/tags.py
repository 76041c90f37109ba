"""Tags of a stack's resources: whose they are, and the stack's own, held to each cloud's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from polybus.errors import ConfigError
from polybus.topology.model import Topology

__all__ = ["TagRules", "tags_of"]


@dataclass(frozen=True, slots=True)
class TagRules:
    """How many tags a resource of a cloud has at most, what a key and a value are made of, and the same in words."""

    cloud: str
    most: int
    key: re.Pattern[str]
    keys: str
    value: re.Pattern[str]
    values: str


def tags_of(
    topology: Topology, stack: str, tags: Mapping[str, str], rules: TagRules, form: Callable[[str], str] = str
) -> dict[str, str]:
    """Give the tags of every resource: whose it is, then the stack's own, each in the cloud's `form`.

    Raises ConfigError for what the cloud refuses, for two that are one in its form, and for those that say whose a
    resource is, by which `check --live` finds what is left over.
    """
    own = {"polybus-bus": topology.name, **({"polybus-stack": stack} if stack else {})}
    made = {key: form(value) for key, value in own.items()}
    given: dict[str, str] = {}
    for key, value in tags.items():
        name, text = form(key), form(value)
        if name in ("polybus-bus", "polybus-stack"):
            raise _refused(f"{rules.cloud} tags", key, "any other name: this one says whose a resource is")
        if name in given:
            raise ConfigError(
                f"{rules.cloud} tags: found {given[name]!r} and {key!r}, which are both {name} there; keep one"
            )
        if not rules.key.fullmatch(name):
            raise _refused(f"{rules.cloud} tags", key, rules.keys)
        if not rules.value.fullmatch(text):
            raise _refused(f"{rules.cloud} tags.{key}", value, rules.values)
        given[name], made[name] = key, text
    if len(made) > rules.most:
        raise ConfigError(
            f"{rules.cloud} tags: found {len(made)}, with polybus's own {len(own)}; allowed: {rules.most}"
        )
    return made


def _refused(where: str, found: str, allowed: str) -> ConfigError:
    return ConfigError(f"{where}: found {found!r}; allowed: {allowed}")
