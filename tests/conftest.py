"""What tests have to say beside passing: what they measured, and what they couldn't run here."""

from __future__ import annotations

import functools
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.session
import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
from databases import postgresql
from leftovers import Leftovers

__all__ = ["postgresql"]

# How long one example, or making one up, may take says more of what else the machine does than of what is tested.
settings.register_profile("polybus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("polybus")

# What takes longest comes first, so that no worker is left alone with it at the end: pytest-xdist deals out whole files
# in the order of collection. These take half of the suite's time, each half a minute or more on two idle cores.
_LONGEST = (
    "provision/test_terraform.py",
    "conformance/test_azure.py",
    "conformance/test_live.py",
    "conformance/test_mutants.py",
    "conformance/test_aws.py",
    "conformance/test_aws_boto3.py",
    "provision/test_engine.py",
    "example/test_three_clouds.py",
    "reliability/test_torture_azure.py",
    "reliability/test_torture_gcp.py",
    "reliability/test_torture_aws.py",
    "reliability/test_torture_sqlite.py",
    "outbox/test_kills.py",
    "unit/backends/test_azure_bad_input.py",
    "unit/cli/test_local.py",
    "localcloud/servicebus/test_semantics.py",
    "unit/backends/test_azure_dead_links.py",
    "provision/test_rights_aws.py",
    "conformance/test_gcp.py",
    "unit/cli/test_live.py",
    "unit/cli/test_run.py",
    "unit/cli/test_on_aws.py",
    "unit/cli/test_run_ends.py",
    "unit/plan/test_limits.py",
    "unit/backends/test_aws_consuming.py",
    "serverless/test_served_google.py",
    "fuzz/test_declared.py",
    "localcloud/servicebus/test_soak.py",
    "conformance/test_write_a_backend.py",
    "unit/testing/test_order.py",
    "reliability/test_bus_model.py",
    "conformance/test_embedded.py",
    "provision/test_plugin.py",
    "provision/test_config.py",
    "example/test_demo.py",
    "once/test_kills.py",
)

_SAID = "said"
_LEFTOVERS = pytest.StashKey[Leftovers]()
_FOUND = pytest.StashKey[list[str]]()

Say = Callable[[str], None]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Say a line in the summary of the run: also from a worker, whose output nobody sees."""
    return lambda line: record_property(_SAID, line)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have SIGINT and SIGHUP end this process's children where the suite was started with them ignored.

    So what runs in the background of a script is, or under nohup; and a process inherits that, and leaves it so.
    """
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.getsignal(number) for number in defaults}
    for number, default in defaults.items():
        if before[number] is signal.SIG_IGN:
            signal.signal(number, default)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Mark what this run starts and leaves; the workers of pytest-xdist inherit it."""
    if not hasattr(config, "workerinput"):
        config.stash[_LEFTOVERS] = Leftovers()
    # boto3 reads what it knows of AWS anew for each session, which is half of what connecting a bus to it takes: the
    # files are read once for all sessions of this process, as they are for the clients of one.
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file, the order stays."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(_LONGEST)}
    if gone := [str(path) for path in places if not path.exists()]:
        raise pytest.UsageError(f"{__file__}: _LONGEST names what isn't there: {', '.join(gone)}")
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Leave what was imported out of each later garbage collection: 300,000 objects, half of what a bus test costs."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves something behind."""
    if _LEFTOVERS in session.config.stash and (found := session.config.stash[_LEFTOVERS].found()):
        session.config.stash[_FOUND] = found
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the run's folder where there is nothing to look at."""
    if _LEFTOVERS in config.stash:
        config.stash[_LEFTOVERS].clear(keep=_FOUND in config.stash)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write each line once, in the order of the tests that said it; and what outlived the run."""
    reports = [report for each in terminalreporter.stats.values() for report in each]
    said = [
        line
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, line in report.user_properties
        if name == _SAID
    ]
    for line in dict.fromkeys(said):
        terminalreporter.write_line(line)
    for line in config.stash.get(_FOUND, []):
        terminalreporter.write_line(f"outlived the run, which fails for it: {line}", red=True)
