"""What `polybus up`, `preview` and `outputs` share: where the stack is, and what has to be installed for it."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from polybus import registry
from polybus.cli import options
from polybus.errors import ConfigError, MissingExtra

__all__ = ["Folder", "Name", "Policies", "find_folder", "hold_sdk", "project_folder", "project_name"]

PROJECT = "Pulumi.yaml"

Name = Annotated[str, typer.Argument(metavar="STACK", help="The Pulumi stack, such as shop-dev.")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help="The folder of Pulumi.yaml; by default this one, `stacks` in it, or one above.",
        show_default=False,
    ),
]
Policies = Annotated[
    Path | None,
    typer.Option(
        "--policy-pack", help="A policy pack to hold the stack to, such as stacks/policy.", show_default=False
    ),
]


def find_folder(given: Path | None, stack: str) -> Path:
    """Return the folder of the Pulumi project; raises ConfigError where what it takes to run it isn't installed."""
    folder = project_folder(given)
    hold_sdk(folder, stack)
    if shutil.which("pulumi") is None:
        raise ConfigError(
            "the pulumi CLI is not on PATH: `curl -fsSL https://get.pulumi.com | sh`, or `brew install pulumi`; "
            "see https://www.pulumi.com/docs/install/"
        )
    return folder


def hold_sdk(folder: Path, stack: str) -> None:
    """Raise MissingExtra, with the extra of the stack's cloud, where Pulumi's SDK isn't installed."""
    if find_spec("pulumi") is None:
        raise MissingExtra("the Python package pulumi, beside the CLI,", f"{_cloud(folder, stack)}-stack")


def project_folder(given: Path | None) -> Path:
    """Return the folder of the Pulumi project, where the CLI isn't needed; raises a usage error where there is none."""
    return _folder(given)


def project_name(folder: Path) -> str:
    """Read the project's name without a parser for YAML; raises ConfigError for a file without one."""
    found = re.search(r"^name:\s*[\"']?([^\s\"'#]+)", (folder / PROJECT).read_text(), re.MULTILINE)
    if found is None:
        raise ConfigError(f"{folder / PROJECT}: no name")
    return found[1]


def _folder(given: Path | None) -> Path:
    here = Path.cwd() if given is None else given.resolve()
    for folder in (here, *((here / "stacks", *here.parents) if given is None else ())):
        if (folder / PROJECT).is_file():
            return folder
    raise options.refuse(f"there is no {PROJECT} in {here}{'' if given else ', its stacks, or above'}", "--folder")


def _cloud(folder: Path, stack: str) -> str:
    """Read the stack's cloud without a parser for YAML, to name the extra that it needs; any has all that is said."""
    path = folder / f"Pulumi.{stack}.yaml"
    known = [cloud.name for cloud in registry.built_in("provider")]
    found = re.search(rf"polybus:cloud:\s*[\"']?({'|'.join(known)})\b", path.read_text() if path.is_file() else "")
    return found[1] if found else known[0]
