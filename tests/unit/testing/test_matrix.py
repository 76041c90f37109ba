"""The capability table, and the plugin that measures it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polybus.testing.clauses import CLAUSES
from polybus.testing.matrix import ROWS, Backend, Results, load, markdown, merge, replace, save

RESULTS = Results(
    {
        "aws": Backend(dict.fromkeys(CLAUSES, 2), {"D3": 1}, {"delay on topics": "refused"}),
        "memory": Backend(dict.fromkeys(CLAUSES, 2), {}, {"delay on topics": "yes", "peek": "yes"}),
        "acme": Backend(),
    }
)


ALL = len(CLAUSES)


def test_the_table_has_a_column_for_each_backend_and_a_row_for_each_note() -> None:
    assert markdown(RESULTS) == (
        "|  | memory | AWS SNS and SQS | acme |\n"
        "| --- | --- | --- | --- |\n"
        f"| contract: clauses kept | {ALL} of {ALL} | {ALL - 1} of {ALL} | 0 of {ALL} |\n"
        "| delay on topics | yes | refused | not measured |\n"
        "| peek | yes | not measured | not measured |\n"
    )


def test_rows_stand_in_one_order_whatever_the_order_of_the_tests() -> None:
    rows = ["of a third party", *reversed(ROWS)]
    backend = Backend(dict.fromkeys(CLAUSES, 1), {}, dict.fromkeys(rows, "yes"))
    lines = markdown(Results({"acme": backend})).splitlines()[3:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [*ROWS, "of a third party"]


def test_results_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "matrix.json"
    assert load(path) == Results()
    save(RESULTS, path)
    assert load(path) == RESULTS
    before = path.read_bytes()
    save(load(path), path)
    assert path.read_bytes() == before


def test_what_ran_again_replaces_what_was_measured_before() -> None:
    anew = Results({"aws": Backend({"P1": 1})})
    merged = merge(RESULTS, anew)
    assert merged.backends["aws"] == Backend({"P1": 1})
    assert merged.backends["memory"] == RESULTS.backends["memory"]


def test_the_table_is_put_between_its_markers() -> None:
    text = "before\n<!-- matrix -->\nold\n<!-- /matrix -->\nafter\n"
    once = replace(text, RESULTS)
    assert once == f"before\n<!-- matrix -->\n{markdown(RESULTS)}<!-- /matrix -->\nafter\n"
    assert replace(once, RESULTS) == once
    with pytest.raises(ValueError, match="<!-- matrix -->"):
        replace("no place for it", RESULTS)


def test_the_plugin_marks_and_measures(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "from polybus.testing.conformance import Conformance\n"
        "from polybus.testing.rigs import MemoryRig\n"
        "class TestMemory(Conformance):\n    rig = MemoryRig\n"
    )
    arguments = ["-q", "-p", "no:cacheprovider", "-m", 'clause(number="P8")', "--polybus-matrix", "matrix.json"]
    command = [sys.executable, "-m", "pytest", *arguments, "-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    [(name, backend)] = load(tmp_path / "matrix.json").backends.items()
    assert name == "memory"
    assert set(backend.passed) == {"P8"}
    assert backend.notes["delay on ordered queues"] == "yes"


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, polybus.testing.pytest_plugin as plugin\n"
        "import pytest\n"
        "print(sorted(name for name in sys.modules if name.startswith('polybus')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = done.stdout
    for name in ("polybus.bus", "polybus.app", "polybus.topology", "polybus.clouds", "polybus.testing.conformance"):
        assert name not in loaded
