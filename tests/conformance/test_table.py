"""The README's table of what works where is what the suite measures; this module runs after the backends' own."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from polybus.testing import matrix, rigs

ROOT = Path(__file__).resolve().parents[2]
KEPT = matrix.load(ROOT / "docs" / "matrix.json")
AGAIN = "pytest tests/conformance --polybus-matrix docs/matrix.json && polybus matrix --write README.md"


def test_the_readme_shows_what_was_measured() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert matrix.replace(text, KEPT) == text, f"stale; run: {AGAIN}"


@pytest.mark.parametrize("backend", KEPT.backends)
def test_what_was_measured_is_what_is_measured_now(backend: str) -> None:
    """Of backends that ran in this session: each thing that was noted stands in the results that the README shows."""
    kept = KEPT.backends[backend]
    assert not kept.failed
    noted = matrix.NOTES.get(backend, {})
    assert {row: kept.notes.get(row) for row in noted} == noted, f"stale; run: {AGAIN}"


def test_what_is_measured_of_two_backends_is_noted_under_two_names() -> None:
    """Else the table would depend on which of them a worker ran last. On a real account it is the same backend."""
    modules = [
        importlib.import_module(f".{path.stem}", __package__)
        for path in Path(__file__).parent.glob("rig_*.py")
        if "live" not in path.stem
    ]
    found: dict[str, set[object]] = {}
    for module in (rigs, *modules):
        for name, rig in vars(module).items():
            if name.endswith("Rig") and rig.name:
                # The suite's own modules may have been imported once more, under another name.
                found.setdefault(rig.name, set()).add((inspect.getsourcefile(rig), rig.__qualname__))
    assert {"aws", "memory", "polled"} < found.keys()
    assert {name: which for name, which in found.items() if len(which) > 1} == {}
