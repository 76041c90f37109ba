"""What each stack registers with Pulumi's engine, word for word, in files that are reviewed as diffs.

POLYBUS_UPDATE_GOLDEN=1 pytest tests/provision/test_golden.py writes them anew; without it a difference fails.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from . import runner, simulated

GOLDEN = Path(__file__).parent / "golden"
STACKS = sorted(path.name.split(".")[1] for path in runner.STACKS.glob("Pulumi.*.yaml"))


def readable(value: Any) -> Any:
    """Show JSON text as what it says, so that a policy's diff is one of its statements."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        return {"json": readable(json.loads(value))}
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    return value


def golden(done: runner.Run) -> str:
    """Write a run as text: resources by type and name (registration follows the data, and so varies), then exports."""
    resources = [
        {
            "type": resource.type,
            "name": resource.name,
            "parent": resource.parent.rpartition("::")[2],
            "inputs": readable(runner.whole(dict(resource.inputs))),
            "options": resource.options,
        }
        for resource in sorted(done.resources, key=lambda resource: (resource.type, resource.name))
    ]
    return json.dumps({"resources": resources, "outputs": readable(done.outputs)}, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_registers_what_its_golden_file_says(stack: str) -> None:
    text = golden(runner.run_stack(stack, simulated.create, look=simulated.look))
    path = GOLDEN / f"{stack}.json"
    if os.environ.get("POLYBUS_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs: review, then POLYBUS_UPDATE_GOLDEN=1 writes it anew"


def python_names(value: Any, inside: str = "") -> list[str]:
    """Find keys in Python's style at any depth, except where keys are data: tags and labels."""
    found: list[str] = []
    if isinstance(value, dict) and inside not in ("tags", "labels"):
        for key, item in value.items():
            found += [key] if "_" in key else []
            found += python_names(item, key)
    elif isinstance(value, list):
        found = [name for item in value for name in python_names(item, inside)]
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_every_argument_reaches_the_provider_by_its_own_name(stack: str) -> None:
    """The SDKs pass a misspelt argument inside another on as it is, and one of several forms without renaming it."""
    done = runner.run_stack(stack, simulated.create, look=simulated.look)
    assert [(resource.name, python_names(dict(resource.inputs))) for resource in done.resources] == [
        (resource.name, []) for resource in done.resources
    ]


def documents(value: Any) -> list[str]:
    """Find JSON text at any depth."""
    if isinstance(value, str):
        return [value] if value.startswith(("{", "[")) else []
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inside for text in documents(item)]


@pytest.mark.parametrize("stack", STACKS)
def test_json_is_given_without_white_space_as_clouds_give_it_back(stack: str) -> None:
    """A provider that compares text would change it at every update."""
    done = runner.run_stack(stack, simulated.create, look=simulated.look)
    for resource in done.resources:
        for text in documents(dict(resource.inputs)):
            assert text == json.dumps(json.loads(text), separators=(",", ":")), resource.name


def test_no_golden_file_outlives_its_stack() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == STACKS
