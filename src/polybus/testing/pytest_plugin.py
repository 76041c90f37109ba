"""The pytest plugin, loaded in every pytest run of an environment that has polybus: it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that names a clause, so that `--strict-markers` accepts it anywhere."""
    config.addinivalue_line("markers", "clause(number): the clause of the contract that a conformance test proves")
