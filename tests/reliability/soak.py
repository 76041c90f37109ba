"""`make soak`: the whole SQLite soak, its result printed and kept in docs/reliability.md with command and commit."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from .sqlite_soak import Outcome, soak

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BLOCK = re.compile(r"(<!-- soak -->\n).*?(<!-- /soak -->)", re.DOTALL)


def main() -> int:
    scale = float(os.environ.get("POLYBUS_SOAK_SCALE", "1"))
    seed = int(os.environ.get("POLYBUS_SOAK_SEED", "20"))
    with tempfile.TemporaryDirectory(prefix="polybus-soak-") as folder:
        outcome = asyncio.run(soak(Path(folder), scale=scale, seed=seed))
    print(outcome)
    if not outcome.holds:
        print("\n".join([*outcome.lost[:20], *outcome.overtaken[:20]]), file=sys.stderr)
        return 1
    if scale >= 1:
        PAGE.write_text(BLOCK.sub(lambda block: block[1] + _report(outcome) + block[2], PAGE.read_text()))
    return 0


def _report(outcome: Outcome) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    return (
        f"`make soak` at {commit} ({machine}, SQLite {sqlite3.sqlite_version}): 4 publisher and 4 consumer processes "
        f"on one file, 16 ordering keys, `kill -9` of one of them every second.\n\n{outcome}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
