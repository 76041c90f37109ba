"""What only Pulumi's own engine can show, by `make engine-test` and in CI; the life of a stack is in test_engine.py."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pulumi import automation as auto
from tests.clouds import CLOUDS

from polybus.binding import Binding

from .engine_cli import PulumiCli
from .engine_places import Place
from .engine_scenario import BASE, carry, declare, leave, waiting

each_cloud = pytest.mark.parametrize("place", CLOUDS, indirect=True)
on_aws = pytest.mark.parametrize("place", ["aws"], indirect=True)
# What the Automation API itself may warn of, with whichever CLI is there, is no finding of ours.
pytestmark = pytest.mark.filterwarnings("default")

UNENCRYPTED = "[queues.jobs.aws]\nsqs_managed_sse_enabled = false\n"


@each_cloud
def test_two_stacks_at_once_share_nothing(
    place: Place, cli: PulumiCli, project: Path, say: Callable[[str], None]
) -> None:
    declare(project, BASE)
    other = PulumiCli(project, "other", say)
    with ThreadPoolExecutor(2) as pool:
        mine, theirs = pool.map(lambda one: one.up(place.config), (cli, other))
    assert (mine.failed, theirs.failed) == ("", "")
    both = place.everything()
    asyncio.run(carry(place, mine.outputs))
    asyncio.run(carry(place, theirs.outputs))

    ended = cli.destroy()
    assert ended.failed == ""
    assert ended.deleted == {name.replace("other", "dev") for name in theirs.created}
    left = place.everything()
    assert len(left) * 2 == len(both)
    assert left.items() < both.items(), "nothing of the other has changed"
    assert other.up(place.config, refresh=True).none
    asyncio.run(carry(place, theirs.outputs))
    assert other.destroy().failed == ""
    assert place.everything() == {}


@on_aws
def test_the_policy_pack_passes_and_refuses(place: Place, cli: PulumiCli, project: Path) -> None:
    """In an environment of its own, as stacks/policy names it."""
    declare(project, BASE)
    made = cli.up(place.config, policies=project / "policy")
    assert made.failed == ""
    before = place.everything()
    declare(project, BASE + UNENCRYPTED)
    refused = cli.up(place.config, policies=project / "policy")
    assert "encryption" in refused.failed
    assert place.everything() == before
    assert cli.destroy().failed == ""


@on_aws
def test_a_secret_is_nowhere_in_plain_text(place: Place, cli: PulumiCli, project: Path, tmp_path: Path) -> None:
    declare(project, BASE)
    program = project / "__main__.py"
    exported = 'pulumi.export("password", pulumi.Config("shop").require_secret("password"))\n'
    program.write_text(program.read_text() + exported)
    cli.chosen(place.config).set_config("shop:password", auto.ConfigValue("hunter2", secret=True))
    made = cli.up(cli.configuration()["config"])
    assert made.failed == ""
    assert made.outputs["password"] == "[secret]"
    written = [path for folder in (project, tmp_path / "pulumi") for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if b"hunter2" in path.read_bytes()]
    assert cli.destroy().failed == ""


@on_aws
def test_what_is_there_is_imported_and_not_made_anew(place: Place, cli: PulumiCli, project: Path) -> None:
    """A topic and a queue that no stack has any more, below a component that there isn't yet: what waits stays."""
    declare(project, BASE)
    first = cli.up(place.config)
    asyncio.run(leave(place, first.outputs, "waits"))
    before = place.everything()
    cli.forget()
    bus = {"type": "polybus:index:MessageBus", "name": "shop", "component": True}
    topic, queue = first.outputs["topics"]["orders"], first.outputs["queues"]["jobs"]
    imported = [
        {"type": "aws:sns/topic:Topic", "name": "shop-orders-topic", "id": topic["arn"], "parent": "shop"},
        {"type": "aws:sqs/queue:Queue", "name": "shop-jobs-queue", "id": queue["url"], "parent": "shop"},
    ]
    cli.take_over(place.config, json.dumps({"nameTable": {}, "resources": [bus, *imported]}))
    assert place.everything() == before
    again = cli.up(place.config)
    assert again.failed == ""
    assert not again.replaced | again.deleted
    assert not again.created & {"shop-orders-topic", "shop-jobs-queue"}
    assert again.outputs == first.outputs
    assert place.everything() == before
    assert asyncio.run(waiting(place, again.outputs)) == b"waits"
    assert cli.up(place.config).none
    assert cli.destroy().failed == ""
    assert place.everything() == {}


@on_aws
def test_the_component_is_a_plugin(place: Place, cli: PulumiCli, project: Path, tmp_path: Path) -> None:
    """From the checkout as it stands: the CLI asks it for its schema, and a program of another package makes a bus."""
    plugin = project / "component"
    asked = ["pulumi", "package", "get-schema", str(plugin)]
    schema = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    assert set(schema["resources"]) == {"polybus:index:MessageBus"}

    using = tmp_path / "using"
    using.mkdir()
    declare(using, BASE)
    (using / "Pulumi.yaml").write_text(
        f"name: using\nruntime: python\nplugins:\n  providers:\n    - name: polybus\n      path: {plugin}\n"
    )
    (using / "__main__.py").write_text(
        "import pathlib, pulumi\n"
        "inputs = {'cloud': 'aws', 'topology': pathlib.Path('polybus.toml').read_text(),\n"
        "          'settings': {'region': 'eu-west-1'}, 'bindingJson': None, 'resources': None}\n"
        "bus = pulumi.ComponentResource('polybus:index:MessageBus', 'shop', inputs, remote=True)\n"
        "pulumi.export('binding', bus.bindingJson)\n"
    )
    driver = PulumiCli(using, "dev", lambda line: None)
    made = driver.up({"aws:region": "eu-west-1"})
    assert made.failed == ""
    assert {"shop", "shop-jobs-queue", "shop-orders-topic"} <= made.created
    assert set(Binding.from_json(json.dumps(made.outputs["binding"])).queues) == {"jobs"}
    assert driver.up({"aws:region": "eu-west-1"}).none
    assert driver.destroy().failed == ""
    assert place.everything() == {}


@on_aws
def test_from_config_in_an_inline_program(
    place: Place, cli: PulumiCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the Automation API alone: neither a project's folder nor a language host."""
    work = tmp_path / "work"
    work.mkdir()
    declare(work, BASE)
    monkeypatch.chdir(work)

    def program() -> None:
        import pulumi

        from polybus.provision import from_config

        pulumi.export("polybus", from_config().binding)

    options = auto.LocalWorkspaceOptions(work_dir=str(work))
    stack = auto.create_or_select_stack("inline", project_name="polybus", program=program, opts=options)
    stack.set_all_config({"polybus:cloud": auto.ConfigValue("aws"), "aws:region": auto.ConfigValue("eu-west-1")})
    assert stack.up().outputs["polybus"].value["bus"] == "shop"
    made = place.everything()
    assert stack.up().summary.resource_changes.keys() == {"same"}
    assert place.everything() == made != {}
    stack.destroy()
    assert place.everything() == {}


@on_aws
def test_polybus_previews_updates_and_gives_the_binding_to_a_service(
    place: Place, cli: PulumiCli, project: Path
) -> None:
    """`polybus preview`, `up` and `outputs`, as a user runs them, and `polybus stats` on what they give."""

    def polybus(*arguments: str, **more: str) -> str:
        command = [sys.executable, "-m", "polybus.cli.main", *arguments]
        done = subprocess.run(
            command, cwd=project, env={**os.environ, **more}, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    declare(project, BASE)
    cli.chosen(place.config)
    counted = json.loads(polybus("preview", cli.stack, "--json"))["changes"]
    assert counted["create"] > 0
    assert place.everything() == {}
    assert "shop-jobs-queue" in polybus("up", cli.stack, "--yes")
    assert json.loads(polybus("preview", cli.stack, "--json"))["changes"] == {"same": counted["create"]}
    binding = polybus("outputs", cli.stack, "--json")
    assert set(Binding.from_json(binding).queues) == {"jobs"}
    assert "jobs" in polybus("stats", POLYBUS_BINDING=binding)
    assert cli.destroy().failed == ""
    assert place.everything() == {}
