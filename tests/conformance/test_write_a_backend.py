"""The guide for third parties: its backend is complete, and the suite passes on it."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "write-a-backend.md"
SDK = ROOT / "examples" / "acme" / "acme_server.py"
BLOCK = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the guide's files down, beside the SDK of its system, installed as a package is: with its entry point."""
    folder = tmp_path_factory.mktemp("acme")
    shutil.copy(SDK, folder)
    for name, code in BLOCK.findall(GUIDE.read_text()):
        (folder / name).write_text(code)
    metadata = folder / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[polybus.clouds]\nacme = acme_cloud:CLOUD\n")
    return folder


def environment(project: Path) -> dict[str, str]:
    places = [str(project), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def polybus(project: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polybus.cli.main", *words]
    return subprocess.run(
        command, cwd=folder, env=environment(project), capture_output=True, text=True, timeout=60, check=False
    )


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "no:cacheprovider", "-W", "error", "-o", "asyncio_mode=auto"]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=project,
        env=environment(project),
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


@pytest.mark.parametrize("words", [("check", "--cloud", "acme"), ("plan", "--cloud", "acme", "--json")])
def test_the_guides_cloud_is_checked_and_planned(project: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "polybus.toml").write_text('[bus]\nname = "shop"\n[queues.jobs]\n')
    done = polybus(project, tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("acme: ok" if words[0] == "check" else "shop/jobs/dead") in done.stdout
    (tmp_path / "polybus.toml").write_text('[bus]\nname = "shop"\n[queues.jobs]\nmax_delay = "5m"\n')
    done = polybus(project, tmp_path, *words)
    assert done.returncode == 1
    assert "Acme has no delays" in done.stdout + done.stderr


def test_the_guides_other_examples_run(project: Path) -> None:
    done = run(project, "test_faults.py", "test_mutant.py")
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout


def test_what_the_guide_calls_public_is_there_and_says_what_it_has() -> None:
    listed = GUIDE.read_text().partition("- **drivers**:")[2].partition("\n\n")[0]
    modules = re.findall(r"`([a-z_.]+)`", listed)
    assert len(modules) > 30
    for name in modules:
        module = importlib.import_module(f"polybus.{name}")
        assert module.__all__, name
        assert all(hasattr(module, each) for each in module.__all__), name
