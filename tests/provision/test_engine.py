"""The life of a stack, with a test double of the engine, and with Pulumi's own CLI where that is on PATH."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.clouds import CLOUDS

from polybus.binding import Binding
from polybus.provision.cloud import cloud_named

from . import runner
from .engine import EngineDouble
from .engine_host import Host
from .engine_places import STACK, Place, running
from .engine_plugin import Plugins
from .engine_scenario import BASE, Driver, declare, play
from .plugins import launchers

if TYPE_CHECKING:
    from .engine_cli import PulumiCli

PROGRAM = runner.STACKS / "__main__.py"
CLI = shutil.which("pulumi")
# Not a skipped parameter: conftest.py says in the summary whether the CLI's runs were among the tests.
# What the Automation API itself may warn of, with whichever CLI is there, is no finding of ours.
BY_CLI = pytest.param("pulumi", marks=pytest.mark.filterwarnings("default"))
ENGINES = ("double", BY_CLI) if CLI else ("double",)

each_cloud = pytest.mark.parametrize("place", CLOUDS, indirect=True)
on_aws = pytest.mark.parametrize("place", ["aws"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """Start the local server of the test's cloud, lead everyone to it, and put the plugins on PATH."""
    with running(request.param) as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", str(launchers.write(tmp_path / "plugins")), prepend=os.pathsep)
        yield place


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give the folder of the Pulumi project, as the CLI wants it."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def double(place: Place, project: Path) -> Iterator[EngineDouble]:
    sdk = cloud_named(place.cloud).sdk.package
    with Host([sdk, "polybus.provision"]) as host, Plugins(os.environ["PATH"], place.config) as plugins:
        yield EngineDouble(PROGRAM, project, STACK, host, plugins)


@pytest.fixture
def cli(place: Place, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PulumiCli:
    """Give the CLI, with all that it keeps in the test's folder; only where it is on PATH."""
    from . import engine_cli

    for name in engine_cli.UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in engine_cli.environment(tmp_path / "pulumi").items():
        monkeypatch.setenv(name, value)
    engine_cli.write_project(project)
    return engine_cli.PulumiCli(project, STACK)


@each_cloud
@pytest.mark.parametrize("engine", ENGINES)
def test_the_life_of_a_stack(
    engine: str, place: Place, project: Path, request: pytest.FixtureRequest, say: Callable[[str], None]
) -> None:
    """Preview, update, change, protect, add, remove, replace and destroy, as `engine_scenario.play` says.

    With the double of the engine everywhere. With the CLI, where it is on PATH, the same calls and assertions; that
    half was never run where it was written: see engine_cli.py.
    """
    driver: Driver = request.getfixturevalue("cli" if engine == "pulumi" else "double")
    if CLI is None:
        say("engine semantics with the real Pulumi CLI: not run, no `pulumi` on PATH (the test double ran)")
    play(driver, place, project)


@on_aws
def test_wrong_configuration_ends_the_program_with_one_line_and_nothing_made(
    place: Place, double: EngineDouble, project: Path
) -> None:
    declare(project, BASE)
    refused = double.up({"polybus:cloud": "asw"})
    assert refused.failed == "Pulumi.dev.yaml: polybus:cloud: found 'asw'; allowed: aws, azure, gcp\n"
    assert [held.type for held in double.state.values()] == ["pulumi:pulumi:Stack"]
    assert place.everything() == {}


if CLI:

    @on_aws
    @pytest.mark.filterwarnings("default")
    def test_polybus_previews_updates_and_gives_the_binding(place: Place, project: Path, cli: PulumiCli) -> None:
        """What `polybus preview`, `up` and `outputs` call, with the CLI itself; never run where it was written."""
        from polybus.provision import automation

        declare(project, BASE)
        cli.configure(place.config)
        lines: list[str] = []
        assert automation.preview(STACK, project, show=lines.append)["create"] > 0
        assert place.everything() == {}
        automation.up(STACK, project, show=lines.append)
        assert automation.preview(STACK, project, show=lines.append).keys() == {"same"}
        binding = Binding.from_json(json.dumps(automation.outputs(STACK, project)["polybus"]))
        assert set(binding.queues) == {"jobs"}
        assert any("shop-jobs-queue" in line for line in lines)
        assert cli.destroy().failed == ""
        assert place.everything() == {}
