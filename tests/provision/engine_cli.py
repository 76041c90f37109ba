"""Pulumi's own CLI as the driver of a stack: a file backend, and the local provider plugins on PATH.

Never run where this was written: there was no CLI, and nothing here builds or downloads one. What it builds on was
read in Pulumi's sources: plugins on PATH are taken before installed ones (workspace.getPluginInfoAndPath), the language
host lists a virtual environment's packages with `python -m pip list` (sdk/python/toolchain/pip.go) and asks for the
plugin of each Pulumi package in it.
"""

from __future__ import annotations

import shutil
import sysconfig
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

__all__ = ["UNSET", "PulumiCli", "environment", "write_project"]

UNSET = ("PULUMI_IGNORE_AMBIENT_PLUGINS", "PULUMI_DEBUG_PROVIDERS", "PULUMI_ACCESS_TOKEN", "PULUMI_STACK")
"""Variables that would lead the CLI elsewhere."""

_PROVIDER = "pulumi:providers:"


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


def write_project(folder: Path) -> None:
    """Write the project of stacks/ into a folder, and beside it an environment that sees what this one has."""
    shutil.copy(runner.STACKS / "__main__.py", folder)
    project = yaml.safe_load((runner.STACKS / "Pulumi.yaml").read_text())
    project["runtime"]["options"] = {"toolchain": "pip", "virtualenv": str(_virtualenv(folder.parent / "venv"))}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))


def _virtualenv(folder: Path) -> Path:
    """Make an environment with pip, which the language host calls and which this one may not have."""
    venv.create(folder, with_pip=True, symlinks=True)
    inside = sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)})
    # A path alone would leave out the .pth files there, by which packages are installed to be edited.
    here = sysconfig.get_path("purelib")
    (Path(inside) / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return folder


class PulumiCli:
    """One stack of the project in `folder`, through the Automation API, which runs the `pulumi` on PATH."""

    def __init__(self, folder: Path, stack: str) -> None:
        self._folder = folder
        self.stack = stack

    def preview(self, config: Mapping[str, Any]) -> Changes:
        chosen = self._configured(config)
        return self._run(lambda on_event: chosen.preview(color="never", on_event=on_event))

    def up(self, config: Mapping[str, Any]) -> Changes:
        chosen = self._configured(config)
        changes = self._run(lambda on_event: chosen.up(color="never", on_event=on_event))
        if not changes.failed:
            changes.outputs = dict(automation.outputs(self.stack, self._folder))
        return changes

    def destroy(self) -> Changes:
        chosen = auto.select_stack(self.stack, work_dir=str(self._folder))
        return self._run(lambda on_event: chosen.destroy(color="never", on_event=on_event))

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the stack's configuration, beside what the CLI keeps in the same file (the salt of its secrets)."""
        path = self._folder / f"Pulumi.{self.stack}.yaml"
        written = yaml.safe_load(path.read_text()) if path.exists() else {}
        path.write_text(yaml.safe_dump({**(written or {}), "config": dict(config)}))

    def _configured(self, config: Mapping[str, Any]) -> auto.Stack:
        self.configure(config)
        return auto.create_or_select_stack(self.stack, work_dir=str(self._folder))

    def _run(self, call: Callable[[Callable[[EngineEvent], None]], object]) -> Changes:
        steps: list[tuple[OpType, str]] = []

        def on_event(event: EngineEvent) -> None:
            if event.resource_pre_event is not None:
                step = event.resource_pre_event.metadata
                if not step.type.startswith(_PROVIDER):
                    steps.append((OpType(step.op), step.urn.rpartition("::")[2]))

        changes = Changes()
        try:
            call(on_event)
        except auto.CommandError as error:
            changes.failed = str(error)
        _sort(steps, changes)
        return changes


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
