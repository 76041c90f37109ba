"""A stack's configuration without an engine that runs: from its file, for those who ask no cloud and run no program."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from polybus.errors import ConfigError, MissingExtra
from polybus.plan.values import is_mark
from polybus.provision.cloud import Provider, cloud_named, elsewhere
from polybus.provision.config import NAMESPACE, StackConfig
from polybus.provision.filled import Hidden
from polybus.registry import offering
from polybus.topology.model import Topology

__all__ = ["EVERYWHERE", "Configured", "loaded", "of_file", "of_stack", "of_stack_file", "stack_named"]

EVERYWHERE: Mapping[str, str] = {
    "cloud": "which cloud the stack is for",
    "topology": "the topology's file, relative to Pulumi.yaml; polybus.toml by default",
    "protect": "whether what the stack has made is kept from being deleted or replaced",
    "tags": "a table of tags, or labels, for everything that takes any",
    "existing": "the ARN or id of each topic or queue to adopt, by its name in the topology",
    "run": "what each service runs with, for `polybus export keda` and the like",
    "blanks": "what is known of where services run, by the names that `polybus export` leaves open",
    "values": 'what the topology leaves open, by the name that it has there: `{ config = "name" }`',
    "secrets": "the same, of what is a secret: an address with a password, say",
}
"""The keys of our namespace that every cloud reads, each with what it is for."""

_PROJECT = "Pulumi.yaml"
_SUFFIXES = (".toml", ".json", ".yaml", ".yml")

Stand = Callable[[str, bool], str]
"""Gives the text that stands for a value which isn't here, by the name of a variable, and whether it is a secret."""


@dataclass(frozen=True, slots=True)
class Configured:
    """What a file says of a stack; `given` are its values by their whole keys, as texts."""

    stack: str
    given: Mapping[str, str]
    place: str
    asked: set[str]

    def cloud(self) -> Provider:
        """Return the provider of the cloud that is named; raises ConfigError for none or another."""
        config = self.config
        known = offering("provider")
        name = config.one_of("cloud", known)
        if name is None:
            raise config.missing("cloud", f"one of {', '.join(known)}")
        return cloud_named(name)

    def text(self, key: str) -> str | None:
        """Return a value of our namespace."""
        return self.config.text(key)

    @property
    def protect(self) -> bool:
        return self.config.boolean("protect") or False

    @property
    def existing(self) -> Mapping[str, str]:
        """Give the topics and queues to adopt, by their names in the topology."""
        return self.config.texts_by_name("existing")

    @property
    def run(self) -> Mapping[str, Any]:
        """Give what each service runs with, as it stands there."""
        return self.config.table("run")

    @property
    def blanks(self) -> Mapping[str, str]:
        """Give what is known of where services run beside the stack, by the names of its exports' blanks."""
        return self.config.texts_by_name("blanks")

    @property
    def values(self) -> Mapping[str, str | Hidden]:
        """Give what fills in what the topology leaves open."""
        return self.config.values()

    def settings(self, cloud: Provider, topology: Topology) -> Any:
        """Return a plan's settings; raises ConfigError for what is misspelt, another cloud's or wrong."""
        config = self.config
        config.hold_keys((*EVERYWHERE, *cloud.keys), elsewhere(cloud))
        config.hold_services(cloud.name, cloud.who, topology)
        settings = cloud.settings(config)
        config.hold(one for one in cloud.planning.mistakes(settings) if not is_mark(one.found))
        return settings

    def unread(self) -> list[str]:
        """List the keys of providers that nothing has asked for."""
        return [key for key in self.given if not key.startswith(f"{NAMESPACE}:") and key not in self.asked]

    @property
    def config(self) -> StackConfig:
        """Return the keys of our namespace, to be read strictly."""
        begins = f"{NAMESPACE}:"
        ours = {key.removeprefix(begins): value for key, value in self.given.items() if key.startswith(begins)}
        return StackConfig(self.stack, ours, self._of, f"{self.place}: {NAMESPACE}:")

    def _of(self, namespace: str, key: str) -> str | None:
        self.asked.add(f"{namespace}:{key}")
        return self.given.get(f"{namespace}:{key}")


def stack_named(path: Path) -> str | None:
    """Return the stack that a file is of by its name, None where it has another than Pulumi gives."""
    name = path.name.removeprefix("Pulumi.").removesuffix(path.suffix)
    return name if path.name == f"Pulumi.{name}{path.suffix}" else None


def of_stack(folder: Path, stack: str, stand: Stand | None = None) -> Configured:
    """Read the file of a project's stack, as `of_stack_file` does; the project has to be there."""
    project = loaded(folder / _PROJECT)
    home = folder / str(project.get("stackConfigDir", "."))
    return _of_stack(home / f"Pulumi.{stack}.yaml", stack, project, stand)


def of_stack_file(path: Path, stack: str, stand: Stand | None = None) -> Configured:
    """Read `Pulumi.STACK.yaml`, and what the Pulumi.yaml beside it sets for all stacks.

    What is encrypted isn't read: `stand` gives what is planned with in its place. Without it, what is encrypted of
    ours is refused, and what is a provider's is left out. Raises ConfigError for that and for what can't be read.
    """
    project = path.parent / _PROJECT
    return _of_stack(path, stack, loaded(project) if project.is_file() else {}, stand)


def _of_stack(path: Path, stack: str, project: Mapping[str, Any], stand: Stand | None) -> Configured:
    name = str(project.get("name", NAMESPACE))
    common = {key: _default(value) for key, value in _table(path.parent / _PROJECT, project).items()}
    own = _table(path, loaded(path))
    whole = {_whole(key, name): value for values in (common, own) for key, value in values.items() if value is not None}
    plain = _without_secrets(path, whole) if stand is None else whole
    return Configured(stack, _texts(plain, stand), path.name, set())


def of_file(path: Path, stack: str, stand: Stand) -> Configured:
    """Read the same keys from a TOML, JSON or YAML file of one's own; those without a namespace are polybus's."""
    values = {_whole(key, NAMESPACE): value for key, value in loaded(path).items()}
    return Configured(stack, _texts(values, stand), str(path), set())


def _table(path: Path, file: Mapping[str, Any]) -> Mapping[str, Any]:
    found = file.get("config") or {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: at config: found {type(found).__name__}; allowed: a table of keys and values")
    return {str(key): value for key, value in found.items()}


def _without_secrets(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    filling = (f"{NAMESPACE}:values", f"{NAMESPACE}:secrets")  # what is secret there is left open
    secret = sorted(key for key, value in values.items() if key not in filling and _secret(value))
    if any(key.startswith(f"{NAMESPACE}:") for key in secret):
        raise ConfigError(f"{path}: found {', '.join(secret)} encrypted; what a bus is planned by is no secret")
    return {key: value for key, value in values.items() if key not in secret}


def _secret(value: Any) -> bool:
    """Say whether a value is encrypted, or anything in it."""
    if isinstance(value, Mapping):
        return set(value) == {"secure"} or any(map(_secret, value.values()))
    return isinstance(value, list) and any(map(_secret, value))


def _default(value: Any) -> Any:
    """Give what a project says for all stacks: a value, or a table that describes one."""
    return value.get("value", value.get("default")) if isinstance(value, Mapping) else value


def _whole(key: str, namespace: str) -> str:
    return key if ":" in key else f"{namespace}:{key}"


def _texts(values: Mapping[str, Any], stand: Stand | None) -> dict[str, str]:
    if stand is None:
        return {key: _text(value) for key, value in values.items()}
    return {key: _text(_standing(key.partition(":")[2], value, stand)) for key, value in values.items()}


def _standing(path: str, value: Any, stand: Stand) -> Any:
    """Replace what isn't here, at any depth: secrets, and what is left to a variable."""
    if isinstance(value, Mapping):
        if set(value) == {"secure"}:
            return stand(re.sub(r"\W", "_", path, flags=re.ASCII), True)
        if set(value) == {"variable"}:
            return stand(str(value["variable"]), False)
        return {key: _standing(f"{path}_{key}", item, stand) for key, item in value.items()}
    if isinstance(value, list):
        return [_standing(f"{path}_{at}", item, stand) for at, item in enumerate(value)]
    return value


def _text(value: Any) -> str:
    """Write a value as the engine hands it to a program."""
    return value if isinstance(value, str) else json.dumps(value)


def loaded(path: Path) -> dict[str, Any]:
    """Read a project's or stack's file as it stands; raises ConfigError for what is no such file."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: found the suffix {path.suffix!r}; allowed: {', '.join(_SUFFIXES)}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: it isn't UTF-8") from None
    found = _parsed(path, text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: found {type(found).__name__}; allowed: a table of keys")
    return {str(key): value for key, value in found.items()}


def _parsed(path: Path, text: str) -> Any:
    if path.suffix == ".json":
        import msgspec

        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path}: {error}") from None
    if path.suffix == ".toml":
        import tomllib

        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from None
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        raise MissingExtra(f"{path}: PyYAML, which reads it,", "", install="pyyaml") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
