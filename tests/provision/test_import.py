"""`polybus import`: the file names what the program registers, by the ids of what is there, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polybus.cli.main import build
from polybus.errors import ConfigError
from polybus.provision.importing import import_file

from . import runner, simulated

STACKS = ("aws-dev", "aws-prod", "azure-prod", "gcp-dev", "gcp-prod")
SHOP = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
[subscriptions.mail]
topic = "orders"
push = { function = "arn:aws:lambda:eu-west-1:111122223333:function:mail" }
[queues.jobs]
[queues.jobs.aws]
name = "the-teams-jobs"
[queues.theirs]
existing = "arn:aws:sqs:eu-west-1:111122223333:theirs"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: mine\nruntime: python\n")
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n  aws:region: eu-west-1\n  polybus:cloud: aws\n")
    (tmp_path / "polybus.toml").write_text(SHOP)
    return tmp_path


def resources(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["resources"]
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_types_names_and_parents_are_the_program_s_and_ids_the_provider_s(stack: str) -> None:
    ids: dict[str, str] = {}

    def create(type_: str, name: str, inputs: Any) -> dict[str, Any]:
        made = simulated.create(type_, name, inputs)
        if type_ == "azure-native:resources:ResourceGroup":
            made["id"] = f"{simulated.SUBSCRIPTION}/resourceGroups/{inputs['resourceGroupName']}"
        ids[name] = made["id"]
        return made

    run = runner.run_stack(stack, create, look=simulated.look)
    text = import_file(stack, runner.STACKS, account=_account(stack), letters=True).text
    component, *children = resources(text)
    [registered] = run.of("polybus:index:MessageBus")
    assert component == {"type": registered.type, "name": registered.name, "component": True}
    for child in children:
        # Stack, project, the parents' types, its own type and its name: all that a URN has.
        one = run.named(child["name"])
        assert (one.type, one.parent) == (child["type"], registered.urn)
        assert child["parent"] == component["name"]
        as_sent = child["id"].replace("projects/shop-dev/", "projects/p/") if "gcp" in stack else child["id"]
        assert as_sent == ids[child["name"]].replace("projects/shop-dev/", "projects/p/")
    kept = {"Queue", "Topic", "Subscription"}
    expected = {one.name for one in run.resources if one.type.rpartition(":")[2] in kept}
    assert expected - {child["name"] for child in children} == _not_ours(stack)


def _account(stack: str) -> str | None:
    return simulated.ACCOUNT if stack.startswith("aws") else None


def _not_ours(stack: str) -> set[str]:
    """Give what holds no messages of the bus: the topic of alarms."""
    return {"shop-bus.alarms-topic"} if stack.startswith("aws") else set()


def test_entries_may_be_chosen_and_dead_letters_are_made_anew(project: Path) -> None:
    made = import_file("prod", project, ["billing", "jobs"], account="111122223333")
    url = "https://sqs.eu-west-1.amazonaws.com/111122223333/"
    assert [(one["name"], one["id"]) for one in resources(made.text)[1:]] == [
        ("shop-billing-queue", f"{url}shop-prod-billing"),
        ("shop-jobs-queue", f"{url}the-teams-jobs"),
    ]
    assert "billing-dead-letters" in made.made
    assert "orders-topic" not in made.made


def test_what_is_adopted_stays_its_owner_s(project: Path) -> None:
    every = import_file("prod", project, account="111122223333")
    assert not [one for one in resources(every.text) if "theirs" in one["name"]]
    with pytest.raises(ConfigError, match=r"at \$\.queues\.theirs\.existing: it stays its owner's"):
        import_file("prod", project, ["theirs"], account="111122223333")


def test_a_stack_that_is_deployed_has_its_component_already(project: Path) -> None:
    made = import_file("prod", project, ["jobs"], account="111122223333", deployed="mine")
    file = json.loads(made.text)
    assert file["nameTable"] == {"shop": "urn:pulumi:prod::mine::polybus:index:MessageBus::shop"}
    assert [one["type"] for one in file["resources"]] == ["aws:sqs/queue:Queue"]


@pytest.mark.parametrize(
    ("region", "queue", "topic"),
    [
        ("cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn/1/", "arn:aws-cn:sns:cn-north-1:1:"),
        ("us-gov-west-1", "https://sqs.us-gov-west-1.amazonaws.com/1/", "arn:aws-us-gov:sns:us-gov-west-1:1:"),
    ],
)
def test_ids_are_those_of_the_region_s_partition(project: Path, region: str, queue: str, topic: str) -> None:
    (project / "Pulumi.prod.yaml").write_text(f"config:\n  aws:region: {region}\n  polybus:cloud: aws\n")
    (project / "polybus.toml").write_text('[bus]\nname = "shop"\n[topics.orders]\n[queues.jobs]\n')
    ids = {one["name"]: one["id"] for one in resources(import_file("prod", project, account="1").text)[1:]}
    assert ids == {"shop-orders-topic": f"{topic}shop-prod-orders", "shop-jobs-queue": f"{queue}shop-prod-jobs"}


@pytest.mark.parametrize(
    ("cloud", "words"),
    [
        ("aws", r"aws:region: not set; ids of queues and topics have the region in them"),
        ("azure", r"azure-native:subscriptionId: not set; resource ids have it"),
        ("gcp", r"gcp:project: not set"),
    ],
)
def test_what_ids_need_and_the_configuration_has_not_is_named(project: Path, cloud: str, words: str) -> None:
    (project / "Pulumi.prod.yaml").write_text(
        f"config:\n  polybus:cloud: {cloud}\n  azure-native:location: westeurope\n"
    )
    (project / "polybus.toml").write_text('[bus]\nname = "shop"\n[topics.orders]\n')
    with pytest.raises(ConfigError, match=words):
        import_file("prod", project)


def test_an_entry_that_is_not_there_is_refused_with_the_nearest(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"no topic, subscription or queue 'jbos'; did you mean jobs\?"):
        import_file("prod", project, ["jbos"], account="1")


def test_the_command_writes_the_file_and_says_what_comes_then(project: Path) -> None:
    out = project / "import.json"
    arguments = ["import", "prod", "jobs", "--folder", str(project), "--account", "1", "--deployed", "-o", str(out)]
    answer = CliRunner().invoke(build(lambda name: name == "import"), arguments)
    assert answer.exit_code == 0, answer.output
    assert json.loads(out.read_text())["nameTable"]["shop"].startswith("urn:pulumi:prod::mine::")
    assert f"pulumi import --stack prod --file {out} --generate-code=false --protect=false" in answer.stderr
    assert "jobs-dead-letters" in answer.stderr
