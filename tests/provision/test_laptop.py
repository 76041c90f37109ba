"""A stack on this machine, by `polybus up STACK --local` and what goes with it, as a user calls it.

The engine is Pulumi's own in one test where there is one, and everywhere else its double behind the CLI's arguments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.clouds import CLOUDS

import polybus
from polybus.binding import Binding
from polybus.provision.laptop import project

from . import engine_cli, flow, pulumi_double, runner
from .engine_scenario import AUDIT, BASE

CLI = engine_cli.find()
CONFIG: Mapping[str, Mapping[str, Any]] = {
    "aws": {"aws:region": "eu-west-1", "polybus:roles": {"checkout": "shop-checkout"}},
    "azure": {
        "azure-native:location": "westeurope",
        "polybus:principals": {"checkout": "00000000-0000-0000-0000-000000000001"},
    },
    "gcp": {
        "gcp:project": "shop-dev",
        "polybus:members": {"checkout": "serviceAccount:c@shop-dev.iam.gserviceaccount.com"},
    },
}


@dataclass(frozen=True)
class Done:
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Team:
    """A team's project, and `polybus` called in it; it is never written to."""

    def __init__(self, folder: Path, cli: Path) -> None:
        self.folder = folder / "stacks"
        self.folder.mkdir(parents=True)
        for name in ("Pulumi.yaml", "__main__.py"):
            (self.folder / name).write_text((runner.STACKS / name).read_text())
        (self.folder / "polybus.toml").write_text(BASE)
        self.home = folder / "home"
        self.home.mkdir()
        path = os.pathsep.join([str(cli.parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "HOME": str(self.home)}
        for name in engine_cli.UNSET:
            self.environment.pop(name, None)

    def stack(self, name: str, cloud: str, **more: Any) -> None:
        written = {"polybus:cloud": cloud, **CONFIG[cloud], **{f"polybus:{key}": value for key, value in more.items()}}
        (self.folder / f"Pulumi.{name}.yaml").write_text(yaml.safe_dump({"config": written}))

    def polybus(self, *arguments: str, code: int = 0, **variables: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "polybus.cli.main", *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return Done(done.stdout, done.stderr)

    def binding(self, stack: str) -> str:
        environment = self.polybus("local", "env", "--stack", stack, "--json").json()
        return Path(environment["POLYBUS_BINDING"]).read_text()

    def files(self) -> dict[str, bytes]:
        kept = {path: path.read_bytes() for path in self.folder.glob("*") if path.is_file()}
        return {path.name: content for path, content in kept.items()}


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path, pulumi_double.write(tmp_path / "cli"))
    yield team
    team.polybus("local", "down")


def recorded(done: Any) -> set[str]:
    return {one["type"].rpartition(":")[2] for one in done["recorded"]}


async def pass_through(binding: str) -> None:
    async with polybus.connect(binding) as bus:
        job = await bus.publish("jobs", "a job")
        assert [delivery.id for delivery in await flow.take(bus, "jobs", 1)] == [job]


async def test_the_life_of_a_stack_on_this_machine(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Pulumi's own engine where there is one, and with its double everywhere."""
    await live(team, monkeypatch)


if CLI:

    async def test_the_life_of_a_stack_with_pulumi_s_own_engine(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Callable[[str], None]
    ) -> None:
        say(engine_cli.said())
        team = Team(tmp_path, CLI)
        try:
            await live(team, monkeypatch)
        finally:
            team.polybus("local", "down")


async def live(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.stack("dev", "aws")
    before = team.files()
    previewed = team.polybus("preview", "dev", "--local", "--json").json()["changes"]
    assert "nothing runs" in team.polybus("local", "down").err, "what it took ended with it"

    made = await begin(team, "aws", monkeypatch)
    assert made["changes"] == previewed
    assert {"Policy", "RolePolicyAttachment"} <= recorded(made)

    (team.folder / "polybus.toml").write_text(BASE + AUDIT)
    changed = team.polybus("up", "dev", "--local", "--json").json()
    assert changed["changes"].keys() == {"create", "same"}
    assert "audit" in Binding.from_json(team.binding("dev")).subscriptions

    (team.folder / "polybus.toml").write_text(BASE)
    assert "delete" in team.polybus("destroy", "dev", "--local", "--json").json()["changes"]
    assert "{" not in team.polybus("outputs", "dev", "--local").out
    assert team.files() == before
    assert list(team.home.iterdir()) == [], "nothing of the user's own is touched"


@pytest.mark.parametrize("cloud", CLOUDS[1:])
async def test_other_clouds(team: Team, cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    team.stack("dev", cloud)
    await begin(team, cloud, monkeypatch)


async def begin(team: Team, cloud: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a stack: messages pass on it, all that is on the cloud is on the server, and reading it changes nothing."""
    made = team.polybus("up", "dev", "--local", "--json").json()
    assert (made["stack"], made["cloud"], made["state"]) == ("dev", cloud, None)
    assert recorded(made)
    assert not recorded(made) & {"Queue", "Topic", "Subscription", "TopicSubscription", "QueuePolicy"}
    for name, value in made["environment"].items():
        monkeypatch.setenv(name, value)
    await pass_through(team.binding("dev"))
    read = team.polybus("refresh", "dev", "--local", "--json").json()["changes"]
    assert read.keys() == {"same"}
    return made


def test_what_the_provider_would_refuse_is_refused_here(team: Team) -> None:
    """A pass-through argument that the check of a topology knows by name alone."""
    team.stack("dev", "aws")
    (team.folder / "polybus.toml").write_text(BASE + "[topics.orders.aws]\nsignature_version = 3\n")
    refused = team.polybus("preview", "dev", "--local", code=1)
    assert "signatureVersion found 3; allowed: from 1 to 2" in refused.out + refused.err


async def test_two_stacks_at_once_are_on_one_local_cloud_and_share_nothing(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.stack("dev", "aws")
    team.stack("other", "aws")
    with ThreadPoolExecutor(2) as pool:
        made = [
            done.json()
            for done in pool.map(lambda name: team.polybus("up", name, "--local", "--json"), ("dev", "other"))
        ]
    assert made[0]["address"] == made[1]["address"]
    mine, others = (Binding.from_json(team.binding(name)) for name in ("dev", "other"))
    assert not {one.address for one in mine.queues.values()} & {one.address for one in others.queues.values()}
    several = team.polybus("local", "env", "--json")
    assert "POLYBUS_BINDING" not in several.json()
    assert "several stacks (dev, other); choose with --stack" in several.err
    assert "choose with --stack" in team.polybus("local", "env", "--pulumi", code=1).err
    team.polybus("destroy", "dev", "--local")
    for name, value in made[1]["environment"].items():
        monkeypatch.setenv(name, value)
    await pass_through(team.binding("other"))
    assert "there is no stack 'dev'" in team.polybus("local", "env", "--stack", "dev", code=1).err


def test_a_kept_state_has_what_was_on_the_cloud_and_another_does_not(team: Team) -> None:
    team.stack("dev", "aws")
    made = team.polybus("up", "dev", "--local", "--state", "mine", "--json").json()
    assert made["state"] == "mine"
    asked = made["environment"]
    team.polybus("publish", "jobs", '{"n": 1}', **asked)
    assert "of the state 'mine'" in team.polybus("preview", "dev", "--local", "--state", "his", code=1).err
    team.polybus("local", "down")
    assert "`polybus up dev --local` starts it again" in team.polybus("stats", code=1, **asked).err

    again = team.polybus("up", "dev", "--local", "--state", "mine", "--json").json()
    assert again["changes"].keys() == {"same"}
    assert again["address"] == made["address"]
    assert team.polybus("stats", "--json", **asked).json()["jobs"]["waiting"] == 1
    team.polybus("local", "down")
    assert set(team.polybus("preview", "dev", "--local", "--json").json()["changes"]) == {"create"}


def test_what_is_protected_refuses_to_be_destroyed_and_stays(team: Team) -> None:
    team.stack("dev", "aws", protect=True)
    binding = team.polybus("up", "dev", "--local", "--json").json()["environment"]["POLYBUS_BINDING"]
    refused = team.polybus("destroy", "dev", "--local", code=1)
    assert "pulumi destroy of stack 'dev' failed" in refused.err
    assert "protected" in refused.err
    assert team.polybus("refresh", "dev", "--local", "--json").json()["changes"].keys() == {"same"}
    assert Path(binding).exists(), "and services go on"
    env = team.polybus("local", "env", "--pulumi", "--json").json()
    assert env["PULUMI_STACK"] == "dev"
    assert env["PULUMI_BACKEND_URL"].startswith((team.folder / ".polybus" / "local").as_uri())
    assert env["PATH"].startswith(str(team.folder))


# -- What needs no engine ----------------------------------------------------------------------------------------------


def test_without_a_cli_it_says_where_one_comes_from(team: Team, tmp_path: Path) -> None:
    team.stack("dev", "aws")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = team.polybus("up", "dev", "--local", code=1, PATH=str(empty))
    assert f"{team.folder}: a stack on this machine takes the pulumi CLI" in refused.err
    assert "`make engine`" in refused.err
    assert not (team.folder / ".polybus").exists()


def test_what_names_no_stack_or_state_is_refused(team: Team) -> None:
    team.stack("dev", "aws")
    assert "the stacks that have a file: dev" in team.polybus("up", "nope", "--local", code=1).err
    assert "--local" in team.polybus("up", "dev", "--state", "mine", code=2).err
    assert "is no name" in team.polybus("up", "dev", "--local", "--state", "../x", code=2).err
    assert "`polybus up dev --local` starts one" in team.polybus("refresh", "dev", "--local", code=1).err
    (team.folder / "Pulumi.dev.yaml").write_text("config:\n  polybus:cloud: asw\n")
    assert "found 'asw'; allowed: aws, azure, gcp" in team.polybus("up", "dev", "--local", code=1).err


def test_the_project_for_the_cli_runs_the_team_s_program_and_leaves_out_what_it_cannot_read(tmp_path: Path) -> None:
    team, copy, programs = tmp_path / "team", tmp_path / "local" / "dev", tmp_path / "bin"
    team.mkdir()
    (team / "Pulumi.yaml").write_text(
        "name: shop\nmain: infra\nbackend: {url: s3://theirs}\n"
        "runtime: {name: python, options: {toolchain: pip, virtualenv: ../.venv}}\n"
        "packages: {polybus: ./component}\nplugins: {providers: [{name: polybus, path: ../component}]}\n"
    )
    (team / "Pulumi.dev.yaml").write_text(
        "encryptionsalt: theirs\nconfig: {'aws:region': eu-west-1, 'shop:password': {secure: AAAA}}\n"
    )
    assert project.cloud_of(team, "dev") == "aws"
    assert project.write(team, "dev", copy, programs) == ("shop:password",)
    written = yaml.safe_load((copy / "Pulumi.yaml").read_text())
    assert (copy / written["main"]).resolve() == team / "infra"
    assert written["runtime"] == {"name": "python", "options": {"root": str(team)}}, "that environment isn't made"
    assert "backend" not in written
    assert written["packages"] == {"polybus": str(team / "component")}
    paths = {one["name"]: one["path"] for one in written["plugins"]["providers"]}
    assert paths == {
        **dict.fromkeys(("aws", "azure-native", "gcp"), str(programs)),
        "polybus": str(tmp_path / "component"),
    }
    own = copy / "Pulumi.dev.yaml"
    assert yaml.safe_load(own.read_text()) == {"config": {"aws:region": "eu-west-1"}}
    own.write_text("encryptionsalt: ours\nconfig: {}\n")
    project.write(team, "dev", copy, programs)
    assert yaml.safe_load(own.read_text()) == {"encryptionsalt": "ours", "config": {"aws:region": "eu-west-1"}}
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    project.write(team, "dev", copy, programs)
    options = yaml.safe_load((copy / "Pulumi.yaml").read_text())["runtime"]["options"]
    assert options == {"root": str(team), "virtualenv": str(tmp_path / ".venv")}
