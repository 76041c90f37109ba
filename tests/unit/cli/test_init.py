"""`polybus init`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def test_what_it_writes_can_be_checked_and_run(
    cli: Callable, spawn: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "first"
    result = cli("init", folder)
    assert result.code == 0
    assert "polybus run billing:app" in result.out
    monkeypatch.chdir(folder)
    assert cli("check").code == 0
    service = spawn("run", "billing:app", cwd=folder)
    body = '{"customer": "Ada", "total": 9.5}'
    assert cli("publish", "orders", body, "--attribute", "region=eu").code == 0
    assert service.stdout.readline() == "attempt 1: Ada owes 9.50\n"
    service.terminate()
    assert service.wait(timeout=60) == 0


@pytest.mark.parametrize("there", ["polybus.toml", "billing.py", "polybus.schema.json"])
def test_nothing_is_overwritten(cli: Callable, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    result = cli("init", tmp_path)
    assert result.code == 1
    assert f"{there}: is there already, nothing was written" in result.err
    assert (tmp_path / there).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_editors_find_the_schema(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("init", tmp_path)
    first = (tmp_path / "polybus.toml").read_text().partition("\n")[0]
    directive, _, where = first.partition(" ")
    assert directive == "#:schema"
    schema = (tmp_path / where).read_text()
    assert json.loads(schema)["title"] == "polybus.toml"
    assert cli("schema").out == schema
    assert cli("schema", "--output", tmp_path / "again.json").out == ""
    assert (tmp_path / "again.json").read_text() == schema


def test_the_bus_is_named_by_the_folder_or_by_name(cli: Callable, tmp_path: Path) -> None:
    cli("init", tmp_path / "1 my shop!")
    assert 'name = "my-shop"' in (tmp_path / "1 my shop!" / "polybus.toml").read_text()
    cli("init", tmp_path / "other", "--name", "store")
    assert 'name = "store"' in (tmp_path / "other" / "polybus.toml").read_text()


def test_a_name_that_no_bus_can_have_is_refused(cli: Callable, tmp_path: Path) -> None:
    result = cli("init", tmp_path / "new", "--name", "a b")
    assert result.code == 2
    assert "at $.bus.name" in result.err
    assert not (tmp_path / "new").exists()


def test_what_it_says_next_can_be_pasted_and_says_what_is_embedded(cli: Callable, tmp_path: Path) -> None:
    said = cli("init", tmp_path / "first").out
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert commands[0] == f"cd {tmp_path / 'first'}"
    assert commands[2].startswith("export POLYBUS_BINDING=embedded ")
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
