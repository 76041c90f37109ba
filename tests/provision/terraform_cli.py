"""Terraform's own CLI with its real AWS provider, on the local AWS server: a referee that knows nothing of polybus.

The provider is found where Terraform looks for ones that are there already, and where POLYBUS_TERRAFORM_PLUGINS says;
nothing is fetched. `ABSENT` says what is missing, "" where it can run.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybus.clouds.aws.plan.terraform import TERRAFORM
from polybus.localcloud.aws.server import AwsServer
from polybus.plan.terraform.model import version_of

REGION = "eu-west-1"

# Most of an update is waiting until SQS would have made it known everywhere, so all of it at once.
_AT_ONCE = "-parallelism=64"
_PATIENCE = 540  # seconds for one command: it waits some 25 s for each of several steps, and then gives up by itself

_FOLDERS = (
    os.environ.get("POLYBUS_TERRAFORM_PLUGINS", ""),
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
    "/opt/tf-plugins",
)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def _found() -> tuple[Path, str] | None:
    """Find a folder with the provider for this machine, and the newest version in it."""
    machine = f"{platform.system().lower()}_{_MACHINES.get(platform.machine(), platform.machine())}"
    for name in filter(None, _FOLDERS):
        folder = Path(name).expanduser()
        there = folder / "registry.terraform.io" / TERRAFORM.source
        versions = [path.parent.name for path in there.glob(f"*/{machine}")] if there.is_dir() else []
        known = sorted(
            (version for version in versions if version_of(version) >= version_of(TERRAFORM.oldest)), key=version_of
        )
        if known:
            return folder, known[-1]
    return None


PLUGINS = _found()
VERSION = PLUGINS[1] if PLUGINS else TERRAFORM.oldest
ABSENT = ""
if shutil.which("terraform") is None:
    ABSENT = "no `terraform` on PATH"
elif PLUGINS is None:
    WANTED = f"{TERRAFORM.source} {TERRAFORM.oldest} or newer"
    ABSENT = f"no provider {WANTED} in POLYBUS_TERRAFORM_PLUGINS or where Terraform looks"


_CHANGING = ("init", "plan", "apply", "destroy")
_FINE = {"validate": (0, 1), "plan": (0, 2)}
"""The exit codes of commands that say by theirs what they found."""


class Failed(AssertionError):
    """A command ended with an error; the message has what it said."""


@dataclass
class Changes:
    """What a plan would do, by address; `how` is Terraform's own account of each."""

    actions: dict[str, list[str]] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)

    def of(self, *actions: str) -> set[str]:
        return {address for address, found in self.actions.items() if found == [*actions]}


class Terraform:
    """One folder of Terraform's, and commands in it as a person gives them; `s3` is where S3 is."""

    def __init__(self, folder: Path, server: AwsServer, *, s3: str = "") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))},
            **server.env(),
            **({"AWS_ENDPOINT_URL_S3": s3} if s3 else {}),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
        }

    def write(self, document: Mapping[str, Any]) -> None:
        (self.folder / "main.tf.json").write_text(json.dumps(document))

    def init(self) -> None:
        assert PLUGINS is not None
        self.run("init", f"-plugin-dir={PLUGINS[0]}")

    def validate(self) -> list[str]:
        """Return all that Terraform and the provider find wrong or deprecated."""
        done = json.loads(self.run("validate", "-json"))
        return [f"{one['severity']}: {one['summary']}: {one.get('detail', '')}" for one in done["diagnostics"]]

    def plan(self, *more: str) -> Changes:
        """Return what an apply would change, nothing of what only is read."""
        self.run("plan", "-out=planned", _AT_ONCE, *more)
        found = json.loads(self.run("show", "-json", "planned"))
        changed = [
            one for one in found.get("resource_changes", ()) if one["change"]["actions"] not in (["no-op"], ["read"])
        ]
        return Changes(
            {one["address"]: one["change"]["actions"] for one in changed},
            {one["address"]: _difference(one["change"]) for one in changed},
        )

    def settled(self) -> bool:
        """Tell whether an apply would change nothing."""
        return self._run("plan", "-detailed-exitcode", "-lock=false", _AT_ONCE).returncode == 0

    def apply(self) -> None:
        self.run("apply", "-auto-approve", _AT_ONCE)

    def destroy(self) -> None:
        self.run("destroy", "-auto-approve", _AT_ONCE)

    def output(self, name: str) -> Any:
        return json.loads(self.run("output", "-json", name))

    def addresses(self) -> set[str]:
        return set(self.run("state", "list").split())

    def run(self, *arguments: str) -> str:
        """Run a command; raises Failed with what it said where it ends with an error."""
        return self._run(*arguments).stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["terraform", *arguments]
        if arguments[0] in _CHANGING:
            command += ["-no-color", "-input=false"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode not in _FINE.get(arguments[0], (0,)):
            raise Failed(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done


def _difference(change: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    before, after = change["before"] or {}, change["after"] or {}
    return {
        name: (before.get(name), after.get(name)) for name in {**before, **after} if before.get(name) != after.get(name)
    }
