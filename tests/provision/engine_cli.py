"""Pulumi's own CLI as the driver of a stack: a file backend, and the local plugins on PATH.

It is taken where `make engine` built it, and otherwise from PATH; `said` says which, or that there is none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation as auto
from pulumi.automation.events import EngineEvent, OpType

from polybus.provision import automation

from . import runner
from .engine import Changes

__all__ = ["POLICY", "UNSET", "WHOLE", "PulumiCli", "check_out", "environment", "find", "own_host", "said"]

UNSET = ("PULUMI_IGNORE_AMBIENT_PLUGINS", "PULUMI_DEBUG_PROVIDERS", "PULUMI_ACCESS_TOKEN", "PULUMI_STACK")
"""Variables that would lead the CLI elsewhere."""

_ENGINE = runner.STACKS.parent / ".engine"
_BUILT, _WHY = _ENGINE / "pulumi", _ENGINE / "why"
POLICY = _ENGINE / "policy"
"""The environment of the policy pack, which `make engine` makes."""

# All that there is with the CLI takes minutes: `make engine-test` and CI do it, and every other run a part.
WHOLE = os.environ.get("POLYBUS_ENGINE") == "whole"

_PROVIDER = "pulumi:providers:"
_HOST = "pulumi-language-python"


def find() -> Path | None:
    """Return the CLI, where there is one."""
    on_path = shutil.which("pulumi")
    return _BUILT if os.access(_BUILT, os.X_OK) else Path(on_path) if on_path else None


def own_host(cli: Path) -> bool:
    """Say whether a CLI has Pulumi's own host for Python, which is taken then."""
    beside = str(cli.resolve().parent)
    return shutil.which(_HOST) is not None or shutil.which(_HOST, path=beside) is not None


def said() -> str:
    """Say in a line with which engine stacks are tested here, and why."""
    found = find()
    if found is None:
        why = _WHY.read_text().strip() if _WHY.exists() else "`make engine` builds it with Go"
        return f"Pulumi's own engine: not run, no pulumi on PATH and none built ({why}); its test double ran"
    version = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"Pulumi's own engine: {version}, {'built by make engine' if found == _BUILT else found}"


def environment(folder: Path) -> dict[str, str]:
    """Give what keeps the CLI within `folder`: its home, its backend, and no downloads."""
    backend = folder / "backend"
    backend.mkdir(parents=True)
    return {
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": backend.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "local",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def check_out(folder: Path) -> Path:
    """Lay out stacks/ as in a checkout, with the environment that it names; return the project's folder."""
    project = folder / "stacks"
    shutil.copytree(runner.STACKS, project, ignore=shutil.ignore_patterns("__pycache__", "venv", "Pulumi.*-*.yaml"))
    _virtualenv(folder / ".venv")
    (project / "policy" / "venv").symlink_to(POLICY)
    return project


def _virtualenv(folder: Path) -> None:
    """Make an environment with pip, which the language host calls and which this one may not have."""
    venv.create(folder, with_pip=shutil.which(_HOST) is not None, symlinks=True)
    inside = sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)})
    # A path alone would leave out the .pth files there, by which packages are installed to be edited.
    here = sysconfig.get_path("purelib")
    (Path(inside) / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")


class PulumiCli:
    """One stack of the project in `folder`, through the Automation API, which runs the `pulumi` on PATH.

    `show` gets a line for each command: what it was, what became of how many resources, and how long it took.
    """

    def __init__(self, folder: Path, stack: str, show: Callable[[str], None]) -> None:
        self._folder = folder
        self._show = show
        self.stack = stack

    def preview(self, config: Mapping[str, Any]) -> Changes:
        chosen = self.chosen(config)
        return self._run("preview", lambda on_event: chosen.preview(color="never", on_event=on_event))

    def up(self, config: Mapping[str, Any], *, refresh: bool = False, policies: Path | None = None) -> Changes:
        chosen = self.chosen(config)
        packs = None if policies is None else [str(policies)]
        name = f"up{' --refresh' if refresh else ''}{'' if policies is None else f' --policy-pack {policies.name}'}"
        changes = self._run(
            name,
            lambda on_event: chosen.up(color="never", on_event=on_event, refresh=refresh, policy_packs=packs),
        )
        if not changes.failed:
            changes.outputs = dict(automation.outputs(self.stack, self._folder))
        return changes

    def refresh(self) -> Changes:
        chosen = auto.select_stack(self.stack, work_dir=str(self._folder))
        return self._run("refresh", lambda on_event: chosen.refresh(color="never", on_event=on_event))

    def destroy(self) -> Changes:
        chosen = auto.select_stack(self.stack, work_dir=str(self._folder))
        return self._run("destroy", lambda on_event: chosen.destroy(color="never", on_event=on_event))

    def configuration(self) -> Mapping[str, Any]:
        """Read the stack's configuration, secrets as the CLI has encrypted them."""
        path = self._folder / f"Pulumi.{self.stack}.yaml"
        written: Mapping[str, Any] = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
        return written

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the stack's configuration, beside what the CLI keeps in the same file (the salt of its secrets)."""
        path = self._folder / f"Pulumi.{self.stack}.yaml"
        path.write_text(yaml.safe_dump({**self.configuration(), "config": dict(config)}))

    def chosen(self, config: Mapping[str, Any]) -> auto.Stack:
        """Return the stack, made where it wasn't, configured so."""
        self.configure(config)
        return auto.create_or_select_stack(self.stack, work_dir=str(self._folder))

    def forget(self) -> None:
        """Remove the stack with its state, and nothing of what it has made."""
        auto.LocalWorkspace(work_dir=str(self._folder)).remove_stack(self.stack, force=True)

    def take_over(self, config: Mapping[str, Any], file: str) -> None:
        """Import what a file for `pulumi import --file` names into the stack."""
        self.chosen(config)
        given = self._folder / "import.json"
        given.write_text(file)
        options = ["--file", str(given), "--stack", self.stack, "--yes", "--generate-code=false", "--protect=false"]
        started = time.monotonic()
        subprocess.run(["pulumi", "import", *options], cwd=self._folder, check=True, capture_output=True)
        count = len(json.loads(file)["resources"])
        self._show(f"  {self.stack}: pulumi import: {count} resources, {time.monotonic() - started:.1f} s")

    def _run(self, name: str, call: Callable[[Callable[[EngineEvent], None]], object]) -> Changes:
        steps: list[tuple[OpType, str]] = []
        undone: set[str] = set()
        only_read = name == "refresh"  # what a step of reading comes to is told at its end

        def on_event(event: EngineEvent) -> None:
            told = event.res_outputs_event if only_read else event.resource_pre_event
            if told is not None:
                op, type_, urn = OpType(told.metadata.op), told.metadata.type, told.metadata.urn
                if not type_.startswith(_PROVIDER) and op is not OpType.REFRESH:
                    steps.append((op, urn.rpartition("::")[2]))
            elif event.res_op_failed_event is not None:
                undone.add(event.res_op_failed_event.metadata.urn.rpartition("::")[2])

        changes, started = Changes(), time.monotonic()
        try:
            call(on_event)
        except auto.CommandError as error:
            changes.failed = str(error)
        _sort([step for step in steps if step[1] not in undone], changes)
        self._show(f"  {self.stack}: pulumi {name}: {_counts(changes)}, {time.monotonic() - started:.1f} s")
        return changes


def _counts(changes: Changes) -> str:
    named = ("created", "updated", "replaced", "deleted", "same")
    counts = [f"{len(getattr(changes, name))} {name}" for name in named if getattr(changes, name)]
    return ", ".join([*counts, *(["refused or failed"] if changes.failed else [])]) or "nothing"


def _sort(steps: list[tuple[OpType, str]], changes: Changes) -> None:
    """Tell by the engine's steps what became of each resource: a replacement takes three of them."""
    sets = {
        OpType.CREATE: changes.created,
        OpType.UPDATE: changes.updated,
        OpType.REPLACE: changes.replaced,
        OpType.CREATE_REPLACEMENT: changes.replaced,
        OpType.DELETE: changes.deleted,
        OpType.SAME: changes.same,
    }
    for op, name in steps:
        if op in (OpType.DELETE, OpType.DELETE_REPLACED):
            changes.order.append(name)
        if op is not OpType.DELETE_REPLACED:
            sets[op].add(name)
