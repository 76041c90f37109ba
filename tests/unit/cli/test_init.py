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


FILES = {
    "aws": {
        "stacks/Pulumi.yaml",
        "stacks/__main__.py",
        "stacks/README.md",
        "stacks/Pulumi.aws-dev.yaml",
        "stacks/Pulumi.aws-prod.yaml",
        "stacks/requirements-aws.txt",
        ".github/workflows/polybus-first-aws.yml",
    }
}


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_stack_beside_what_is_there_touches_none_of_it(cli: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "first"
    cli("init", folder)
    (folder / "polybus.toml").write_text((folder / "polybus.toml").read_text() + "[queues.jobs]\n")
    (folder / "billing.py").unlink()
    before = {path: (folder / path).read_text() for path in written(folder)}
    result = cli("init", folder, "--stack", "aws")
    assert result.code == 0
    assert {path: (folder / path).read_text() for path in before} == before
    assert written(folder) - before.keys() == FILES["aws"]
    for path in FILES["aws"]:
        assert path in result.out
    assert "name: first\n" in (folder / "stacks/Pulumi.yaml").read_text()


def test_a_stack_in_an_empty_folder_brings_the_topology(cli: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "first"
    assert cli("init", folder, "--stack", "aws").code == 0
    assert written(folder) == FILES["aws"] | {"polybus.toml", "billing.py", "polybus.schema.json"}


def test_the_same_again_writes_nothing_and_says_so(cli: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "first"
    cli("init", folder, "--stack", "aws")
    again = cli("init", folder, "--stack", "aws")
    assert again.code == 0
    assert "There already, and the same: " in again.out
    assert "Wrote" not in again.out


def test_what_was_changed_is_overwritten_by_force_alone(cli: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "first"
    cli("init", folder, "--stack", "aws")
    changed = folder / "stacks/Pulumi.aws-prod.yaml"
    was = changed.read_text()
    changed.write_text("config: {}\n")
    (folder / "stacks/README.md").unlink()
    refused = cli("init", folder, "--stack", "aws")
    assert refused.code == 1
    assert "Pulumi.aws-prod.yaml: is there already, nothing was written" in refused.err
    assert changed.read_text() == "config: {}\n"
    assert not (folder / "stacks/README.md").exists()
    assert cli("init", folder, "--stack", "aws", "--force").code == 0
    assert changed.read_text() == was
    assert (folder / "stacks/README.md").exists()


def test_a_stack_of_no_cloud_is_refused_with_the_nearest(cli: Callable, tmp_path: Path) -> None:
    refused = cli("init", tmp_path, "--stack", "azur")
    assert refused.code == 2
    assert "Did you mean 'azure'?" in " ".join(refused.err.split())
    assert cli("init", tmp_path, "--stack", "all").code == 2
    assert written(tmp_path) == set()


def test_another_name_than_that_of_the_topology_is_refused(cli: Callable, tmp_path: Path) -> None:
    cli("init", tmp_path, "--name", "shop")
    assert "names it 'shop'" in " ".join(cli("init", tmp_path, "--stack", "aws", "--name", "store").err.split())


def test_an_api_needs_what_it_uses(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text('[bus]\nname = "shop"\n[topics.news]\n')
    refused = cli("init", tmp_path, "--fastapi")
    assert refused.code == 1
    assert "declares no topic orders and subscription billing" in refused.err
    assert written(tmp_path) == {"polybus.toml"}


# What the application asks of FastAPI, no more: the framework itself is no dependency of the tests.
FASTAPI = """\
class FastAPI:
    def __init__(self, lifespan):
        self.lifespan, self.routes = lifespan, {}
        self.state = type("State", (), {})()

    def post(self, path, status_code=200):
        return lambda function: self.routes.setdefault(("POST", path), function)

    def get(self, path):
        return lambda function: self.routes.setdefault(("GET", path), function)


class Request:
    def __init__(self, app):
        self.app = app


class Response:
    status_code = 200
"""
DRIVE = """\
import asyncio

import api
from fastapi import Request, Response


async def main() -> None:
    take, ready = api.api.routes["POST", "/orders"], api.api.routes["GET", "/ready"]
    async with api.api.lifespan(api.api):
        request = Request(api.api)
        answer = await take(api.Order(customer="Ada", total=9.5), request)
        assert len(answer["id"]) == 36
        while True:
            response = Response()
            state = await ready(response)
            if state == {"state": "ready"}:
                break
            await asyncio.sleep(0.01)
        assert response.status_code == 200


asyncio.run(main())
"""


def test_an_api_publishes_and_handles_in_fastapi_s_lifespan(
    cli: Callable, spawn: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "first"
    result = cli("init", folder, "--fastapi")
    assert result.code == 0
    assert "uvicorn api:api" in result.out
    assert written(folder) == {"polybus.toml", "api.py", "polybus.schema.json"}
    (folder / "fastapi.py").write_text(FASTAPI)
    (folder / "drive.py").write_text(DRIVE)
    process = spawn(cwd=folder, command=("drive.py",))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "attempt 1: Ada owes 9.50\n"
