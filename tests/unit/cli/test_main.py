"""The command line as a whole: what it offers, how it ends, what it prints where."""

from __future__ import annotations

import importlib
import inspect
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polybus.cli.main import COMMANDS


def test_help_names_every_command(cli: Callable) -> None:
    result = cli("--help")
    assert result.code == 0
    for name, entry in COMMANDS.items():
        assert f"  {name} " in result.out
        assert entry.summary in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_own_help(cli: Callable, name: str) -> None:
    result = cli(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: polybus {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_the_beginning_of_the_commands_own_help(cli: Callable, name: str) -> None:
    module = importlib.import_module(COMMANDS[name].module)
    if hasattr(module, "app"):  # subcommands: the summary is all of its help
        assert COMMANDS[name].summary in cli(name, "--help").out
    else:
        assert inspect.getdoc(module.command).splitlines()[0] == COMMANDS[name].summary


def test_help_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys\nfrom polybus.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "slow = {'rich', 'sqlite3', 'boto3', 'polybus.bus', 'polybus.plan', 'polybus.topology'} & sys.modules.keys()\n"
        "sys.exit(f'imported {slow}' if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(cli: Callable) -> None:
    result = cli("--version")
    assert (result.code, result.out) == (0, "polybus 0.1.0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["chekc"],
        ["check", "--cloud", "moon"],
        ["publish", "jobs"],
        ["publish", "jobs", "x", "--count", "0"],
        ["publish", "jobs", "x", "--attribute", "novalue"],
        ["publish", "jobs", "x", "--delay", "soon"],
        ["run"],
        ["dead-letter", "redrive", "jobs", "--set-body", "x"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_used_wrongly_it_says_how_and_ends_with_2(cli: Callable, shop: object, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "Usage: polybus" in result.err
    assert "Traceback" not in result.err


def test_a_failure_is_one_line_and_ends_with_1(cli: Callable, shop: object) -> None:
    result = cli("publish", "ordesr", "x")
    assert result.code == 1
    assert result.out == ""
    assert result.err == "polybus: nothing named 'ordesr' to publish to in bus 'shop'; did you mean 'orders'?\n"


def test_debug_shows_the_traceback(shop, spawn: Callable) -> None:
    process = spawn("--debug", "publish", "ordesr", "x", cwd=shop.folder)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback (most recent call last)" in err
    assert "BindingError: nothing named 'ordesr'" in err


def test_what_is_not_expected_is_named_without_a_traceback(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("polybus.topology.file.load", fail)
    result = cli("check", "x.toml")
    assert result.code == 1
    assert result.err == "polybus: unexpected ZeroDivisionError: division by zero; `polybus --debug ...` shows where\n"


def test_interrupted_it_ends_with_130(shop, spawn: Callable) -> None:
    process = spawn("tail", "jobs", "--follow", "--json", cwd=shop.folder)
    shop.publish("jobs", "begin")
    assert "begin" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_matter(shop, spawn: Callable) -> None:
    shop.publish("jobs", *("x" * 1000 for _ in range(200)))  # more than a pipe holds
    process = spawn("tail", "jobs", "--json", cwd=shop.folder)
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=60)
    assert process.stderr.read() == ""


def test_colour_is_for_terminals(cli: Callable, shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.bury("jobs", "x")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli("dead-letter", "list", "jobs").out
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in cli("stats").out


def test_completion_knows_the_options_of_every_command(spawn: Callable, tmp_path: Path) -> None:
    environment = {"_POLYBUS_COMPLETE": "complete_bash", "COMP_WORDS": "polybus publish --at", "COMP_CWORD": "2"}
    process = spawn(cwd=tmp_path, environment=environment)
    out, err = process.communicate(timeout=60)
    assert out.split() == ["--attribute"], err
