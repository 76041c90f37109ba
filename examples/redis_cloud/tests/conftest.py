"""The package as it stands here, installed or not; and one line where it can't be tested."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"
NEEDED = {"redis-server on PATH": shutil.which("redis-server"), "package redis in this Python": find_spec("redis")}
MISSING = [what for what, found in NEEDED.items() if not found]

collect_ignore_glob = ["test_*.py"] if MISSING else []
sys.path.append(str(SOURCES))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(f"the outside cloud on Redis: not run, no {', no '.join(MISSING)}")


@pytest.fixture(scope="module", autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Register the package for these tests alone; return what a process needs in PYTHONPATH for the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("installed")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield [str(folder), str(SOURCES)]
