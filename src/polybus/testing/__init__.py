"""What users' tests and third-party backends import.

    from polybus.testing import run          an app, on a bus in memory with a clock that the test owns

`polybus.testing.conformance` is the suite that a backend proves itself with, `faults` and `faulty_driver` break any
driver on demand, `mutants` test the suite. Nothing is imported before it is asked for: the pytest plugin is loaded in
every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybus.lazy import imported_at_first_use

if TYPE_CHECKING:
    from polybus.testing.running import RunningApp, run

__all__ = ["RunningApp", "run"]

__getattr__ = imported_at_first_use("polybus.testing", {"RunningApp": "running", "run": "running"})
