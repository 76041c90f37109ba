"""A team's Pulumi project as the CLI sees it on this machine: a folder of its own that leads to the team's program.

The team's folder is not written to: Pulumi would keep the salt of its passphrase in the stack's file there, and can't
read what another passphrase has encrypted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # Pulumi needs it, and it has no types of its own

from polybus.errors import ConfigError
from polybus.provision.config import NAMESPACE
from polybus.provision.configured import loaded, of_stack_file
from polybus.provision.laptop.cloud import laptops

__all__ = ["PROJECT", "cloud_of", "stack_file", "topology_of", "write"]

PROJECT = "Pulumi.yaml"
_TOPOLOGY = "polybus.toml"
_SALT = "encryptionsalt"


def stack_file(project: Path, stack: str) -> Path:
    """Return the file of a stack's configuration; raises ConfigError with those that there are."""
    path = project / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        found = ", ".join(sorted(_stacks(project))) or "none"
        raise ConfigError(f"{project}: there is no {path.name}; the stacks that have a file: {found}")
    return path


def cloud_of(project: Path, stack: str) -> str:
    """Return the cloud that a stack is for; raises ConfigError where its configuration names none, or several.

    It is what `polybus:cloud` says, and in a project that has no such key the provider that is configured.
    """
    path = stack_file(project, stack)
    values = of_stack_file(path, stack).given
    known = dict(laptops())
    named = values.get(f"{NAMESPACE}:cloud")
    configured = [name for name, laptop in known.items() if any(key.startswith(f"{laptop.package}:") for key in values)]
    if named is None and len(configured) == 1:
        return configured[0]
    if named not in known:
        found = "no value" if named is None else repr(named)
        raise ConfigError(f"{path}: at {NAMESPACE}:cloud: found {found}; allowed: {', '.join(known)}")
    return named


def topology_of(project: Path, stack: str) -> Path:
    """Return where the stack's topology is by its configuration; a program may have another, or none in a file."""
    return project / (of_stack_file(stack_file(project, stack), stack).text("topology") or _TOPOLOGY)


def write(project: Path, stack: str, folder: Path, programs: Path) -> tuple[str, ...]:
    """Write a project into `folder` that runs the program of `project` where it is, with the stack's configuration.

    Its providers, and its host for Python, are those in `programs`. What else the CLI has kept of the stack stays.
    Returns the keys that are encrypted and so left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = loaded(stack_file(project, stack)).get("config") or {}
    encrypted = tuple(sorted(key for key, value in given.items() if _is_encrypted(value)))
    own = folder / f"Pulumi.{stack}.yaml"
    kept = loaded(own) if own.is_file() else {}
    config = {key: value for key, value in given.items() if key not in encrypted}
    salt = {_SALT: kept[_SALT]} if _SALT in kept else {}
    _put(folder / PROJECT, _project(project, loaded(project / PROJECT), folder, programs))
    _put(own, {**salt, "config": config})
    return encrypted


def _project(project: Path, given: Mapping[str, Any], folder: Path, programs: Path) -> dict[str, Any]:
    """Return the content of Pulumi.yaml, with what is relative to the team's folder written from this one."""
    runtime = given.get("runtime")
    runtime = {"name": runtime} if isinstance(runtime, str) else dict(runtime or {})
    if runtime.get("name") == "python":
        runtime["options"] = _options(project, runtime.get("options") or {})
    without = {key: value for key, value in given.items() if key != "backend"}  # the team's own, not to be asked
    return {
        **without,
        **({"packages": _placed(given["packages"], project)} if "packages" in given else {}),
        "plugins": _plugins(_placed(given.get("plugins") or {}, project), programs),
        "runtime": runtime,
        "main": os.path.relpath(project / str(given.get("main") or "."), folder),
    }


def _options(project: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of our host for Python; where the project's environment isn't made, this Python does."""
    options = {key: value for key, value in given.items() if key not in ("toolchain", "virtualenv")}
    environment = project / str(given.get("virtualenv", ""))
    named = "virtualenv" in given and (environment / "bin" / "python").exists()
    return {**options, "root": str(project), **({"virtualenv": os.path.normpath(environment)} if named else {})}


def _plugins(given: Mapping[str, Any], programs: Path) -> dict[str, Any]:
    """Return where the engine finds plugins: named here, it takes them without a look at PATH or a warning."""
    ours = {laptop.package: {"name": laptop.package, "path": str(programs)} for _, laptop in laptops()}
    others = [one for one in given.get("providers") or () if one.get("name") not in ours]
    python = {"name": "python", "path": str(programs)}
    return {**given, "providers": [*ours.values(), *others], "languages": [python]}


def _placed(value: Any, project: Path) -> Any:
    """Write paths that begin with a dot in full."""
    if isinstance(value, Mapping):
        return {key: _placed(item, project) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, project) for item in value]
    return os.path.normpath(project / value) if isinstance(value, str) and re.match(r"\.\.?/", value) else value


def _is_encrypted(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"secure"}


def _stacks(project: Path) -> Iterator[str]:
    return (path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in project.glob("Pulumi.*.yaml"))


def _put(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file as a whole: the CLI may be reading it for another command."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(yaml.safe_dump(dict(content), sort_keys=False))
    beside.replace(path)
