"""The plugin's tests, in a process of their own.

Pulumi's provider protocol brings its own google.rpc.Status, and Google's client libraries bring theirs; protobuf
refuses the second one in a process (seen with pulumi 3.272 and googleapis-common-protos).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CASES = Path(__file__).with_name("plugin_cases.py")


def test_the_component_serves_other_languages() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(CASES)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
