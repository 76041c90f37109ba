"""A stack's configuration from its file, `Pulumi.<stack>.yaml`: for those who ask no cloud and run no program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # Pulumi needs it, and it has no types of its own

from polybus.errors import ConfigError
from polybus.provision.config import NAMESPACE, StackConfig

__all__ = ["config_of", "loaded", "stack_named", "values_of"]

_PROJECT = "Pulumi.yaml"


def stack_named(path: Path) -> str | None:
    """Return the stack that a file is of by its name, None where it has another than Pulumi gives."""
    name = path.name.removeprefix("Pulumi.").removesuffix(path.suffix)
    return name if path.name == f"Pulumi.{name}{path.suffix}" else None


def values_of(path: Path) -> Mapping[str, str]:
    """Read a file's keys as Pulumi gives them to a program: in full, what is structured as JSON text.

    The project's defaults are those of the Pulumi.yaml beside it. Of what is encrypted nothing is read. Raises
    ConfigError for what is no such file.
    """
    found = loaded(path).get("config") or {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: at config: found {type(found).__name__}; allowed: a table of keys and values")
    given = {_full(str(key)): value for key, value in found.items()}
    values = {**_defaults(path.parent / _PROJECT), **given}
    secret = sorted(key for key, value in values.items() if isinstance(value, dict) and set(value) == {"secure"})
    if any(key.startswith(f"{NAMESPACE}:") for key in secret):
        raise ConfigError(f"{path}: found {', '.join(secret)} encrypted; what a bus is planned by is no secret")
    return {key: _text(value) for key, value in values.items() if key not in secret}


def config_of(path: Path, stack: str) -> StackConfig:
    """Return what a file says of a stack; raises ConfigError for what is no such file."""
    values = values_of(path)
    prefix = f"{NAMESPACE}:"
    own = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}

    def of(namespace: str, key: str) -> str | None:
        return values.get(f"{namespace}:{key}")

    return StackConfig(stack, own, of, f"{path.name}: {prefix}")


def loaded(path: Path) -> dict[str, Any]:
    """Read a project's or stack's file as it stands; raises ConfigError for what is no such file."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: found no table; allowed: a stack's configuration, Pulumi.<stack>.yaml")
    return found


def _defaults(project: Path) -> dict[str, Any]:
    if not project.is_file():
        return {}
    declared = loaded(project).get("config") or {}
    defaults = {
        key: entry["default"] for key, entry in declared.items() if isinstance(entry, dict) and "default" in entry
    }
    return {_full(key): value for key, value in defaults.items()}


def _full(key: str) -> str:
    """Write a key with its namespace; without one it is of the project, whose name is the namespace."""
    return key if ":" in key else f"{NAMESPACE}:{key}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
