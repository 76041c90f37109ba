"""The guide for third parties: its backend is complete, and the suite passes on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "write-a-backend.md"
BLOCK = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the guide's files down, installed as a package is: with its entry point."""
    folder = tmp_path_factory.mktemp("acme")
    for name, code in BLOCK.findall(GUIDE.read_text()):
        (folder / name).write_text(code)
    metadata = folder / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[polybus.clouds]\nacme = acme:driver\n")
    return folder


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "no:cacheprovider", "-W", "error", "-o", "asyncio_mode=auto"]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(project), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_guides_backend_keeps_the_contract(project: Path) -> None:
    done = run(project, "test_acme.py")
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"^\d{3} passed in", done.stdout, re.MULTILINE), done.stdout
    assert "skipped" not in done.stdout


def test_the_guides_other_examples_run(project: Path) -> None:
    done = run(project, "test_faults.py", "test_mutant.py")
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout
