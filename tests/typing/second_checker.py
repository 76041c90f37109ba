"""Another type checker than the suite's (`make types`) sees the same in the same files, by what `py.typed` promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def errors(name: str) -> set[int]:
    """Return the lines in which basedpyright finds an error; a coroutine that nobody awaits is a warning to it."""
    program = Path(sys.executable).parent / "basedpyright"
    command = [program, "--pythonpath", sys.executable, "--outputjson", str(HERE / name)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    return {
        each["range"]["start"]["line"] + 1
        for each in found["generalDiagnostics"]
        if each["severity"] == "error" or each.get("rule") == "reportUnusedCoroutine"
    }


def test_what_is_right_is_accepted() -> None:
    assert errors("good.py") == set()


def test_each_wrong_line_has_an_error_and_no_other_does() -> None:
    lines = (HERE / "bad.py").read_text().splitlines()
    assert errors("bad.py") == {number for number, line in enumerate(lines, 1) if re.search(r"# error: ", line)}
