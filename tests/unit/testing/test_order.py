"""The order of the suite's tests: random, told, and the same wherever its seed is given."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "test_one.py": "class TestOne(Foreign):\n    rig = MemoryRig\n",
    "test_two.py": "class TestTwo(Foreign):\n    rig = MemoryRig\n\ndef test_of_my_own():\n    pass\n",
}
HEAD = "from polybus.testing.conformance import Foreign\nfrom polybus.testing.rigs import MemoryRig\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("order")
    for name, text in FILES.items():
        (folder / name).write_text(HEAD + text)
    return folder


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def collected(folder: Path, seed: int) -> list[str]:
    said = run(folder, "--collect-only", "--polybus-seed", str(seed))
    return [line for line in said.splitlines() if line.startswith("test_")]


def test_a_seed_is_an_order_of_its_own_within_each_class(folder: Path) -> None:
    plain, one, again, two = (collected(folder, seed) for seed in (0, 1, 1, 2))
    assert one == again != two
    assert one != plain
    assert sorted(one) == sorted(two) == sorted(plain)
    groups = [name.rpartition("::")[0] for name in one]
    assert groups == sorted(groups, key=["test_one.py::TestOne", "test_two.py::TestTwo", "test_two.py"].index)


def test_the_seed_is_chosen_and_told(folder: Path) -> None:
    said = run(folder, "test_one.py", "-k", "nothing_but_a_body")
    assert (found := re.search(r"--polybus-seed (\d+)", said)), said
    assert int(found[1]) > 0


def test_workers_that_are_told_no_order_have_one(folder: Path) -> None:
    """pytest-xdist refuses workers that collected in different orders."""
    said = run(folder, "-n", "2", "--dist", "loadfile", "-k", "nothing_but_a_body")
    assert "Different tests were collected" not in said
    assert re.search(r"\d+ passed", said), said


def test_workers_run_in_the_order_that_is_told(folder: Path) -> None:
    said = run(folder, "-vv", "-n", "2", "--dist", "loadfile", "--polybus-seed", "77")
    ran = re.findall(r"PASSED (test_\S+::Test\S+::test_\S+)", said)
    expected = [name for name in collected(folder, 77) if "::Test" in name]
    assert "--polybus-seed 77" in said
    for file in FILES:
        assert [name for name in ran if name.startswith(file)] == [name for name in expected if name.startswith(file)]
