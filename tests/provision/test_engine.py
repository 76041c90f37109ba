"""The life of a stack, with a test double of the engine, and with Pulumi's own CLI where that is on PATH."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polybus.topology.model import CLOUDS

from . import runner
from .engine import EngineDouble
from .engine_plugin import Plugins
from .engine_scenario import BASE, STACK, Place, declare, play, running
from .plugins import launchers

PROGRAM = runner.STACKS / "__main__.py"


@pytest.fixture
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """Start the local server of the test's cloud, lead everyone to it, and put the plugins on PATH."""
    with running(request.param) as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", str(launchers.write(tmp_path / "plugins")), prepend=os.pathsep)
        yield place


@pytest.fixture
def double(place: Place, tmp_path: Path) -> Iterator[EngineDouble]:
    with Plugins(os.environ["PATH"], place.config) as plugins:
        yield EngineDouble(PROGRAM, tmp_path, STACK, plugins)


each_cloud = pytest.mark.parametrize("place", CLOUDS, indirect=True)
on_aws = pytest.mark.parametrize("place", ["aws"], indirect=True)


@each_cloud
def test_the_life_of_a_stack(place: Place, double: EngineDouble, tmp_path: Path) -> None:
    play(double, place, tmp_path)
    assert double.state == {}


@on_aws
def test_wrong_configuration_ends_the_program_with_one_line_and_nothing_made(
    place: Place, double: EngineDouble, tmp_path: Path
) -> None:
    declare(tmp_path, BASE)
    refused = double.up({"polybus:cloud": "asw"})
    assert refused.failed == "Pulumi.dev.yaml: polybus:cloud: found 'asw'; allowed: aws, azure, gcp\n"
    assert [held.type for held in double.state.values()] == ["pulumi:pulumi:Stack"]
    assert place.everything() == set()
