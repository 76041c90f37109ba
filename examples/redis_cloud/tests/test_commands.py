"""polybus's own commands with a cloud from outside: none of them knows it, and each finds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TOPOLOGY = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[queues.jobs]
ordered = true
"""
HANDLER = """
import os, signal
import polybus
app = polybus.App()
@app.handler("billing")
async def bill(body: str) -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # the last one: the process drains
    raise polybus.DeadLetter("NoCustomer", "nobody pays")
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def polybus(tmp_path: Path, places: list[str]) -> Iterator[Command]:
    """Run a command in a folder that has a topology; what it left running ends with the test."""
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    (tmp_path / "billing.py").write_text(HANDLER)
    path = os.pathsep.join((*places, *filter(None, (os.environ.get("PYTHONPATH"),))))
    environment = {**os.environ, "PYTHONPATH": path}

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "polybus.cli.main", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        for line in done.stdout.splitlines() if words[:2] == ("local", "env") else ():
            name, _, value = line.removeprefix("export ").partition("=")
            environment[name] = value
        return done

    yield run
    run("local", "down")


def test_check_and_plan_find_it(polybus: Command, tmp_path: Path) -> None:
    assert polybus("check", "--cloud", "redis").stdout == "redis: ok\n"
    assert "redis: ok" in polybus("check").stdout
    planned = json.loads(polybus("plan", "--cloud", "redis", "--json").stdout)
    assert "polybus:{shop}:billing:dead" in json.dumps(planned)
    (tmp_path / "polybus.toml").write_text(TOPOLOGY + '[topics.theirs]\nexisting = "t"\n')
    assert "Redis adopts nothing" in polybus("check", "--cloud", "redis", code=1).stdout
    (tmp_path / "polybus.toml").write_text(
        TOPOLOGY.replace("[topics.orders]", "[topics.orders]\nredis = { maxlen = 1 }")
    )
    assert "nothing here takes arguments" in polybus("check", "--cloud", "redis", code=1).stdout


def test_a_message_goes_the_whole_way(polybus: Command, tmp_path: Path) -> None:
    polybus("local", "up", "--cloud", "redis", "--background", "--data", str(tmp_path / "data"))
    polybus("local", "env", "--cloud", "redis")
    polybus("publish", "orders", "hello", "--attribute", "region=eu")
    polybus("publish", "orders", "elsewhere", "--attribute", "region=us")
    assert "hello" in (shown := polybus("tail", "billing").stdout)
    assert "elsewhere" not in shown
    assert json.loads(polybus("stats", "--json").stdout)["billing"]["waiting"] == 1
    polybus("run", "billing:app")
    assert "NoCustomer" in polybus("dead-letter", "list", "billing").stdout
    polybus("dead-letter", "redrive", "billing", "--yes")
    assert "hello" in polybus("tail", "billing").stdout
    assert "no dead letters" in (polybus("dead-letter", "list", "billing").stderr)
