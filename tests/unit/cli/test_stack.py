"""`polybus up`, `preview` and `outputs`: what they ask of the pulumi CLI, which a script stands for here."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polybus.installed import requirement

BINDING = {"backend": "aws", "bus": "shop", "version": 1, "topics": {}}
OUTPUTS = {"polybus": BINDING, "topics": {"orders": {"arn": "arn:aws:sns:eu-west-1:1:orders"}}, "hidden": "s3cret"}

# It records its arguments, says what the CLI would, and writes the event that a preview ends with.
PULUMI = """#!{python} -SE
import json, os, sys
arguments = [it for it in sys.argv[1:] if it != "--non-interactive"]
folder = {folder!r}
with open(os.path.join(folder, "calls.jsonl"), "a") as calls:
    calls.write(json.dumps(dict(arguments=arguments, cwd=os.getcwd())) + "\\n")
if arguments == ["version"]:
    print("v3.200.0")
elif os.path.exists(os.path.join(folder, "fail-" + arguments[0])):
    print("Diagnostics:", "error: the cloud said no", sep="\\n", file=sys.stderr)
    sys.exit(255)
elif arguments[:2] == ["stack", "select"] and not os.path.exists(os.path.join(folder, "there")):
    print("error: no stack named 'aws-dev' found", file=sys.stderr)
    sys.exit(255)
elif arguments[:2] == ["stack", "init"]:
    open(os.path.join(folder, "there"), "w").close()
elif arguments[:2] == ["stack", "output"]:
    outputs = json.load(open(os.path.join(folder, "outputs.json")))
    if "--show-secrets" not in arguments:
        outputs = {{key: "[secret]" if key == "hidden" else value for key, value in outputs.items()}}
    print(json.dumps(outputs))
elif arguments[:2] == ["stack", "history"]:
    when = "2026-01-01T00:00:00.000Z"
    print(json.dumps([dict(kind="update", startTime=when, message="", environment={{}}, config={{}},
                           result="succeeded", endTime=when, version=1, resourceChanges={{"create": 3}})]))
elif arguments[0] == "preview":
    print("Previewing update (aws-dev)")
    event = dict(sequence=1, timestamp=1, summaryEvent=dict(
        maybeCorrupt=False, durationSeconds=1, resourceChanges={{"create": 3, "same": 2}}, policyPacks={{}}))
    log = arguments[arguments.index("--event-log") + 1]
    with open(log, "a") as events:
        events.write(json.dumps(event) + "\\n" + json.dumps(dict(sequence=2, timestamp=2, cancelEvent={{}})) + "\\n")
elif arguments[0] == "up":
    print("Updating (aws-dev)")
"""


class Project:
    """A Pulumi project, and the CLI that is on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "stacks"
        self.folder.mkdir()
        (self.folder / "Pulumi.yaml").write_text("name: polybus\nruntime: python\n")
        (self.folder / "Pulumi.aws-dev.yaml").write_text("config:\n  polybus:cloud: aws\n")
        (self.folder / "Pulumi.gcp-dev.yaml").write_text('config:\n  polybus:cloud: "gcp"\n')
        self.bin = folder / "bin"
        self.bin.mkdir()
        script = self.bin / "pulumi"
        script.write_text(PULUMI.format(python=sys.executable, folder=str(self.bin)))
        script.chmod(0o755)
        self.outputs(OUTPUTS)

    def outputs(self, outputs: object) -> None:
        (self.bin / "outputs.json").write_text(json.dumps(outputs))

    def mark(self, name: str) -> None:
        (self.bin / name).touch()

    def calls(self) -> list[list[str]]:
        """Give the arguments of each call but those that ask for the version; all run in the project's folder."""
        lines = (self.bin / "calls.jsonl").read_text().splitlines()
        calls = [json.loads(line) for line in lines]
        assert {Path(call["cwd"]) for call in calls if call["arguments"] != ["version"]} == {self.folder}
        return [call["arguments"] for call in calls if call["arguments"] != ["version"]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return made


def test_up_with_yes_updates_at_once(cli: Callable, project: Project) -> None:
    result = cli("up", "aws-dev", "--yes", "--policy-pack", "pack")
    assert result.code == 0, result.err
    assert "Updating (aws-dev)" in result.out
    assert "polybus outputs aws-dev --json > polybus.binding.json" in result.out
    calls = project.calls()
    assert [call[:2] for call in calls[:3]] == [["stack", "select"], ["stack", "init"], ["up", "--yes"]]
    assert calls[2][-2:] == ["--stack", "aws-dev"]
    packs = [calls[2][at + 1] for at, given in enumerate(calls[2]) if given == "--policy-pack"]
    assert packs == [str(project.folder.parent / "pack")]


def test_up_asks_nobody_where_nobody_is(cli: Callable, project: Project) -> None:
    result = cli("up", "aws-dev")
    assert result.code == 2
    assert "--yes goes on without" in " ".join(result.err.split())
    assert not (project.bin / "calls.jsonl").exists()


@pytest.mark.parametrize(("answer", "updated"), [(b"y\n", True), (b"n\n", False)])
def test_up_previews_and_asks_on_a_terminal(project: Project, answer: bytes, updated: bool) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "polybus.cli.main", "up", "aws-dev"]
    with os.fdopen(ours, "wb", buffering=0) as terminal, os.fdopen(theirs, "rb") as stdin:
        terminal.write(answer)
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == (0 if updated else 1), done.stderr
    assert "aws-dev: 3 to create. Go on?" in done.stdout + done.stderr
    assert ("up" in [call[0] for call in project.calls()]) is updated


def test_preview_counts(cli: Callable, project: Project) -> None:
    project.mark("there")
    result = cli("preview", "aws-dev", "--folder", project.folder)
    assert result.code == 0, result.err
    assert result.out.endswith("Previewing update (aws-dev)\naws-dev: 3 to create\n")
    as_json = cli("preview", "aws-dev", "--json")
    assert as_json.json() == {"stack": "aws-dev", "changes": {"create": 3, "same": 2}}
    assert "Previewing update" in as_json.err
    assert "init" not in [call[1] for call in project.calls()]


def test_outputs_as_json_is_the_binding(cli: Callable, project: Project) -> None:
    project.mark("there")
    result = cli("outputs", "aws-dev", "--json")
    assert result.code == 0, result.err
    assert result.json() == {"backend": "aws", "bus": "shop"}


def test_outputs_shows_no_secret(cli: Callable, project: Project) -> None:
    project.mark("there")
    result = cli("outputs", "aws-dev")
    assert result.code == 0, result.err
    assert "arn:aws:sns:eu-west-1:1:orders" in result.out
    assert "[secret]" in result.out
    assert "s3cret" not in result.out + result.err


def test_outputs_of_what_exports_no_binding(cli: Callable, project: Project) -> None:
    project.mark("there")
    project.outputs({"other": 1})
    result = cli("outputs", "aws-dev", "--json")
    assert (result.code, result.out) == (1, "")
    assert "has no output 'polybus'" in result.err
    project.outputs({"polybus": {"backend": "aws"}})
    assert "stack aws-dev: " in cli("outputs", "aws-dev", "--json").err


def test_outputs_of_a_stack_that_is_not_there_makes_none(cli: Callable, project: Project) -> None:
    result = cli("outputs", "aws-dev")
    assert (result.code, result.out) == (1, "")
    assert result.err == f"polybus: {project.folder}: there is no stack 'aws-dev'; `polybus up aws-dev` makes it\n"
    assert ["stack", "init"] not in [call[:2] for call in project.calls()]


@pytest.mark.parametrize("command", [["up", "--yes"], ["preview"]])
def test_what_pulumi_says_is_wrong_is_the_error(cli: Callable, project: Project, command: list[str]) -> None:
    project.mark("there")
    project.mark(f"fail-{command[0]}")
    result = cli(*command, "aws-dev")
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert last == f"polybus: {project.folder}: pulumi {command[0]} of stack 'aws-dev' failed: the cloud said no"


@pytest.mark.parametrize("command", [["up"], ["up", "--yes"], ["preview"], ["outputs"]])
def test_without_the_cli_it_says_how_to_install_it(
    cli: Callable, project: Project, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("PATH", str(project.folder))
    result = cli(*command, "aws-dev")
    assert (result.code, result.out) == (1, "")
    assert "the pulumi CLI is not on PATH: `curl -fsSL https://get.pulumi.com | sh`" in result.err


@pytest.mark.parametrize(("stack", "extra"), [("gcp-dev", "gcp-stack"), ("other", "aws-stack")])
def test_without_the_sdk_it_names_the_extra(project: Project, stack: str, extra: str) -> None:
    code = (
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'pulumi' else found(name, package)\n"
        "from polybus.cli.main import main\n"
        f"main(['preview', {stack!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    what = "the Python package pulumi, beside the CLI, is not installed"
    assert done.stderr == f"polybus: {what}: pip install {requirement(extra)}\n"


def test_without_a_project_it_says_where_it_looked(
    cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("preview", "aws-dev")
    assert (result.code, result.out) == (2, "")
    assert f"there is no Pulumi.yaml in {tmp_path}" in " ".join(result.err.split())
