"""What the numbers of `make bench` and `make soak` are made by; nothing here is timed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.__main__ import main, modules
from benchmarks.harness import Aim, Contender, Report, Sample, measured
from tests.reliability import soak

from benchmarks import results


@pytest.fixture
def report() -> Iterator[Report]:
    report = Report()
    yield report
    report.close()


def constant(name: str, *samples: Sample) -> Contender:
    left = iter(samples)
    return Contender(name, lambda: next(left))


def test_contenders_take_turns_and_each_round_begins_with_another_one(report: Report) -> None:
    order: list[str] = []

    def work(name: str) -> Contender:
        def run() -> Sample:
            order.append(name)
            return Sample(1, 1.0, 1.0)

        return Contender(name, run)

    report.compare("turns", [work("a"), work("b")], rounds=2)
    assert order == ["b", "a", "a", "b", "b", "a"]  # the first pair is the warm-up


def test_ratios_are_the_first_contenders_over_the_others(report: Report) -> None:
    fast, slow = Sample(100, 1.0, 0.001), Sample(100, 4.0, 0.002)
    comparison = report.compare(
        "ratios",
        [constant("fast", fast, fast, fast), constant("slow", slow, slow, slow)],
        aims=[Aim("rate", "slow", at_least=3), Aim("rate", at_least=101), Aim("cpu", "slow", at_most=0.5)],
        rounds=3,
        warm_up=False,
    )
    first, second = comparison.rows
    assert (first.rate, first.rate_ratio, first.cpu_ratio, first.spread) == (100, 1, 1, 0)
    assert (second.rate, second.rate_ratio, second.cpu_ratio) == (25, 4, 0.5)
    assert first.cpu_us == pytest.approx(10)
    assert [(verdict.value, verdict.reached) for verdict in comparison.verdicts] == [
        (4, True),
        (100, False),
        (0.5, True),
    ]


def test_an_asynchronous_contender_is_awaited_on_one_loop(report: Report) -> None:
    import asyncio

    loops: list[asyncio.AbstractEventLoop] = []

    async def work() -> Sample:
        loops.append(asyncio.get_running_loop())
        with measured(10) as taken:
            await asyncio.sleep(0)
        return taken.sample

    comparison = report.compare("asynchronous", [Contender("one", work)], rounds=2)
    assert comparison.rows[0].messages == 10
    assert len(loops) == 3
    assert len(set(loops)) == 1


def test_a_sample_is_there_only_after_the_block() -> None:
    with measured(1) as taken, pytest.raises(RuntimeError, match="after the block"):
        _ = taken.sample
    assert taken.sample.messages == 1


def test_results_of_one_module_leave_those_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, kept = tmp_path / "README.md", tmp_path / "results.json"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    monkeypatch.setattr(results, "PAGE", page)
    monkeypatch.setattr(results, "RESULTS", kept)
    report = Report()
    sample = Sample(10, 1.0, 1.0)
    report.compare("one | way", [constant("x", sample)], rounds=1, warm_up=False, aims=[Aim("rate", at_least=11)])
    report.close()
    where = {"command": "c", "commit": "abc", "date": "d", "machine": "m", "python": "p", "load": "0.1"}
    found = {"conditions": where, "comparisons": [comparison.plain() for comparison in report.comparisons]}
    results.save({"second": found})
    results.save({"first": found})
    assert list(json.loads(kept.read_text())) == ["first", "second"]
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.index("### first") < text.index("### second")
    assert "at least 11 a second; measured 10.00, NOT reached" in text
    assert "old" not in text


def test_every_benchmark_is_found_and_an_unknown_one_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"embedded", "imports"} <= set(modules())
    assert not {"harness", "peers", "results"} & set(modules())
    with pytest.raises(SystemExit) as ended:
        main(["embeded"])
    assert ended.value.code == 2
    assert "no benchmark embeded; there are" in capsys.readouterr().err


def test_a_soaks_numbers_are_kept_in_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "reliability.md"
    page.write_text("<!-- soak aws -->\nnone\n<!-- /soak aws -->\n<!-- soak gcp -->\nnone\n<!-- /soak gcp -->\n")
    monkeypatch.setattr(soak, "PAGE", page)
    soak.keep(soak.Run("aws", True, 61.4, ["100 messages"]), 1.0)
    first, second = page.read_text().split("<!-- /soak aws -->")
    assert "`python -m tests.reliability.soak aws` at " in first
    assert first.endswith("61 s:\n\n- 100 messages\n")
    assert "none" not in first
    assert "none" in second


@pytest.mark.parametrize("name", soak.SOAKS)
def test_every_soak_is_there_and_has_its_place(name: str) -> None:
    assert (soak.ROOT / soak.SOAKS[name]).is_file()
    text = soak.PAGE.read_text()
    assert f"<!-- soak {name} -->" in text
    assert f"<!-- /soak {name} -->" in text


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (".", ""),
        ("..    [100%]", ""),
        ("1 passed in 37.52s", ""),
        ("2 passed, 1 warning in 3.10s", ""),
        (".soak: 5 messages", "soak: 5 messages"),
        ("5 messages in 3 s", "5 messages in 3 s"),
        ("no digits", ""),
    ],
)
def test_only_what_a_soak_itself_printed_is_a_number(line: str, number: str) -> None:
    assert soak._number(line) == number


def test_an_unknown_soak_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        soak.main(["redis"])
    assert ended.value.code == 2
    assert "no soak redis; there are sqlite, aws, gcp, azure" in capsys.readouterr().err
