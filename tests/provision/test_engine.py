"""The life of a stack, with a test double of the engine, and with Pulumi's own where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clouds import CLOUDS

from . import engine_cli
from .engine import EngineDouble
from .engine_cli import PulumiCli
from .engine_places import Place
from .engine_scenario import BASE, Driver, declare, play, play_short

CLI = engine_cli.find()

each_cloud = pytest.mark.parametrize("place", CLOUDS, indirect=True)
on_aws = pytest.mark.parametrize("place", ["aws"], indirect=True)
# What the Automation API itself may warn of, with whichever CLI is there, is no finding of ours.
by_cli = pytest.mark.filterwarnings("default")


@each_cloud
def test_the_life_of_a_stack_with_the_double(
    place: Place, double: EngineDouble, project: Path, say: Callable[[str], None]
) -> None:
    """Preview, update, mend, change, protect, fail, add, remove, replace and destroy: `engine_scenario.play`."""
    if CLI is None:
        say(engine_cli.said())
    play(double, place, project)


if CLI and engine_cli.WHOLE:

    @each_cloud
    @by_cli
    def test_the_life_of_a_stack(place: Place, cli: PulumiCli, project: Path) -> None:
        """With Pulumi's own engine the same calls and assertions."""
        play(cli, place, project)


if CLI and not engine_cli.WHOLE:

    @on_aws
    @by_cli
    def test_the_short_life_of_a_stack(place: Place, cli: PulumiCli, project: Path, say: Callable[[str], None]) -> None:
        """With Pulumi's own engine what is most dangerous; the rest is `make engine-test`."""
        play_short(cli, place, project)
        say("  all else with this engine: make engine-test")


PARTLY = """
import pulumi
import pulumi_aws as aws

kept = aws.sqs.Queue("kept", name="kept", opts=pulumi.ResourceOptions(protect=True))
aws.sqs.QueuePolicy("access", queue_url=kept.url, policy='{"Version": "2012-10-17", "Statement": []}')
aws.sqs.Queue("other", name="other")
"""


def play_partly(driver: Driver, place: Place, project: Path) -> None:
    """Without a preview, what isn't protected is deleted before the rest is refused."""
    (project / "__main__.py").write_text(PARTLY)
    made = driver.up(place.config)
    assert made.created == {"kept", "access", "other", "polybus-dev"}
    refused = driver.destroy()
    assert "protected" in refused.failed
    assert refused.deleted == {"access", "other"}
    [(url, values)] = place.everything().items()
    assert url.endswith("/kept")
    assert "'Policy'" not in values


@on_aws
def test_the_double_deletes_around_what_is_protected(place: Place, double: EngineDouble, project: Path) -> None:
    play_partly(double, place, project)


if CLI:

    @on_aws
    @by_cli
    def test_the_engine_deletes_around_what_is_protected(place: Place, cli: PulumiCli, project: Path) -> None:
        play_partly(cli, place, project)


@on_aws
def test_wrong_configuration_ends_the_program_with_one_line_and_nothing_made(
    place: Place, double: EngineDouble, project: Path
) -> None:
    declare(project, BASE)
    refused = double.up({"polybus:cloud": "asw"})
    assert refused.failed == "Pulumi.dev.yaml: polybus:cloud: found 'asw'; allowed: aws, azure, gcp\n"
    assert [held.type for held in double.state.values()] == ["pulumi:pulumi:Stack"]
    assert place.everything() == {}
