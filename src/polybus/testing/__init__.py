"""What users' tests and third-party backends import.

    from polybus.testing import run          an app, on a bus in memory with a clock that the test owns

`polybus.testing.conformance` is the suite that a backend proves itself with, `faults` and `faulty_driver` break any
driver on demand, `mutants` test the suite. Nothing is imported before it is asked for: the pytest plugin is loaded in
every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polybus.testing.running import RunningApp, run

__all__ = ["RunningApp", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'polybus.testing' has no attribute {name!r}")
    from polybus.testing import running

    return getattr(running, name)
