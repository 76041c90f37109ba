"""The pages on configuration and telemetry say what is so."""

from __future__ import annotations

import json
import logging.config
import re
from pathlib import Path

import polybus
from polybus.bus.resolve import platforms
from polybus.measures import INSTRUMENTS
from polybus.prometheus import name_of
from polybus.variables import EXPLAINED, VARIABLES

SOURCE = Path(polybus.__file__).parent
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "configuration.md").read_text()
VARIABLES_PAGE = (DOCS / "reference" / "environment.md").read_text()
TELEMETRY = (DOCS / "observability.md").read_text()
NAME = re.compile(r"(?<![A-Z_])POLYBUS_[A-Z_]+\b")


def table() -> set[str]:
    return set(re.findall(r"^\| `(POLYBUS_[A-Z_]+)` \|", VARIABLES_PAGE, re.MULTILINE))


def test_every_variable_that_the_package_names_is_on_the_page_and_no_other() -> None:
    named = {name for path in SOURCE.rglob("*.py") for name in NAME.findall(path.read_text())}
    assert table() == named
    assert set(VARIABLES) <= named == set(EXPLAINED)


def test_every_variable_that_any_page_names_is_one_of_a_package_or_of_its_tests() -> None:
    tests = Path(__file__).resolve().parents[1]
    ours = table() | {name for path in tests.rglob("*.py") for name in NAME.findall(path.read_text())}
    pages = (*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md")
    assert {name for page in pages for name in NAME.findall(page.read_text())} <= ours


def test_every_platform_is_on_the_page() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| on Kubernetes"))
    assert [name for name in platforms().values() if name not in row] == []


def test_every_metric_is_on_the_page() -> None:
    metrics = {instrument.name for instrument in INSTRUMENTS}
    assert metrics == set(re.findall(r"`((?:messaging|polybus)\.[a-z_.]+)`", TELEMETRY)) - {"polybus.toml"}
    assert {name_of(instrument) for instrument in INSTRUMENTS} <= set(re.findall(r"`([a-z_]+)`", TELEMETRY))


def test_the_configuration_of_logging_is_one() -> None:
    text = re.search(r"```json\n(.*?)```", TELEMETRY, re.DOTALL)
    assert text is not None
    logging.config.DictConfigurator({"version": 1, **json.loads(text[1])}).configure_formatter(
        json.loads(text[1])["formatters"]["json"]
    )
