"""A body of any size goes through at the same memory, on both sides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polybus.blobs.store import PART, PARTS

from . import flat
from .clouds import KINDS, place

MIB = 1 << 20
SCALE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0"))
SIZE = 1024 * MIB if SCALE >= 1 else 64 * MIB
# What an upload may hold: the parts under way, and for each the copy that is sent. A body that were in memory as a
# whole would be SIZE, and a download holds less.
MOST = 2 * PARTS * PART // MIB


@contextmanager
def place_of(kind: str, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if kind == "folder":
        yield str(folder / "bodies"), {}
    else:
        with place(kind) as found:
            yield found


@pytest.mark.parametrize("kind", ["folder", *KINDS])
def test_a_body_is_never_in_memory_as_a_whole(kind: str, tmp_path: Path, say: Callable[[str], None]) -> None:
    assert MOST < SIZE // MIB
    with place_of(kind, tmp_path) as (url, options):
        used = {}
        for side in ("put", "get"):
            command = [sys.executable, flat.__file__, side, url, json.dumps(options), str(SIZE)]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            before, after = map(int, done.stdout.split())
            used[side] = after - before
            assert after - before <= MOST, f"{side}: {before} MiB before, {after} MiB after"
    say(f"A body of {SIZE // MIB} MiB in {kind}: {used['put']} MiB more to publish it, {used['get']} to handle it")
