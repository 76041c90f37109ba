"""One service, three bindings: the example's services, unchanged, on three clouds at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "training_pipeline"
CLOUDS = ("aws", "azure", "gcp")
DATA_SETS = ["breast_cancer", "digits", "iris", "wine"]


def start(cloud: str, folder: Path) -> subprocess.Popen[str]:
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".demo", ".polybus", "__pycache__"))
    return subprocess.Popen(
        [sys.executable, "demo.py", "--cloud", cloud],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("POLYBUS", "COLUMNS"))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def registry(folder: Path) -> dict[str, tuple[str, float]]:
    """The registry's best model of each data set: its job and accuracy; how long training took differs, of course."""
    found = {}
    for path in sorted(folder.rglob("best/*.json")):
        outcome = json.loads(path.read_text())
        found[path.stem] = (outcome["job"]["id"], outcome["accuracy"])
    return found


def test_the_registries_agree_on_three_clouds_at_once(tmp_path: Path) -> None:
    running = {cloud: start(cloud, tmp_path / cloud) for cloud in CLOUDS}
    try:
        outputs = {cloud: process.communicate(timeout=600)[0] for cloud, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    for cloud, process in running.items():
        assert process.returncode == 0, f"{cloud}:\n{outputs[cloud][-3000:]}"
        assert "1 mended and put back, 0 left" in outputs[cloud], cloud
    results = {cloud: registry(tmp_path / cloud) for cloud in CLOUDS}
    assert list(results["aws"]) == DATA_SETS
    assert results["aws"] == results["azure"] == results["gcp"]
