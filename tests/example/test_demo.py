"""The example, run as a newcomer runs it: real services in processes of their own, on the embedded backend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "training_pipeline"


def test_the_demo_trains_alerts_and_mends_a_dead_letter() -> None:
    done = subprocess.run(
        [sys.executable, "demo.py"],
        cwd=EXAMPLE,
        env={name: value for name, value in os.environ.items() if not name.startswith(("POLYBUS", "COLUMNS"))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = done.stdout
    assert "\x1b" not in out  # no terminal, no colours
    assert out.count("ended with 0") == 3
    assert "18 submitted, 17 trained, 1 failed" in out
    assert re.findall(r"best model +│ (\w+):", out) == ["breast_cancer", "digits", "iris", "wine"]
    assert "4: digits-tree, iris-no-neighbours, iris-tree, wine-tree" in out
    assert "1 mended and put back, 0 left" in out
