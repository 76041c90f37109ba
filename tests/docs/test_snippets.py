"""What documents show runs: Python and topologies in a folder of their own, command lines up to what they would do."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from polybus.cli import main
from polybus.topology.file import loads

from .snippets import ROOT, Block, blocks, pages

# Pages whose Python isn't run here, and where it is.
ELSEWHERE: Mapping[str, str] = {
    "README.md": "tests/unit/test_readme.py; `order` is a reader's own",
    "docs/handlers.md": "shows where handlers may run, without their bodies: tests/unit/app",
    "docs/provisioning.md": "Pulumi programs: tests/provision",
    "docs/serverless.md": "tests/serverless/test_pages.py",
    "docs/write-a-backend.md": "tests/unit/testing",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def every(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{name_of(path)}:{block.line}")
        for path in pages()
        for block in blocks(path)
        if block.language in languages
    ]


RUN = [
    path
    for path in pages()
    if name_of(path) not in ELSEWHERE and any(block.language == "python" for block in blocks(path))
]


@pytest.mark.parametrize("block", every("python"))
def test_python_compiles(block: Block) -> None:
    compile(block.text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("path", RUN, ids=name_of)
def test_the_code_of_a_page_runs(path: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "POLYBUS_BINDING": "embedded", "PYTHONWARNINGS": "error::DeprecationWarning:page"}
    command = [sys.executable, str(Path(__file__).with_name("snippets.py")), name_of(path)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_troubleshooting_quotes_is_what_is_printed() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    table = page[page.index("## What is printed") :].partition("\n## ")[0]
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    quoted = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert quoted
    assert [text for text in quoted if text not in source] == []


@pytest.mark.parametrize("block", every("toml"))
def test_toml_is_read(block: Block) -> None:
    if "[bus]" in block.text:
        loads(block.text, source="page")
    else:
        tomllib.loads(block.text)


@pytest.mark.parametrize("block", every("json"))
def test_json_is_read(block: Block) -> None:
    texts = block.text.splitlines() if block.text.count("\n{") else [block.text]  # one, or one a line
    assert all(isinstance(json.loads(text), dict) for text in texts)


@pytest.mark.parametrize("block", every("sh", "bash", "console"))
def test_shells_take_it(block: Block) -> None:
    text = block.text
    if block.language == "console":
        text = "\n".join(line.removeprefix("$ ") for line in text.splitlines())
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ROOT_COMMAND: Any = typer.main.get_command(main.build(lambda name: True))


def command_lines() -> Iterator[Any]:
    for path in pages():
        for block in blocks(path):
            if block.language in ("sh", "bash", "console") and path.name != "redis.md":  # of a package of its own
                text = re.sub(r"\[[^\]]*\]", "", block.text.replace("\\\n", " "))
                for line in text.splitlines():
                    for found in re.findall(r"(?:^|[$(\s])(polybus [a-z][^|)>&#]*)", re.sub(r"\s+#.*", "", line)):
                        yield pytest.param(found.strip().rstrip('"'), id=f"{name_of(path)}: {found.strip()}")


@pytest.mark.parametrize("line", list(command_lines()))
def test_commands_have_the_options_that_are_given_to_them(line: str) -> None:
    words = [word.partition("|")[0] for word in shlex.split(line)[1:] if word not in (";", "...")]
    command, name = ROOT_COMMAND, "polybus"
    while hasattr(command, "commands"):
        name, command = f"{name} {words[0]}", command.commands[words[0]]
        words = words[1:]
    command.make_context(name, words)
