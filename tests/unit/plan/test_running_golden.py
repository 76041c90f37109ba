"""What runs services, word for word, in files that are reviewed as diffs; and that YAML says what was meant.

POLYBUS_UPDATE_GOLDEN=1 pytest tests/unit/plan/test_running_golden.py writes them anew; without it a difference fails.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.plan.run.written import stream, yaml
from polybus.registry import each

from .running import running_of, written

GOLDEN = Path(__file__).parent / "golden_run"
EVERY = [(cloud.name, name) for cloud in each("running") for name in running_of(cloud.name).platforms]

MISTAKEN = """
    yes No null 1e3 0x1F 1_000 012 .5 - # &a *a !t @ % 2026-11-28 12:30:00 = << ~ {a} [a] ' " \\ ${A} a: #b a,b :a
"""
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12) | st.sampled_from(
    [*MISTAKEN.split(), "", " a", "a ", "- a", "a: b", "a #b", "\t", "\n", "a\nb"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def text_of(cloud: str, name: str) -> str:
    files, made, _ = written(cloud, name)
    parts = [
        f"# {file}.json\n{json.dumps(found[0], indent=2)}\n"
        if file in made.plain
        else f"# {file}.yaml\n{stream(found)}"
        for file, found in files.items()
    ]
    return "\n".join(parts)


@pytest.mark.parametrize(("cloud", "name"), EVERY)
def test_a_platform_is_written_as_its_golden_file_says(cloud: str, name: str) -> None:
    path, text = GOLDEN / f"{cloud}-{name}.txt", text_of(cloud, name)
    if os.environ.get("POLYBUS_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs: review, then POLYBUS_UPDATE_GOLDEN=1 writes it anew"


@pytest.mark.parametrize(("cloud", "name"), EVERY)
def test_the_platforms_that_a_cloud_names_are_those_that_it_has(cloud: str, name: str) -> None:
    [found] = [one for one in each("running") if one.name == cloud]
    assert found.runs_on == tuple(running_of(cloud).platforms)


@given(values)
def test_yaml_says_what_was_meant(value: Any) -> None:
    parser = importlib.import_module("yaml")
    assert parser.safe_load(yaml(value)) == value


@pytest.mark.parametrize(("cloud", "name"), EVERY)
def test_the_documents_are_read_as_they_were_written(cloud: str, name: str) -> None:
    parser = importlib.import_module("yaml")
    files, made, _ = written(cloud, name)
    for file, documents in files.items():
        if file not in made.plain:
            assert list(parser.safe_load_all(stream(documents))) == documents
