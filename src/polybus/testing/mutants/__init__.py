"""The suite's own test: for each clause the memory backend or the bus, broken in that clause.

A suite that lets one of them pass proves nothing of that clause. `catch(mutant)` runs the clause's tests against it.
"""

from __future__ import annotations

from polybus.testing.mutants.delivering import DELIVERING
from polybus.testing.mutants.mutant import Mutant, catch
from polybus.testing.mutants.publishing import PUBLISHING

__all__ = ["MUTANTS", "Mutant", "catch"]

MUTANTS: tuple[Mutant, ...] = (*PUBLISHING, *DELIVERING)
