"""A type checker checks typed handlers: what is right passes, and each wrong line gets its error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def check(name: str) -> tuple[dict[int, set[str]], str]:
    """Return the error codes of each line by mypy --strict, and all that it said."""
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-pretty", str(HERE / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found: dict[int, set[str]] = {}
    for line, code in re.findall(rf"{re.escape(name)}:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE):
        found.setdefault(int(line), set()).add(code)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1), said
    return found, said


def test_what_is_right_is_accepted() -> None:
    found, said = check("good.py")
    assert found == {}, said
    assert "Success" in said


def test_each_wrong_line_gets_its_error_and_no_other_does() -> None:
    lines = (HERE / "bad.py").read_text().splitlines()
    expected = {
        number: {match[1]} for number, line in enumerate(lines, 1) if (match := re.search(r"# error: ([a-z-]+)$", line))
    }
    assert len(expected) > 20
    found, said = check("bad.py")
    assert found == expected, said
