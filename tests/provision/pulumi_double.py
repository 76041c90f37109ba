"""A `pulumi` for the Automation API where the real one isn't at hand: the engine's double behind the CLI's arguments.

It knows what `polybus up|preview|refresh|destroy|outputs --local` have it asked, and keeps stacks in the folder of
PULUMI_BACKEND_URL. `write` puts one into a folder that is to be on PATH.
"""

from __future__ import annotations

import json
import os
import pickle
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

if TYPE_CHECKING:
    from .engine import Changes

_ROOT = Path(__file__).parents[2]
_TIME = "2026-01-01T00:00:00.000Z"


def write(folder: Path) -> Path:
    """Write the executable, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = shlex.join([sys.executable, "-P", "-m", "tests.provision.pulumi_double"])
    executable = folder / "pulumi"
    executable.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(_ROOT))}:"$PYTHONPATH" exec {command} "$@"\n')
    executable.chmod(0o755)
    return executable


class Stack:
    """What is kept of one stack: the engine's state, and of its last update what it exported and what it changed."""

    def __init__(self, name: str) -> None:
        self.name = name
        folder = Path(urlparse(os.environ["PULUMI_BACKEND_URL"]).path)
        self._state, self._told = folder / f"{name}.pickle", folder / f"{name}.json"
        self.there = self._told.exists()
        self.told: dict[str, Any] = json.loads(self._told.read_text()) if self.there else {"outputs": {}, "changes": {}}

    def keep(self) -> None:
        self._told.write_text(json.dumps(self.told))

    def run(self, way: str) -> Changes:
        """Run the program of the project in the working directory, or what else the engine is to do."""
        # What only looks at a stack, which most commands do, needn't wait for the engine and all that it needs.
        import yaml

        from .engine import EngineDouble
        from .engine_host import Host
        from .engine_plugin import Plugins
        from .runner import whole

        project = yaml.safe_load(Path("Pulumi.yaml").read_text())
        config = yaml.safe_load(Path(f"Pulumi.{self.name}.yaml").read_text())["config"]
        defaults = {
            f"polybus:{key}": entry["default"] for key, entry in project["config"].items() if "default" in entry
        }
        values = {key: _text(value) for key, value in {**defaults, **config}.items()}
        [path] = {one["path"] for one in project["plugins"]["providers"]}
        with Host(["polybus.provision"]) as host, Plugins(path, values) as plugins:
            program, root = Path(project["main"], "__main__.py").resolve(), project["runtime"]["options"]["root"]
            engine = EngineDouble(program, Path(root), self.name, host, plugins)
            engine.state = pickle.loads(self._state.read_bytes()) if self._state.exists() else {}
            ways: dict[str, Callable[[], Changes]] = {
                "preview": lambda: engine.preview(values),
                "up": lambda: engine.up(values),
                "refresh": engine.refresh,
                "destroy": engine.destroy,
            }
            changes = ways[way]()
            if way != "preview":
                outputs = whole(changes.outputs) or (self.told["outputs"] if engine.state else {})
                resources = [
                    {"urn": urn, "type": held.type, "custom": held.custom, "inputs": held.inputs}
                    for urn, held in engine.state.items()
                ]
                self.told = {"outputs": outputs, "changes": counts(changes), "resources": resources}
                self._state.write_bytes(pickle.dumps(engine.state))
                self.keep()
        return changes


def counts(changes: Changes) -> dict[str, int]:
    named = {"create": changes.created, "update": changes.updated, "replace": changes.replaced}
    named |= {"delete": changes.deleted, "same": changes.same}
    return {kind: len(names) for kind, names in named.items() if names}


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def main(arguments: list[str]) -> int:
    words = [word for word in arguments if word != "--non-interactive"]
    if words == ["version"]:
        print("v3.200.0")  # before the CLI could tell of events over gRPC, which needs more than a file
        return 0
    name = words[words.index("--stack") + 1] if "--stack" in words else words[2]
    stack = Stack(name)
    if words[0] == "stack":
        return _stack(stack, words[1])
    changes = stack.run(words[0])
    print(f"{words[0]} of {name}: {counts(changes)}", flush=True)
    _log(words, counts(changes))
    if changes.failed:
        print(f"error: {' '.join(changes.failed.split())}", file=sys.stderr)
        return 255
    return 0


def _log(words: list[str], changes: Mapping[str, int]) -> None:
    if "--event-log" in words:
        summary = {"maybeCorrupt": False, "durationSeconds": 1, "resourceChanges": changes, "policyPacks": {}}
        events = [
            {"sequence": 1, "timestamp": 1, "summaryEvent": summary},
            {"sequence": 2, "timestamp": 2, "cancelEvent": {}},
        ]
        with Path(words[words.index("--event-log") + 1]).open("a") as log:
            log.writelines(json.dumps(event) + "\n" for event in events)


def _stack(stack: Stack, what: str) -> int:
    if what == "init":
        stack.keep()
    elif not stack.there:
        print(f"error: no stack named '{stack.name}' found", file=sys.stderr)
        return 255
    elif what == "output":
        print(json.dumps(stack.told["outputs"]))
    elif what == "history":
        update = {"kind": "update", "startTime": _TIME, "message": "", "environment": {}, "config": {}}
        done = {"result": "succeeded", "endTime": _TIME, "version": 1, "resourceChanges": stack.told["changes"]}
        print(json.dumps([{**update, **done}]))
    elif what == "export":
        resources = stack.told.get("resources", [])
        print(json.dumps({"version": 3, "deployment": {"resources": resources}}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
