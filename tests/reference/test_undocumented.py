"""Nothing that a user may write or meet is undocumented: names, keys, options, variables, code words, metrics."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tools.reference.api import MODULES

import polybus
from polybus import measures, otel
from polybus.cli import main
from polybus.errors import FaultKind
from polybus.provision.configured import EVERYWHERE
from polybus.registry import built_in
from polybus.topology.filters.parser import _WORDS
from polybus.topology.shape import ANY_NAME, keys
from polybus.variables import EXPLAINED

DOCS = Path(__file__).resolve().parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


def rows(text: str) -> set[str]:
    """Return what stands as code in the first column of the tables of a page."""
    return set(re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", text, re.MULTILINE))


def test_every_key_of_the_topology() -> None:
    text = page("topology.md")
    for key in keys():
        if ANY_NAME in key.path[-1:]:
            continue
        table = ".".join("NAME" if step == ANY_NAME else step for step in key.path)
        section = re.escape(table.rpartition(".")[0])
        told = rf"^## (?:\\\[)+{section}(?:\\\])+\n(?:(?!^## ).*\n)*\|[^|]*`{re.escape(key.name)}`"
        assert len(key.path) == 1 or re.search(told, text, re.MULTILINE), table


def test_every_key_of_a_stack_s_configuration() -> None:
    providers = [cloud.load("provider") for cloud in built_in("provider")]
    known = {*EVERYWHERE, *(key for provider in providers for key in provider.keys)}
    assert rows(page("stack.md")) == {f"`polybus:{key}`" for key in known}


def test_every_word_of_the_filter_language() -> None:
    text = page("filters.md")
    for word in (*_WORDS, "exists", "prefix", "==", "!="):
        assert f'"{word}"' in text, word


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name(module: str) -> None:
    text = page(f"api/{module}.md")
    names = [name for name in importlib.import_module(module).__all__ if name != "sync"]
    assert rows(text) >= {f"`{name}`" for name in names}
    assert [name for name in names if f"\n::: {module}.{name}\n" not in text] == []
    unexplained = [name for name in names if needs_words(module, name) and f"| `{name}` |  |" in text]
    assert unexplained == []


def needs_words(module: str, name: str) -> bool:
    value = getattr(importlib.import_module(module), name)
    return inspect.isclass(value) or inspect.isroutine(value)


def test_every_module_that_a_page_imports_from_has_a_page_itself() -> None:
    """What the documents tell people to import is in the reference."""
    pages = (path for path in DOCS.rglob("*.md") if path.name != "write-a-backend.md")  # explains all itself
    told = {name for path in pages for name in imports(path.read_text(encoding="utf-8"))}
    assert told <= set(MODULES), "add it to tools.reference.api"


def imports(text: str) -> Iterator[str]:
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from re.findall(r"^\s*from (polybus[\w.]*) import", block, re.MULTILINE)


@pytest.mark.parametrize("options", [polybus.ConsumerOptions, polybus.PublisherOptions])
def test_every_option_of_the_bus(options: type[Any]) -> None:
    text = inspect.getdoc(options) or ""
    assert [field.name for field in dataclasses.fields(options) if f"`{field.name}`" not in text] == []


def test_every_command_and_each_of_its_options() -> None:
    text = page("commands.md")
    root: Any = typer.main.get_command(main.build(lambda name: True))
    for name, command in commands("polybus", root):
        section = text[text.index(f"## {name}\n") if name != "polybus" else 0 :].partition("\n## ")
        told = section[0] + section[2].partition("\n## ")[0] if name == "polybus" else section[0]
        options = [option for parameter in command.params for option in getattr(parameter, "opts", [])]
        assert [option for option in options if option.startswith("-") and option not in told] == [], name


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner, one in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {inner}", one)


def test_every_environment_variable() -> None:
    assert rows(page("environment.md")) == {f"`{name}`" for name in EXPLAINED}


def test_every_metric_and_attribute() -> None:
    source = inspect.getsource(otel) + inspect.getsource(measures)
    named = set(re.findall(r'"((?:messaging|polybus|error)\.[a-z_.]+)"', source))
    assert rows(page("telemetry.md")) == {f"`{name}`" for name in named}


def test_every_error_and_kind_of_fault() -> None:
    told = rows(page("errors.md"))
    errors = [name for name in polybus.errors.__all__ if name not in ("Fault", "FaultKind")]
    assert {f"`{name}`" for name in (*errors, *(kind.value for kind in FaultKind))} <= told
