"""`polybus plan --diff` and `polybus check --against`: what a change would do where the old topology is deployed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = '[bus]\nname = "shop"\n\n[topics.orders]\n\n[subscriptions.billing]\ntopic = "orders"\n\n[queues.jobs]\n'


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The topology that is deployed; the one in the working directory has an ordered queue."""
    (tmp_path / "old.toml").write_text(GOOD)
    (tmp_path / "polybus.toml").write_text(GOOD + "ordered = true\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "old.toml"


def test_plan_diff_shows_what_would_be_replaced_and_lost(cli: Callable, old: Path) -> None:
    result = cli("plan", "--diff", old, "--cloud", "aws", "--stack", "dev")
    assert result.code == 0
    assert "aws: 6 to replace" in result.out
    assert "fifo_queue: not set -> true (can't be changed in place)" in result.out
    assert "replace of queue shop-dev-jobs ($.queues.jobs) loses what waits in it" in result.out
    assert "loses its dead letters" in result.out


def test_plan_diff_of_the_same_is_nothing(cli: Callable, old: Path) -> None:
    assert cli("plan", old, "--diff", old).out == "aws: no changes\nazure: no changes\ngcp: no changes\n"


def test_plan_diff_as_json(cli: Callable, old: Path) -> None:
    found = cli("plan", "--diff", old, "--json").json()
    assert set(found["changes"]) == {"aws", "azure", "gcp"}
    [queue] = [change for change in found["changes"]["azure"] if change["kind"] == "queue"]
    assert (queue["action"], queue["loses"]) == ("replace", "what waits in it, and its dead letters")
    assert {"property": "requires_session", "old": "false", "new": "true", "forces": True} in queue["edits"]


def test_plan_diff_says_which_cloud_refuses(cli: Callable, old: Path) -> None:
    old.write_text(GOOD + 'max_delay = "1m"\n')
    result = cli("plan", "--diff", old)
    assert result.code == 1
    assert "aws: " in result.out
    assert "gcp: " not in result.out
    assert "old.toml: at $.queues.jobs.max_delay: gcp" in result.err


def test_plan_diff_has_no_embedded_store(cli: Callable, old: Path) -> None:
    result = cli("plan", "--diff", old, "--cloud", "local")
    assert (result.code, result.out) == (2, "")
    assert "--diff compares clouds" in " ".join(result.err.split())


def test_check_against_refuses_what_would_lose_messages(cli: Callable, old: Path) -> None:
    result = cli("check", "--against", old, "--no-notes", "--cloud", "gcp")
    assert result.code == 1
    assert "gcp: ok, and 1 change would lose messages\n" in result.out
    assert "replace of queue shop-jobs ($.queues.jobs) loses what waits in it" in result.out
    assert "--allow-replace accepts the loss" in " ".join(result.out.split())
    assert result.err == f"polybus: {old.parent / 'polybus.toml'}: would lose messages on gcp\n"


def test_check_against_accepts_it_where_it_is_told_to(cli: Callable, old: Path) -> None:
    result = cli("check", "--against", old, "--allow-replace", "--no-notes", "--cloud", "aws")
    assert (result.code, result.err) == (0, "")
    assert "loses what waits in it" in result.out
    assert "instead:" not in result.out


def test_check_against_as_json(cli: Callable, old: Path) -> None:
    result = cli("check", "--against", old, "--json")
    found = result.json()
    assert result.code == 1
    assert found["ok"] is False
    assert [loss["kind"] for loss in found["clouds"]["aws"]["losses"]] == ["queue", "dead letters"]
    assert cli("check", old, "--against", old, "--json").json()["ok"] is True


def test_check_against_what_a_cloud_could_not_hold_loses_nothing_there(cli: Callable, old: Path) -> None:
    old.write_text(GOOD + 'max_delay = "1m"\n')
    result = cli("check", "--against", old, "--no-notes", "--cloud", "gcp")
    assert (result.code, result.out) == (0, "gcp: ok\n")
    assert "gcp refuses it" in result.err


def test_check_against_a_file_that_is_not_there(cli: Callable, old: Path) -> None:
    result = cli("check", "--against", "nowhere.toml")
    assert result.code == 1
    assert "nowhere.toml" in result.err


RETENTIONS = [
    ("aws", "queue", "retention", "messages older than 1h"),
    ("aws", "dead letters", "dead_letter_retention", "dead letters older than 1h"),
    ("gcp", "queue", "retention", "messages older than 1h"),
    ("gcp", "dead letters", "dead_letter_retention", "dead letters older than 1h"),
]


@pytest.mark.parametrize(("cloud", "kind", "key", "words"), RETENTIONS)
def test_a_shorter_retention_loses_what_is_older(
    cli: Callable, old: Path, cloud: str, kind: str, key: str, words: str
) -> None:
    new = old.parent / "polybus.toml"
    old.write_text(GOOD + f'{key} = "7d"\n')
    new.write_text(GOOD + f'{key} = "1h"\n')
    result = cli("check", "--against", old, "--no-notes", "--cloud", cloud, "--json")
    assert result.code == 1
    losses = [(item["action"], item["kind"], item["loses"]) for item in result.json()["clouds"][cloud]["losses"]]
    assert losses == [("change", kind, words)]
    assert cli("check", old, "--against", new, "--no-notes", "--cloud", cloud).code == 0  # a longer one loses nothing
    # Service Bus counts from when a message was sent, by what it was sent with.
    assert cli("check", "--against", old, "--no-notes", "--cloud", "azure").code == 0


KEY = "arn:aws:kms:eu-west-1:111122223333:key/k"
AWS = f"config:\n  polybus:cloud: aws\n  aws:region: eu-west-1\n  polybus:kmsKey: {KEY}\n"
AZURE = "config:\n  polybus:cloud: azure\n  azure-native:location: westeurope\n"
GCP = "config:\n  polybus:cloud: gcp\n  gcp:project: one\n  polybus:projectNumber: 1\n"


def configured(old: Path, before: str, after: str, stack: str = "prod") -> list[str]:
    """Write the topology and two configurations of a stack; return what `check` is asked."""
    (old.parent / "polybus.toml").write_text(GOOD)
    folder = old.parent / "deployed"
    folder.mkdir()
    (folder / "Pulumi.prod.yaml").write_text(before)
    (old.parent / f"Pulumi.{stack}.yaml").write_text(after)
    files = ["--config", str(old.parent / f"Pulumi.{stack}.yaml"), "--against-config", str(folder / "Pulumi.prod.yaml")]
    return ["check", *files, "--no-notes"]


@pytest.mark.parametrize(
    ("before", "after", "stack", "words"),
    [
        (AWS, AWS.replace("eu-west-1", "eu-west-2"), "prod", "aws:region: eu-west-1 -> eu-west-2"),
        (AWS, AWS, "production", "replace of queue shop-prod-jobs"),
        (AWS, AZURE, "prod", "delete of queue shop-prod-jobs"),
        (AZURE, AZURE.replace("westeurope", "eastus"), "prod", "everything that waits in the namespace"),
        (AZURE, AZURE + "  polybus:namespace: the-teams-own\n", "prod", "everything that waits in the namespace"),
        (
            AZURE + "  azure-native:subscriptionId: a\n",
            AZURE + "  azure-native:subscriptionId: b\n",
            "prod",
            "namespace",
        ),
        (GCP, GCP.replace("one", "two"), "prod", "replace of subscription shop-prod-billing"),
    ],
)
def test_a_configuration_that_would_lose_messages_is_refused(
    cli: Callable, old: Path, before: str, after: str, stack: str, words: str
) -> None:
    result = cli(*configured(old, before, after, stack))
    assert result.code == 1
    assert words in " ".join(result.out.split())
    assert "would lose messages on" in result.err


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (AWS, AWS.replace(f"  polybus:kmsKey: {KEY}\n", ""), f"Pulumi.prod.yaml: polybus:kmsKey: {KEY} -> not set"),
        (AZURE, AZURE + "  azure-native:subscriptionId: a\n", "azure-native:subscriptionId: not set -> a"),
        (AWS.replace("  aws:region: eu-west-1\n", ""), AWS, "aws:region: not set -> eu-west-1"),
        (AWS, AWS, "aws: ok"),
    ],
)
def test_a_configuration_that_loses_nothing_is_shown(
    cli: Callable, old: Path, before: str, after: str, words: str
) -> None:
    result = cli(*configured(old, before, after))
    assert (result.code, result.err) == (0, "")
    assert words in " ".join(result.out.split())


def test_check_with_a_configuration_holds_what_it_says(cli: Callable, old: Path) -> None:
    command = configured(old, AWS, AWS.replace("key/k", "alias/k"))
    result = cli(*command)
    assert result.code == 1
    assert "aws kmsKey: found" in result.err
    (old.parent / "Pulumi.prod.yaml").write_text(AWS + "  polybus:kmskey: x\n")
    assert "Pulumi.prod.yaml: polybus:kmskey: nothing reads it; did you mean kmsKey?" in cli(*command).err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (AWS + "  polybus:roles:\n    shop:\n      secure: x\n", "found polybus:roles encrypted"),
        ("config: [1]\n", "at config: found list"),
        ("- 1\n", "found list"),
        ("config: {\n", "Pulumi.prod.yaml"),
    ],
)
def test_a_configuration_that_can_not_be_read_is_refused(cli: Callable, old: Path, text: str, words: str) -> None:
    result = cli(*configured(old, AWS, text))
    assert result.code == 1
    assert words in result.err


def test_what_is_encrypted_of_a_provider_is_left_out(cli: Callable, old: Path) -> None:
    result = cli(*configured(old, AWS, AWS + "  aws:secretKey:\n    secure: x\n"))
    assert (result.code, result.err) == (0, "")
    assert "secretKey" not in result.out


def test_what_the_project_sets_for_all_stacks_counts(cli: Callable, old: Path) -> None:
    """A key without a namespace is the project's own, whatever the project is called."""
    without = AWS.replace(f"  polybus:kmsKey: {KEY}\n", "")
    command = configured(old, without, without.replace("  aws:region: eu-west-1\n", "  topology: mine.toml\n"))
    project = "name: shop\nruntime: python\nconfig:\n  aws:region:\n    value: eu-west-2\n"
    (old.parent / "Pulumi.yaml").write_text(project)
    result = cli(*command)
    assert "aws:region: eu-west-1 -> eu-west-2" in " ".join(result.out.split())
    assert "shop:topology: not set -> mine.toml" in " ".join(result.out.split())


def test_a_file_that_does_not_say_its_stack_needs_one(cli: Callable, old: Path) -> None:
    (old.parent / "prod.yaml").write_text(AWS)
    (old.parent / "polybus.toml").write_text(GOOD)
    result = cli("check", "--config", "prod.yaml", "--no-notes")
    assert result.code == 2
    assert "name it" in " ".join(result.err.split())
    assert cli("check", "--config", "prod.yaml", "--stack", "prod", "--no-notes").out == "aws: ok\n"


@pytest.mark.parametrize(
    "more",
    [
        ["--against", "old.toml", "--live"],
        ["--binding", "x.json"],
        ["--allow-replace"],
        ["--config", "x.yaml", "--live"],
        ["--against-config", "x.yaml"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together(cli: Callable, old: Path, more: list[str]) -> None:
    result = cli("check", *more)
    assert (result.code, result.out) == (2, "")
    assert "Usage: polybus check" in result.err
