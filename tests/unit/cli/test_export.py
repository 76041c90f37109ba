"""`polybus export terraform`: from a stack's file, from a file of one's own, or by a cloud's defaults."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polybus.cloud import Cloud
from polybus.clouds.aws import CLOUD as AWS
from polybus.topology.file import load
from polybus.topology.model import digest

from .conftest import TOPOLOGY, Cli, Shop

ROOT = Path(__file__).parents[3]
ANYWHERE = TOPOLOGY.replace('max_delay = "15m"\n', "")  # on every cloud
SECRET = "AAABAEncryptedByPulumi"


@pytest.fixture
def stacks(shop: Shop) -> Path:
    """A Pulumi project beside the shop's topology, with secrets in a stack's configuration."""
    folder = shop.folder / "stacks"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(
        "name: shop-stacks\nruntime: python\nconfig:\n  polybus:topology:\n    default: ../polybus.toml\n"
        "  aws:region:\n    value: eu-central-1\n"
    )
    (folder / "Pulumi.dev.yaml").write_text(
        "config:\n  polybus:cloud: aws\n  polybus:protect: true\n  aws:profile: mine\n  polybus:roles:\n"
        f"    shop:\n      secure: {SECRET}\n"
    )
    return folder


def test_a_stack_is_written_as_its_file_says(cli: Cli, stacks: Path) -> None:
    done = cli("export", "terraform", "dev")
    assert done.code == 0, done.err
    found = done.json()
    assert found["provider"] == {"aws": {"region": "eu-central-1"}}
    jobs = found["resource"]["aws_sqs_queue"]["jobs-queue"]
    assert (jobs["name"], jobs["lifecycle"]) == ("shop-dev-jobs", {"prevent_destroy": True})
    assert found["output"]["polybus"]["value"]["queues"]["jobs"]["address"] == "${aws_sqs_queue.jobs-queue.url}"
    assert found["output"]["bindings"]["value"].keys() == {"shop"}
    assert {"topics", "subscriptions", "queues", "policies"} < found["output"].keys()
    assert "for the stack dev" in found["//"]


def test_what_the_stack_s_file_adopts_is_not_made(cli: Cli, stacks: Path) -> None:
    with (stacks / "Pulumi.dev.yaml").open("a") as file:
        file.write("  polybus:existing:\n    jobs: arn:aws:sqs:eu-central-1:111122223333:old-jobs\n")
    found = cli("export", "terraform", "dev").json()
    assert "jobs-queue" not in found["resource"]["aws_sqs_queue"]
    binding = found["output"]["polybus"]["value"]
    assert binding["queues"]["jobs"]["address"].endswith("/111122223333/old-jobs")
    assert binding["digest"] == digest(load(stacks.parent / "polybus.toml"))


def test_what_is_encrypted_is_a_sensitive_variable_and_nowhere_in_the_output(cli: Cli, stacks: Path) -> None:
    done = cli("export", "terraform", "dev")
    assert SECRET not in done.out + done.err
    found = done.json()
    assert found["variable"]["roles_shop"]["sensitive"] is True
    attached = found["resource"]["aws_iam_role_policy_attachment"]["shop-role"]
    assert attached["role"] == "${var.roles_shop}"


def test_what_is_for_pulumi_s_provider_alone_is_named(cli: Cli, stacks: Path) -> None:
    done = cli("export", "terraform", "dev")
    assert "Pulumi.dev.yaml: aws:profile isn't exported" in done.err
    assert "aws:region" not in done.err


def test_a_secret_that_a_plan_has_to_know_is_refused_by_its_name(cli: Cli, stacks: Path) -> None:
    with (stacks / "Pulumi.dev.yaml").open("a") as file:
        file.write(f"  polybus:kmsKey:\n    secure: {SECRET}\n")
    done = cli("export", "terraform", "dev")
    assert done.code == 1
    assert "found 'the variable kmsKey'; allowed: a key's ARN" in done.err
    assert "it can be neither a variable nor a secret" in done.err
    assert SECRET not in done.err


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("polybus:kmskey: x", "polybus:kmskey: nothing reads it; did you mean kmsKey?"),
        ("polybus:sku: Premium", "polybus:sku: it is for azure"),
        ("polybus:roles:\n    sohp: r", "roles.sohp: aws: found the service 'sohp'"),
        ("polybus:topology: other.toml", "other.toml"),
        ("- 1", "Pulumi.dev.yaml"),
    ],
)
def test_what_is_wrong_in_a_stack_is_refused(cli: Cli, stacks: Path, lines: str, words: str) -> None:
    (stacks / "Pulumi.dev.yaml").write_text(f"config:\n  polybus:cloud: aws\n  {lines}\n")
    done = cli("export", "terraform", "dev")
    assert done.code == 1
    assert words in done.err


def test_a_stack_that_is_not_there_is_refused(cli: Cli, stacks: Path) -> None:
    done = cli("export", "terraform", "prod")
    assert done.code == 1
    assert "Pulumi.prod.yaml: No such file or directory" in done.err


def test_a_file_of_one_s_own_has_the_same_keys_and_may_leave_some_to_variables(cli: Cli, shop: Shop) -> None:
    shop.topology.write_text(ANYWHERE)
    (shop.folder / "prod.toml").write_text(
        'cloud = "gcp"\n"gcp:project" = { variable = "project" }\nprojectNumber = "1"\n'
        'members = { shop = { variable = "shop_member" } }\n'
    )
    done = cli("export", "terraform", "--config", "prod.toml", "--stack", "prod")
    assert done.code == 0, done.err
    found = done.json()
    assert found["provider"] == {key: {"project": "${var.project}"} for key in ("google", "google-beta")}
    assert found["resource"]["google_pubsub_topic"]["orders-topic"]["name"] == "shop-prod-orders"
    members = [one["member"] for one in found["resource"]["google_pubsub_topic_iam_member"].values()]
    assert "${var.shop_member}" in members
    assert {name: one.get("sensitive") for name, one in found["variable"].items()} == {
        "project": None,
        "shop_member": None,
    }


def test_a_cloud_alone_is_written_by_its_defaults(cli: Cli, shop: Shop) -> None:
    shop.topology.write_text(ANYWHERE)
    for cloud, type_ in (("aws", "aws_sns_topic"), ("gcp", "google_pubsub_topic"), ("azure", "azapi_resource")):
        done = cli("export", "terraform", "--cloud", cloud, "--stack", "dev", "--topology", shop.topology)
        assert done.code == 0, done.err
        assert "orders-topic" in done.json()["resource"][type_]


def test_what_the_provider_can_not_be_told_is_said_once_with_all_that_have_it(cli: Cli, shop: Shop) -> None:
    done = cli("export", "terraform", "--cloud", "aws", "--provider-version", "5.100.0")
    lines = [line for line in done.err.splitlines() if "max_message_size" in line]
    assert len(lines) == 1
    assert "(8: aws_sqs_queue.billing-queue, aws_sqs_queue.billing-dead-letters," in lines[0]
    assert "max_message_size" in done.json()["resource"]["aws_sqs_queue"]["jobs-queue"]["//"]
    assert cli("export", "terraform", "--cloud", "aws").err == ""


def test_a_folder_gets_the_file_and_its_lock_says_the_version(cli: Cli, shop: Shop) -> None:
    out = shop.folder / "terraform"
    done = cli("export", "terraform", "--cloud", "aws", "--out", out)
    assert (done.code, done.out) == (0, "")
    file = out / "main.tf.json"
    assert f"wrote {file}" in done.err
    assert json.loads(file.read_text())["terraform"]["required_providers"]["aws"]["version"] == ">= 6.69.1, < 7.0.0"
    lock = 'provider "registry.terraform.io/hashicorp/aws" {\n  version     = "5.100.0"\n  hashes = []\n}\n'
    (out / ".terraform.lock.hcl").write_text(lock)
    assert cli("export", "terraform", "--cloud", "aws", "--out", out).code == 0
    assert json.loads(file.read_text())["terraform"]["required_providers"]["aws"]["version"] == ">= 5.100.0, < 6.0.0"


def test_a_file_that_is_not_ours_is_not_overwritten(cli: Cli, shop: Shop) -> None:
    file = shop.folder / "main.tf.json"
    file.write_text("{}")
    done = cli("export", "terraform", "--cloud", "aws", "--out", shop.folder)
    assert done.code == 1
    assert f"{file} is there" in done.err
    assert file.read_text() == "{}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name one, or a file with --config, or a cloud with --cloud"),
        (["dev", "--cloud", "aws"], "the stack's file says it already"),
        (["--cloud", "aws", "--config", "x.toml"], "the file says it already"),
        (["--cloud", "all"], "about one cloud"),
        (["--cloud", "redis"], "'redis' is not one of"),
    ],
)
def test_what_is_asked_for_has_to_be_one_thing(cli: Cli, shop: Shop, arguments: list[str], words: str) -> None:
    done = cli("export", "terraform", *arguments)
    assert done.code == 2
    assert words in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.ini", "", "found the suffix '.ini'; allowed: .toml, .json, .yaml, .yml"),
        ("x.toml", "a = ", "x.toml: "),
        ("x.json", "[1]", "found list; allowed: a table of keys"),
        ("x.json", "{", "x.json: "),
        ("x.yaml", "a: [", "x.yaml: "),
        ("x.toml", "roles = 1", "x.toml: polybus:cloud is not set"),
        ("x.toml", 'cloud = "asw"', "x.toml: polybus:cloud: found 'asw'"),
        ("x.toml", 'cloud = { variable = "c" }', "the variable c"),
        ("x.toml", 'cloud = { variable = "no way" }', "a variable: found 'no way'"),
    ],
)
def test_a_file_that_says_nothing_is_refused_with_its_name(
    cli: Cli, shop: Shop, name: str, text: str, words: str
) -> None:
    (shop.folder / name).write_text(text)
    done = cli("export", "terraform", "--config", name)
    assert done.code == 1
    assert words in done.err


def test_a_cloud_without_a_terraform_provider_is_refused_by_name(
    cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Cloud(name="aws", title="AWS", driver=AWS.driver, planning=AWS.planning, provider=AWS.provider)
    monkeypatch.setattr("polybus.clouds.aws.CLOUD", without)
    (shop.folder / "x.toml").write_text('cloud = "aws"')
    done = cli("export", "terraform", "--config", "x.toml")
    assert done.code == 1
    assert "the aws backend has no Terraform provider: nothing to export" in done.err


@pytest.mark.parametrize("stack", ["aws-dev", "aws-prod", "azure-dev", "azure-prod", "gcp-dev", "gcp-prod"])
def test_every_stack_of_the_repository_is_written(cli: Cli, stack: str) -> None:
    done = cli("export", "terraform", stack, "--folder", ROOT / "stacks")
    assert done.code == 0
    # A right to a key, which other stacks may live by, is all that Terraform isn't told.
    assert [line for line in done.err.splitlines() if "bus__key-agent" not in line] == []
    found = done.json()
    made = [one for blocks in found["resource"].values() for one in blocks.values()]
    kept = [one for one in made if one.get("lifecycle", {}).get("prevent_destroy")]
    assert bool(kept) == stack.endswith("-prod")


def test_it_needs_neither_pulumi_nor_a_cloud_s_sdk(shop: Shop) -> None:
    shutil.copy(ROOT / "stacks" / "polybus.toml", shop.topology)
    (shop.folder / "x.json").write_text(json.dumps({"cloud": "aws", "aws:region": "eu-west-1", "kmsKey": KEY}))
    program = (
        "import sys\nfor name in ('pulumi', 'boto3', 'yaml', 'google', 'azure'): sys.modules[name] = None\n"
        "from polybus.cli.main import main\nmain(['export', 'terraform', '--config', 'x.json'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=shop.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: Any = json.loads(done.stdout)
    assert KEY in found["output"]["keyPolicy"]["value"]


KEY = "arn:aws:kms:eu-west-1:111122223333:key/k"
