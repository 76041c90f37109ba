"""What is wrong gives one clear error, a non-zero exit, no traceback, and nothing half-created or lost."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from polybus.installed import requirement


def refused(result, *parts: str, lines: int = 1) -> None:
    """Assert that a command failed with clear lines that hold all of `parts`."""
    assert result.code == 1
    assert result.out == ""
    assert "Traceback" not in result.err
    for part in parts:
        assert part in result.err
    assert result.err.count("\n") == lines, result.err


def test_a_topology_that_is_not_toml(cli: Callable, shop) -> None:
    shop.topology.write_text("[bus\n")
    refused(cli("check"), "polybus.toml: not valid TOML", "line 1")
    refused(cli("publish", "jobs", "x"), "not valid TOML")
    assert not (shop.folder / ".polybus").exists()


def test_a_topology_with_several_mistakes_tells_them_all(cli: Callable, shop) -> None:
    shop.topology.write_text(
        '[bus]\nname = "shop"\n[subscriptions.billing]\ntopic = "orders"\nleese = "60s"\nlease = "soon"\n'
    )
    result = cli("check")
    for place in ("$.subscriptions.billing.topic", "$.subscriptions.billing.leese", "$.subscriptions.billing.lease"):
        assert f"at {place}" in result.err
    assert (result.code, result.out) == (1, "")


def test_a_filter_that_is_none(cli: Callable, shop) -> None:
    shop.topology.write_text(shop.topology.read_text().replace('region == "eu"', "region = eu"))
    refused(cli("check"), "polybus.toml", "at $.subscriptions.billing.filter", "at character 8")


def test_a_topology_that_is_no_text(cli: Callable, shop) -> None:
    shop.topology.write_bytes(b"[bus]\nname = '\xff'\n")
    refused(cli("check"), "at line 2", "not UTF-8")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "pulumi stack output polybus --json"),
        ('{"backend": "sqlite"}', "`bus`"),
        ('{"backend": "sqlite", "bus": "shop", "version": 99}', "at $.version: found 99"),
        ('{"backend": "sqlte", "bus": "shop"}', "did you mean 'sqlite'?"),
        ('{"backend": "sqlite", "bus": "shop"}', "path"),
    ],
)
def test_a_binding_that_is_wrong(cli: Callable, shop, text: str, says: str) -> None:
    (shop.folder / "polybus.binding.json").write_text(text)
    result = cli("stats")
    refused(result, says)


def test_a_binding_that_is_not_there(cli: Callable, shop, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(cli("stats", "--binding", "nowhere.json"), "nowhere.json: No such file or directory")
    monkeypatch.setenv("POLYBUS_BINDING", "elsewhere.json")
    refused(cli("stats"), "elsewhere.json: No such file or directory")


def test_no_configuration_at_all(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(cli("publish", "jobs", "x"), "no binding", "POLYBUS_BINDING is not set", "polybus init")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("publish", "jobs", "x", "--count", "a"), "'a' is not a whole number from 1"),
        (("publish", "jobs", "x", "--count", "0"), "'0' is not a whole number from 1"),
        (("dead-letter", "list", "jobs", "--limit", "1.5"), "'1.5' is not a whole number from 1"),
        (("tail", "jobs", "--limit", "-1"), "'-1' is not a whole number from 1"),
        (("local", "up", "--cloud", "aws", "--port", "65536"), "'65536' is not a whole number from 0 to 65535"),
        (("local", "up", "--cloud", "azur"), "Did you mean 'azure'?"),
    ],
)
def test_a_value_that_an_option_can_not_have(cli: Callable, shop, command: tuple[str, ...], says: str) -> None:
    result = cli(*command)
    assert result.code == 2
    assert says in result.err
    assert "Input should" not in result.err


@pytest.mark.parametrize("command", ["check", "plan", "diagram", "stats"])
def test_a_topology_that_is_not_there(
    cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Found wrong, not used wrongly: the same exit code whatever looks for it."""
    monkeypatch.chdir(tmp_path)
    refused(cli(command), "polybus.toml", "polybus init")


def test_a_message_over_the_limit(cli: Callable, shop) -> None:
    shop.topology.write_text(
        shop.topology.read_text().replace("[queues.jobs]", '[queues.jobs]\nmax_message_size = "2KiB"')
    )
    result = cli("publish", "jobs", "-", stdin=b"x" * 3000)
    assert result.code == 1
    assert "too_large" in result.err
    assert "Traceback" not in result.err
    assert shop.waiting("jobs") == 0


def test_a_topic_that_is_not_there(cli: Callable, shop) -> None:
    refused(cli("publish", "billing", "x"), "nothing named 'billing' to publish to")
    refused(cli("tail", "moon"), "nothing named 'moon'")


def test_a_key_where_no_order_is_kept(cli: Callable, shop) -> None:
    result = cli("publish", "jobs", "x", "--key", "k")
    assert result.code == 1
    assert "at $.queues.jobs: ordered = true" in result.err
    assert "1 not published" in result.err
    assert "Traceback" not in result.err


def test_a_file_that_is_not_there(cli: Callable, shop) -> None:
    refused(cli("publish", "jobs", "--file", "missing.jsonl"), "missing.jsonl: No such file or directory")


def test_a_store_that_is_no_database(cli: Callable, shop) -> None:
    store = shop.folder / ".polybus" / "bus.db"
    store.parent.mkdir()
    store.write_bytes(b"this is no database" * 100)
    refused(cli("stats"), str(store), "not an SQLite database")
    refused(cli("tail", "jobs"), str(store), "not an SQLite database")
    assert store.read_bytes().startswith(b"this is no database")


def test_a_store_that_is_damaged_loses_nothing_more(cli: Callable, shop) -> None:
    shop.publish("jobs", *("x" * 3000 for _ in range(50)))
    store = shop.folder / ".polybus" / "bus.db"
    content = bytearray(store.read_bytes())
    content[4096:] = b"\xee" * (len(content) - 4096)
    store.write_bytes(content)
    result = cli("publish", "jobs", "x")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert str(store) in result.err
    assert store.stat().st_size == len(content)


def test_a_store_in_a_folder_that_can_not_be_made(cli: Callable, shop) -> None:
    (shop.folder / ".polybus").write_text("a file is in the way")
    result = cli("publish", "jobs", "x")
    assert result.code == 1
    assert ".polybus" in result.err
    assert "Traceback" not in result.err


def test_a_disk_that_is_full(shop) -> None:
    """A limit on file sizes stands for the full disk: SQLite gets an error from write() all the same."""
    shop.publish("jobs", "before")
    store = shop.folder / ".polybus" / "bus.db"
    limit = store.stat().st_size + 64 * 1024

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "polybus.cli.main", "publish", "jobs", "-"],
        cwd=shop.folder,
        input=os.urandom(2 * limit),
        capture_output=True,
        preexec_fn=restrict,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert str(store).encode() in done.stderr
    assert [message.body for message in shop.take("jobs", 1)] == [b"before"]
    shop.publish("jobs", "after")


def test_a_store_that_is_locked_by_another(shop, spawn: Callable) -> None:
    """The publisher waits for the lock; here it gets it in the end, and nothing is lost."""
    shop.publish("jobs", "before")
    with closing(sqlite3.connect(shop.folder / ".polybus" / "bus.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        process = spawn("publish", "jobs", "x", cwd=shop.folder)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        other.execute("ROLLBACK")
    assert process.wait(timeout=60) == 0
    assert shop.waiting("jobs") == 2


@pytest.mark.parametrize(("backend", "module", "extra"), [("aws", "boto3", "aws")])
def test_an_extra_that_is_not_installed(shop, backend: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from polybus.cli.main import main\n"
        f'main([\'stats\', \'--binding\', \'{{"backend": "{backend}", "bus": "shop"}}\'])'
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=shop.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"pip install {requirement(extra)}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_embedded_backend_where_a_platform_marks_itself(
    cli: Callable, shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    refused(cli("publish", "jobs", "x"), "Kubernetes", "POLYBUS_BINDING")
    assert not (shop.folder / ".polybus").exists()
