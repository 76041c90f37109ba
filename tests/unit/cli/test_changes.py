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


@pytest.mark.parametrize(
    "more", [["--against", "old.toml", "--live"], ["--binding", "x.json"], ["--allow-replace"]], ids=" ".join
)
def test_options_that_do_not_go_together(cli: Callable, old: Path, more: list[str]) -> None:
    result = cli("check", *more)
    assert (result.code, result.out) == (2, "")
    assert "Usage: polybus check" in result.err
