"""What the project says of itself agrees."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import polybus

from .snippets import ROOT, pages


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == polybus.__version__


def test_the_pythons_that_are_said_are_those_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = {found[1] for line in project["classifiers"] if (found := re.search(r":: (3\.\d+)$", line))}
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    matrix = re.search(r"python: \[(.*)\]", workflow)
    assert matrix is not None
    assert set(re.findall(r"3\.\d+", matrix[1])) == said


def test_links_of_every_page_lead_somewhere() -> None:
    documents = (*pages(), ROOT / "SECURITY.md", ROOT / "RELEASING.md")
    found = [(path, target) for path in documents for target in links(path)]
    assert [f"{path.name}: {target}" for path, target in found if not (path.parent / target).exists()] == []


def test_no_page_says_how_to_install_what_no_index_has() -> None:
    """As long as there is no release, a reader is told of it wherever the line of pip is the one of later."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \d+\.\d+\.\d+", changes, flags=re.MULTILINE)
    found = {path.name: path.read_text(encoding="utf-8") for path in (*pages(), ROOT / "README.md")}
    told = re.compile(r"pip install (?:-\S+ )*'?polybus\b|'polybus\[")
    silent = {name for name, text in found.items() if told.search(text) and "install.md" not in text}
    assert released or silent - {"install.md"} == set()


def test_every_extra_is_said() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)} == {*project["optional-dependencies"]}


def links(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)#:\s]+)[)#]", text)
