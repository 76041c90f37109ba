"""The suite's own test: the bus and backends, broken in one place each. A suite that lets one pass proves nothing.

    from polybus.testing.mutants import MUTANTS, catch

    caught = await catch(mutant)                    which test fails on it, and how; None where all pass
    caught = await catch(mutant, rig=AcmeRig)       the same, on your own backend

A `Mutant` is a value: the clause that it breaks, what it does, and how. Those of `GENERAL` show on any backend: they
bend what passes between a driver and the bus, or the bus itself. `MEMORY` and `SQLITE` break that backend, `BASES` the
base classes of `polybus.backend`, for backends that are made of them; `MUTANTS` are all but `BASES`.
`SURVIVORS` names those that the suite can't catch, each with the reason. `edit` makes a patch of two pieces of text.

`python -m polybus.testing.mutants` runs them all and prints a table; with words, those whose clause or text has one.
"""

from __future__ import annotations

from polybus.testing.mutants.bases import BASES
from polybus.testing.mutants.consuming import CONSUMING
from polybus.testing.mutants.delivering import DELIVERING
from polybus.testing.mutants.editing import Gone, edit, together
from polybus.testing.mutants.memory import MEMORY
from polybus.testing.mutants.mutant import Mutant, catch, likeliest
from polybus.testing.mutants.publishing import PUBLISHING
from polybus.testing.mutants.sending import SENDING
from polybus.testing.mutants.sqlite import SQLITE
from polybus.testing.mutants.survivors import SURVIVORS

__all__ = [
    "BASES",
    "GENERAL",
    "MEMORY",
    "MUTANTS",
    "SQLITE",
    "SURVIVORS",
    "Gone",
    "Mutant",
    "catch",
    "edit",
    "likeliest",
    "together",
]

GENERAL: tuple[Mutant, ...] = (*PUBLISHING, *DELIVERING, *SENDING, *CONSUMING)
"""Those that any backend's rig can show."""

MUTANTS: tuple[Mutant, ...] = (*GENERAL, *MEMORY, *SQLITE)
"""Those that the rigs of this package show."""
