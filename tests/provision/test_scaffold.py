"""What `polybus init --stack` writes: it is checked, planned and run, and its job refuses what would lose messages."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from polybus.binding import Binding
from polybus.cli.main import main

from . import runner, simulated

CLOUDS = ("aws", "azure", "gcp")
ROOT = Path(__file__).parents[2]


def polybus(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    code = ended.value.code
    return code if isinstance(code, int) else 0


def configuration(folder: Path, stack: str) -> dict[str, str]:
    """Give what the engine hands to the program: the project's values, then the stack's own."""
    project = yaml.safe_load((folder / "Pulumi.yaml").read_text())
    own = yaml.safe_load((folder / f"Pulumi.{stack}.yaml").read_text())["config"]
    common = {key: value["value"] for key, value in project["config"].items()}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in {**common, **own}.items()}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("kind", ["dev", "prod"])
def test_its_stacks_are_checked_planned_and_made(tmp_path: Path, cloud: str, kind: str) -> None:
    folder = tmp_path / "shop"
    assert polybus("init", folder, "--stack", cloud) == 0
    file, topology, stack = folder / f"stacks/Pulumi.{cloud}-{kind}.yaml", folder / "polybus.toml", f"{cloud}-{kind}"
    assert polybus("check", topology, "--cloud", cloud) == 0
    assert polybus("check", topology, "--config", file) == 0
    assert polybus("plan", topology, "--config", file) == 0
    stacks = folder / "stacks"

    def program() -> None:
        runpy.run_path(str(stacks / "__main__.py"), run_name="__main__")

    values = configuration(stacks, stack)
    done = runner.run(program, simulated.create, look=simulated.look, values=values, stack_name=stack, root=stacks)
    binding = Binding.from_json(runner.stack_output(done))
    assert (binding.backend, binding.bus) == (cloud, "shop")
    assert set(binding.subscriptions) == {"billing"}
    assert set(done.outputs["bindings"]) == {"shop", "billing"}
    protected = {one.options.get("protect", False) for one in done.resources}
    assert protected == ({True} if kind == "prod" else {False})


def test_all_clouds_are_beside_each_other(tmp_path: Path) -> None:
    for cloud in CLOUDS:
        assert polybus("init", tmp_path, "--stack", cloud) == 0
    stacks = {path.name for path in (tmp_path / "stacks").iterdir()}
    assert stacks == {"Pulumi.yaml", "__main__.py", "README.md"} | {
        name for cloud in CLOUDS
        for name in (f"Pulumi.{cloud}-dev.yaml", f"Pulumi.{cloud}-prod.yaml", f"requirements-{cloud}.txt")
    }  # fmt: skip
    for cloud in CLOUDS:
        assert f"polybus[{cloud}-stack]" in (tmp_path / f"stacks/requirements-{cloud}.txt").read_text()


def git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    done = subprocess.run(["git", *names, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def command(tmp_path: Path) -> Mapping[str, str]:
    """An environment in which `polybus` is this checkout's."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "polybus").write_text(f'#!/bin/sh\nexec {sys.executable} -m polybus.cli.main "$@"\n')
    (tools / "polybus").chmod(0o755)
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT / 'src'}"}


def steps(job: Mapping[str, Any], cwd: Path, env: Mapping[str, str]) -> int:
    """Run a job's own commands, all but those that install, until one fails."""
    for step in job["steps"]:
        if "run" in step and not step["run"].startswith("pip"):
            code = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=cwd, env=env, check=False).returncode
            if code:
                return code
    return 0


@pytest.mark.parametrize("inside", ["", "services/shop"])
def test_its_job_refuses_what_would_lose_messages(tmp_path: Path, command: Mapping[str, str], inside: str) -> None:
    repository = tmp_path / "repository"
    folder = repository / inside
    folder.mkdir(parents=True)
    git(repository, "init", "-q")
    git(repository, "commit", "-q", "--allow-empty", "-m", "empty")
    empty = git(repository, "rev-parse", "HEAD")
    assert polybus("init", folder, "--name", "shop", "--stack", "aws") == 0
    workflow = yaml.safe_load((repository / ".github/workflows/polybus-shop-aws.yml").read_text())
    prefix = f"{inside}/" if inside else ""
    assert workflow[True]["pull_request"]["paths"] == [f"{prefix}polybus.toml", f"{prefix}stacks/**"]  # YAML's `on`
    [job] = workflow["jobs"].values()
    assert (repository / job["defaults"]["run"]["working-directory"]).resolve() == folder.resolve()
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "first")
    first = git(repository, "rev-parse", "HEAD")
    (tmp_path / "runner").mkdir()
    env = {**command, "RUNNER_TEMP": str(tmp_path / "runner")}
    assert steps(job, folder, {**env, "BASE": empty}) == 0  # the pull request that brings it
    assert steps(job, folder, {**env, "BASE": first}) == 0
    topology = folder / "polybus.toml"
    topology.write_text(topology.read_text() + "[queues.more]\n")
    assert steps(job, folder, {**env, "BASE": first}) == 0
    topology.write_text(topology.read_text().replace("[subscriptions.billing]", "[subscriptions.bills]").replace(
        'consumes = ["billing"]', 'consumes = ["bills"]'))  # fmt: skip
    assert steps(job, folder, {**env, "BASE": first}) == 1
