"""The gate of instruction counts: what it reads, compares, and says where it can't run."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks import instructions


def test_a_count_is_read_from_what_callgrind_tells() -> None:
    told = "==7== Events    : Ir\n==7== Collected : 123456789\n==7==\n==7== I   refs:      123,456,789\n"
    assert instructions.collected_in(told) == 123456789
    with pytest.raises(ValueError, match="callgrind told no count: oh"):
        instructions.collected_in("oh")


@pytest.mark.parametrize(("count", "good"), [(90_000, True), (110_000, True), (110_001, False)])
def test_a_tenth_more_is_too_much(count: int, good: bool) -> None:
    lines, passed = instructions.compare({"publish": 100_000}, {"publish": count})
    assert passed is good
    assert lines[0].startswith(f"publish: {count:,} instructions, 100,000 are kept")


def test_where_there_is_no_valgrind_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert instructions.main([]) == 0
    assert capsys.readouterr().out == "instruction counts: not run, there is no valgrind (apt-get install valgrind)\n"


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.2, 1)])
def test_what_is_kept_is_compared(monkeypatch: pytest.MonkeyPatch, factor: float, code: int) -> None:
    kept = json.loads(instructions.KEPT.read_text())
    version, counts = next(iter(kept.items()))
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/valgrind")
    monkeypatch.setattr(instructions.platform, "python_implementation", lambda: version.split()[0])
    monkeypatch.setattr(instructions.platform, "python_version_tuple", lambda: (*version.split()[1].split("."), "0"))
    monkeypatch.setattr(
        instructions, "measure", lambda: {name: round(count * factor) for name, count in counts.items()}
    )
    assert instructions.main([]) == code


async def test_the_work_that_is_counted_is_done() -> None:
    await instructions.work("publish", 3)
    await instructions.work("receive", 3)
