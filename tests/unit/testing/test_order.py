"""The order of the suite's tests: random, told, and the same wherever its seed is given."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "test_one.py": "class TestOne(Conformance):\n    rig = MemoryRig\n",
    "test_two.py": "class TestTwo(Conformance):\n    rig = SqliteRig\n\ndef test_of_my_own():\n    pass\n",
}
HEAD = "from polybus.testing.conformance import Conformance\nfrom polybus.testing.rigs import MemoryRig, SqliteRig\n"
NAMES = re.compile(r"^(test_\S+::test_\S+|test_\S+::Test\S+::test_\S+)", re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(HEAD + text)
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def collected(folder: Path, *arguments: str) -> list[str]:
    return NAMES.findall(run(folder, "--collect-only", *arguments))


def test_a_seed_is_an_order_of_its_own(folder: Path) -> None:
    plain = collected(folder, "--polybus-seed", "0")
    one, again, two = (collected(folder, "--polybus-seed", seed) for seed in ("1", "1", "2"))
    assert one == again != two
    assert one != plain
    assert sorted(one) == sorted(two) == sorted(plain)


def test_each_class_stays_together_and_other_tests_stay_where_they_are(folder: Path) -> None:
    names = collected(folder, "--polybus-seed", "3")
    groups = [name.rpartition("::")[0] for name in names]
    assert groups == sorted(groups, key=["test_one.py::TestOne", "test_two.py::TestTwo", "test_two.py"].index)


def test_the_seed_is_chosen_and_told(folder: Path) -> None:
    said = run(folder, "test_one.py", "-k", "O2 or P3")
    assert (found := re.search(r"--polybus-seed (\d+)", said)), said
    assert int(found[1]) > 0


def test_workers_run_in_the_order_that_is_told(folder: Path) -> None:
    pytest.importorskip("xdist")
    said = run(folder, "-v", "-n", "2", "--dist", "loadfile", "-k", "O2 or P3", "--polybus-seed", "77")
    ran = re.findall(r"PASSED (test_\S+::Test\S+::test_\S+)", said)
    expected = [name for name in collected(folder, "-k", "O2 or P3", "--polybus-seed", "77") if "::Test" in name]
    assert "--polybus-seed 77" in said
    for file in FILES:
        assert [name for name in ran if name.startswith(file)] == [name for name in expected if name.startswith(file)]
