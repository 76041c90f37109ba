"""A topology that leaves texts open: `check` says so, `plan`, `import` and `export` take them from the stack's file."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

OPEN = """
[bus]
name = "shop"
[topics.orders]
existing = { config = "orders" }
[subscriptions.billing]
topic = "orders"
[subscriptions.hook]
topic = "orders"
push = { https = { config = "hook" } }
[queues.jobs]
existing = { env = "JOBS" }
[services.web]
publishes = ["orders"]
[alarms]
notify = { topic = { config = "pager" } }
"""
STACK = """
config:
  aws:region: eu-west-1
  polybus:cloud: aws
  polybus:values:
    orders: arn:aws:sns:eu-west-1:111122223333:theirs
    pager: arn:aws:sns:eu-west-1:111122223333:pager
  polybus:secrets:
    hook:
      secure: v1:AAAA:BBBB
"""
JOBS = "arn:aws:sqs:eu-west-1:111122223333:jobs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "polybus.toml").write_text(OPEN)
    (tmp_path / "Pulumi.dev.yaml").write_text(STACK)
    (tmp_path / "Pulumi.yaml").write_text("name: polybus\nruntime: python\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOBS", raising=False)
    return tmp_path


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_check_says_what_is_open_and_refuses_nothing_for_it(cli: Callable, folder: Path, cloud: str) -> None:
    found = cli("check", "--cloud", cloud, "--json").json()["clouds"][cloud]
    assert found["ok"]
    said = {one["path"]: one["limit"] for one in found["findings"] if one["limit"].startswith("open")}
    assert said == {
        "$.topics.orders.existing": (
            "open: it is polybus:values.orders, or polybus:secrets.orders, of the stack's configuration"
        ),
        "$.subscriptions.hook.push.https": (
            "open: it is polybus:values.hook, or polybus:secrets.hook, of the stack's configuration"
        ),
        "$.queues.jobs.existing": "open: it is the environment variable JOBS",
        "$.alarms.notify.topic": (
            "open: it is polybus:values.pager, or polybus:secrets.pager, of the stack's configuration"
        ),
    }
    assert "polybus-given" not in json.dumps(found)


def test_check_holds_what_the_environment_says(cli: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", "nothing-like-it")
    refused = cli("check", "--cloud", "aws")
    assert refused.code == 1
    assert "error at $.queues.jobs.existing: nothing-like-it; allowed: the ARN of an SQS queue" in refused.out


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_plan_shows_what_is_open_by_its_name(cli: Callable, folder: Path, cloud: str) -> None:
    found = cli("plan", "--cloud", cloud, "--json")
    assert found.code == 0
    plan = found.json()["plans"][cloud]
    text = json.dumps(plan)
    assert "polybus-given" not in text
    for name in ("<config orders>", "<config hook>", "<config pager>", "<env JOBS>"):
        assert name in text
    assert plan["rights"]["web"][0]["on"] == ["<config orders>"]


def test_plan_and_check_take_it_from_a_stacks_file(
    cli: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS", JOBS)
    found = cli("plan", "--config", "Pulumi.dev.yaml", "--json").json()
    assert (found["stack"], list(found["plans"])) == ("dev", ["aws"])
    text = json.dumps(found)
    assert "arn:aws:sns:eu-west-1:111122223333:theirs" in text
    assert "arn:aws:sns:eu-west-1:111122223333:pager" in text
    assert JOBS in text
    assert "<config hook>" in text  # which is encrypted, and not for us to read
    assert "<config orders>" not in text
    checked = cli("check", "--config", "Pulumi.dev.yaml", "--json")
    assert checked.code == 0
    said = [one["path"] for one in checked.json()["clouds"]["aws"]["findings"] if one["limit"].startswith("open")]
    assert said == ["$.subscriptions.hook.push.https"]


def test_a_stack_that_leaves_it_open_is_refused(cli: Callable, folder: Path) -> None:
    for words in (("plan",), ("check",)):
        refused = cli(*words, "--config", "Pulumi.dev.yaml")
        assert refused.code == 1
        assert "$.queues.jobs.existing: open, and the environment variable JOBS is not set" in refused.err
    (folder / "Pulumi.dev.yaml").write_text(STACK.replace("    pager:", "    pagr:"))
    refused = cli("check", "--config", "Pulumi.dev.yaml")
    assert "values.pagr: nothing in" in refused.err
    assert "did you mean pager?" in refused.err


def test_other_options_of_a_plan_are_held_to_the_file(cli: Callable, folder: Path) -> None:
    assert "is of aws" in cli("plan", "--config", "Pulumi.dev.yaml", "--cloud", "gcp").err
    assert cli("plan", "--config", "Pulumi.dev.yaml", "--diff", "polybus.toml").code == 2


def test_import_takes_what_is_filled_in_for_adopted(
    cli: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS", JOBS)
    made = cli("import", "dev", "--account", "111122223333")
    assert made.code == 0, made.err
    assert {one["name"] for one in made.json()["resources"]} == {"shop", "shop-billing-queue"}
    assert "it stays its owner's" in cli("import", "dev", "orders", "--account", "111122223333").err


def test_export_fills_in_and_makes_variables_of_secrets(
    cli: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS", JOBS)
    made = cli("export", "terraform", "dev")
    assert made.code == 0, made.err
    document = made.json()
    assert document["variable"] == {
        "secrets_hook": {
            "description": "Encrypted in the stack's configuration.",
            "type": "string",
            "sensitive": True,
        }
    }
    assert "${var.secrets_hook}" in json.dumps(document["resource"]["aws_sns_topic_subscription"])
    assert "111122223333:theirs" in json.dumps(document["resource"])
    assert "<config" not in made.out
    (folder / "Pulumi.dev.yaml").write_text(
        STACK.replace("    orders: arn:aws:sns:eu-west-1:111122223333:theirs\n", "")
        + "    orders:\n      secure: v1:A:B\n"
    )
    refused = cli("export", "terraform", "dev")
    assert "it can be neither a variable nor a secret" in " ".join(refused.err.split())


def test_a_live_comparison_has_to_know_what_is_adopted(cli: Callable, folder: Path) -> None:
    importlib.import_module("boto3")
    binding = {
        "version": 1, "backend": "aws", "bus": "shop", "topics": {}, "subscriptions": {}, "queues": {}
    }  # fmt: skip
    (folder / "binding.json").write_text(json.dumps(binding))
    refused = cli("check", "--live", "--binding", "binding.json")
    assert refused.code == 1
    assert "at $.topics.orders.existing: open" in refused.err
    assert "`polybus check --live --config FILE` reads it there" in refused.err
