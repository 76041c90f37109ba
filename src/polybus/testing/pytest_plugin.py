"""The pytest plugin, loaded in every pytest run of an environment that has polybus: it imports nothing heavy.

For service developers: the fixture `polybus_run` (see `polybus.testing.run`). For the conformance suite: each of its
tests is marked with its clause (`pytest -m 'clause(number="D1")'`; `-k D12_` works too) and, where it lets time pass,
with `moves_time` (`pytest -m "not moves_time"`, against what has a clock of its own). The suite's tests run in a random
order, so that none leans on what another left behind; `--polybus-seed NUMBER` gives the order of an earlier run, which
its last lines tell, and `--polybus-seed 0` the order of the files. `--polybus-matrix FILE` writes what was measured.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from polybus import variables

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKEND = "polybus_backend"
_CLAUSE = "polybus_clause"
# Seeds are told and typed: six digits are enough orders.
_SEEDS = 999_999


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("polybus")
    group.addoption(
        "--polybus-seed",
        metavar="NUMBER",
        type=int,
        help="the order of the conformance suite's tests, as an earlier run told it; 0 is that of the files",
    )
    group.addoption(
        "--polybus-matrix",
        metavar="FILE",
        type=Path,
        help="write what the conformance suite measured of the backends that ran to this JSON file",
    )


_SEED = variables.SEED


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of the suite's tests, so that `--strict-markers` accepts them anywhere."""
    config.addinivalue_line("markers", "clause(number): the clause of the contract that a conformance test proves")
    config.addinivalue_line("markers", "moves_time: a conformance test that lets time pass")
    if config.option.polybus_seed is None:
        # pytest-xdist's workers inherit the environment: all have one order.
        given = os.environ.get(_SEED) if hasattr(config, "workerinput") else None
        config.option.polybus_seed = int(given) if given else random.SystemRandom().randint(1, _SEEDS)
        os.environ[_SEED] = str(config.option.polybus_seed)
    if config.getoption("--polybus-matrix") is not None:
        config.pluginmanager.register(_Collector(config.getoption("--polybus-matrix")), "polybus-matrix")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of the conformance suite with their clause and backend, and shuffle them within their class."""
    suite = sys.modules.get("polybus.testing.conformance.suite")
    if suite is None:
        return
    from polybus.testing.clauses import clause_of, moves_time

    for item in items:
        group = getattr(item, "cls", None)
        clause = clause_of(getattr(item, "originalname", item.name))
        if clause is not None and isinstance(group, type) and issubclass(group, suite.Suite):
            item.add_marker(pytest.mark.clause(number=clause))
            if isinstance(item, pytest.Function) and moves_time(item.function):
                item.add_marker(pytest.mark.moves_time)
            item.user_properties.append((_CLAUSE, clause))
            item.user_properties.append((_BACKEND, _backend_of(group)))
    _shuffle(config, items, suite.Suite)


_SHUFFLED = pytest.StashKey[bool]()


def _shuffle(config: pytest.Config, items: list[pytest.Item], suite: type) -> None:
    """Shuffle the suite's tests, each class's among its own places: its topology is realised once."""
    places: dict[type, list[int]] = {}
    for place, item in enumerate(items):
        group = getattr(item, "cls", None)
        if isinstance(group, type) and issubclass(group, suite):
            places.setdefault(group, []).append(place)
    seed = config.option.polybus_seed
    if not places or seed == 0:
        return
    config.stash[_SHUFFLED] = True
    for group, own in places.items():
        tests = sorted((items[place] for place in own), key=lambda item: item.nodeid)
        random.Random(f"{seed} {group.__module__}.{group.__qualname__}").shuffle(tests)  # noqa: S311 - no secret
        for place, item in zip(own, tests, strict=True):
            items[place] = item


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell the order, so that a run can be repeated."""
    if config.stash.get(_SHUFFLED, False) or _ran_in_workers(terminalreporter):
        terminalreporter.write_line(f"conformance tests in the order of --polybus-seed {config.option.polybus_seed}")


def _ran_in_workers(terminalreporter: Any) -> bool:
    """Say whether workers ran tests of the suite: the controller of xdist collects none itself."""
    reports = (report for kind in ("passed", "failed", "error") for report in terminalreporter.stats.get(kind, ()))
    return any(name == _CLAUSE for report in reports for name, _ in getattr(report, "user_properties", ()))


def _backend_of(group: type) -> str:
    return str(getattr(getattr(group, "rig", None), "name", group.__name__))


@pytest.fixture
def polybus_run() -> Callable[..., Any]:
    """Give `polybus.testing.run`: `async with polybus_run(app) as t`."""
    from polybus.testing import run

    return run


class _Collector:
    """Counts the outcomes of the suite's tests, and writes them at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passed: dict[str, Counter[str]] = {}
        self._failed: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        backend, clause = properties.get(_BACKEND), properties.get(_CLAUSE)
        if not isinstance(backend, str) or not isinstance(clause, str):
            return
        if report.failed:
            self._failed.setdefault(backend, Counter())[clause] += 1
        elif report.when == "call":
            self._passed.setdefault(backend, Counter())[clause] += 1

    def pytest_sessionfinish(self) -> None:
        from polybus.testing import matrix

        ran = {*self._passed, *self._failed}
        backends = {
            name: matrix.Backend(self._passed.get(name, {}), self._failed.get(name, {}), matrix.NOTES.get(name, {}))
            for name in ran
        }
        matrix.save(matrix.merge(matrix.load(self._path), matrix.Results(backends)), self._path)
